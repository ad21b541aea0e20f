"""The peer ONNX Runtime, for encoders: torch's export as it is, optimised by ONNX Runtime's tool, quantised by it.

The quantiser is the dynamic one, with a scale for each channel of the weights: its documented settings for Transformers
on a CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tfgraph.bench.peers.interface import Encoder, Job, failures_as, quiet
from tfgraph.bench.peers.torch_export import OrtPeer, TorchPeer, optimise_with_onnxruntime
from tfgraph.checkpoints import read_config
from tfgraph.models.bert import BertConfig

EXPORT: Final = "torch.onnx"
_MODEL: Final = "model.onnx"


def shared_export(job: Job) -> Path:
    """torch's ONNX export of the checkpoint, made once for all candidates.

    Raises:
        PeerUnavailable: torch is not installed, or its exporter fails.
    """
    path = job.shared / EXPORT
    if not path.is_file():
        partial = job.shared / f"{EXPORT}.partial"
        TorchPeer(job.checkpoint, job.threads).export(partial)
        partial.replace(path)
    return path


def convert(job: Job) -> None:
    """Write the file of the precision asked for; raises `PeerUnavailable`."""
    source, out = shared_export(job), job.folder / _MODEL
    if job.precision == "fp32, optimised":
        optimise_with_onnxruntime(source, out, BertConfig.from_dict(read_config(job.checkpoint), "config.json"))
    elif job.precision == "int8, dynamic":
        with failures_as("ONNX Runtime's quantiser fails"), quiet():
            from onnxruntime.quantization import QuantType, quantize_dynamic

            quantize_dynamic(str(source), str(out), per_channel=True, weight_type=QuantType.QInt8)


def load(job: Job) -> Encoder:
    """A session of its own; raises `PeerUnavailable`."""
    path = job.folder / _MODEL
    return OrtPeer(path if path.is_file() else shared_export(job), job.threads, {})
