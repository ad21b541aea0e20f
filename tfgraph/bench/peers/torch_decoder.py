"""The peer torch, for decoders: transformers' model with its growing cache, in float32 or bfloat16.

The loop is written out instead of `generate()`, which spends more time in Python for each token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tfgraph.bench.peers.interface import Decoder, Job, failures_as, quiet, require
from tfgraph.bench.peers.torch_encoder import DTYPES
from tfgraph.ir.constant import Array


def convert(job: Job) -> None:
    """Nothing: transformers reads the checkpoint."""


def load(job: Job) -> Decoder:
    """The model in torch; raises `PeerUnavailable`."""
    require("torch", "transformers")
    import torch

    torch.set_num_threads(job.threads)
    return TorchDecoder(load_torch_decoder(job, DTYPES[job.precision]))


def load_torch_decoder(job: Job, dtype: str = "float32") -> Any:
    """transformers' model of a checkpoint.

    Raises:
        PeerUnavailable: torch or transformers is not installed, or they cannot load the checkpoint.
    """
    require("torch", "transformers")
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    with failures_as("transformers cannot load the checkpoint"), quiet():
        model = AutoModelForCausalLM.from_pretrained(
            job.checkpoint, dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
        return model.eval()


class TorchDecoder:
    """A causal language model of transformers; see `interface.Decoder`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def generate(self, prompt: Sequence[int], count: int) -> Iterator[int]:
        """See `interface.Decoder`; only the last token's logits are computed."""
        import torch

        with torch.inference_mode():
            ids, cache = torch.tensor([list(prompt)]), None
            for _ in range(count):
                result = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
                cache = result.past_key_values
                ids = result.logits[:, -1:].argmax(-1)
                yield int(ids)

    def score(self, ids: Sequence[int]) -> Array:
        """See `interface.Decoder`."""
        import torch

        with torch.inference_mode():
            logits: Array = self._model(input_ids=torch.tensor([list(ids)])).logits[0].float().numpy()
        return logits
