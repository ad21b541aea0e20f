"""The peer onnxruntime-genai, for decoders: the graph of its own model builder, in float32 or with 4-bit weights.

Its package asks for `onnxruntime`, which breaks `onnxruntime-gpu` where both are installed; it runs with either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from tfgraph.bench.peers.interface import Decoder, Job, failures_as, quiet, require
from tfgraph.ir.constant import Array

INSTALL: Final = "pip install --no-deps onnxruntime-genai"
_LONGEST: Final = 2048


def convert(job: Job) -> None:
    """Write genai's graph with 4-bit blocks of 32, the builder's default, or float32; raises `PeerUnavailable`."""
    require("onnxruntime_genai", "transformers", "onnx_ir", install=INSTALL)
    cache = job.folder / "cache"
    with failures_as("onnxruntime-genai's model builder fails"), quiet():
        from onnxruntime_genai.models.builder import create_model

        options = {"int4_accuracy_level": "4"} if job.precision == "int4" else {}
        create_model("", str(job.checkpoint), str(job.folder), job.precision, "cpu", str(cache), **options)


def load(job: Job) -> Decoder:
    """The model; raises `PeerUnavailable`."""
    require("onnxruntime_genai", install=INSTALL)
    import onnxruntime_genai

    with failures_as("onnxruntime-genai cannot load the model"):
        config = onnxruntime_genai.Config(str(job.folder))
        config.overlay(f'{{"model": {{"decoder": {{"session_options": {{"intra_op_num_threads": {job.threads}}}}}}}}}')
        return GenaiDecoder(onnxruntime_genai.Model(config))


class GenaiDecoder:
    """A model of onnxruntime-genai; see `interface.Decoder`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def generate(self, prompt: Sequence[int], count: int) -> Iterator[int]:
        """See `interface.Decoder`."""
        generator = self._begin(len(prompt) + count, len(prompt) + count)
        generator.append_tokens(np.array(list(prompt), np.int32))
        for _ in range(count):
            generator.generate_next_token()
            yield int(generator.get_next_tokens()[0])

    def score(self, ids: Sequence[int]) -> Array:
        """See `interface.Decoder`; token by token, since only the last logits are given."""
        generator = self._begin(len(ids) + 1, 0)
        rows: list[Array] = []
        for token in ids:
            generator.append_tokens(np.array([token], np.int32))
            rows.append(np.array(generator.get_logits(), np.float32).reshape(-1))
        return np.stack(rows)

    def _begin(self, longest: int, shortest: int) -> Any:
        import onnxruntime_genai

        parameters = onnxruntime_genai.GeneratorParams(self._model)
        parameters.set_search_options(
            do_sample=False, batch_size=1, max_length=min(longest, _LONGEST), min_length=shortest
        )
        return onnxruntime_genai.Generator(self._model, parameters)
