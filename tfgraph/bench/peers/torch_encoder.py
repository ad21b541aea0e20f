"""The peer torch, for encoders: transformers' BERT, with torch's own fused attention, in float32 or bfloat16."""

from __future__ import annotations

from typing import Final

from tfgraph.bench.peers.interface import Encoder, Job
from tfgraph.bench.peers.torch_export import TorchPeer

DTYPES: Final = {"fp32": "float32", "bf16": "bfloat16"}


def convert(job: Job) -> None:
    """Nothing: transformers reads the checkpoint."""


def load(job: Job) -> Encoder:
    """BERT in torch; raises `PeerUnavailable`."""
    return TorchPeer(job.checkpoint, job.threads, DTYPES[job.precision], "sdpa")
