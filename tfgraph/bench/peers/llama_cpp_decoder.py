"""The peer llama.cpp, for decoders, through llama-cpp-python: a GGUF file as it is.

Only a checkpoint that came from a GGUF file can be run: converting others is the work of a script outside the package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from tfgraph.bench.peers.interface import Decoder, Job, PeerUnavailable, failures_as, require
from tfgraph.ir.constant import Array

INSTALL: Final = (
    'CMAKE_ARGS="-DGGML_NATIVE=ON -DCMAKE_C_FLAGS=-mno-amx-tile -DCMAKE_CXX_FLAGS=-mno-amx-tile" '
    "pip install llama-cpp-python"
)
_CONTEXT: Final = 512


def convert(job: Job) -> None:
    """Nothing but a look at the file; raises `PeerUnavailable`."""
    require("llama_cpp", install=INSTALL)
    if job.original.suffix != ".gguf":
        raise PeerUnavailable("llama.cpp reads GGUF files, and there is none of this model")


def load(job: Job) -> Decoder:
    """The file, mapped into memory; raises `PeerUnavailable`."""
    require("llama_cpp", install=INSTALL)
    import llama_cpp

    with failures_as("llama.cpp cannot load the file"):
        model = llama_cpp.Llama(
            str(job.original),
            n_ctx=_CONTEXT,
            n_threads=job.threads,
            n_threads_batch=job.threads,
            n_batch=_CONTEXT,
            verbose=False,
        )
    return LlamaDecoder(model, llama_cpp)


class LlamaDecoder:
    """A model of llama.cpp; see `interface.Decoder`. Its own calls are used, without Python's work on logits."""

    def __init__(self, model: Any, library: Any) -> None:
        self._model = model
        self._library = library

    def generate(self, prompt: Sequence[int], count: int) -> Iterator[int]:
        """See `interface.Decoder`."""
        self._model.reset()
        tokens = list(prompt)
        for _ in range(count):
            self._evaluate(tokens, False)
            token = int(self._logits(-1).argmax())
            tokens = [token]
            yield token

    def score(self, ids: Sequence[int]) -> Array:
        """See `interface.Decoder`."""
        self._model.reset()
        self._evaluate(list(ids), True)
        return np.stack([self._logits(index) for index in range(len(ids))])

    def _evaluate(self, tokens: list[int], all_logits: bool) -> None:
        past = self._model.n_tokens
        if past == 0:
            self._model._ctx.kv_cache_clear()
        self._model._batch.set_batch(batch=tokens, n_past=past, logits_all=all_logits)
        self._model._ctx.decode(self._model._batch)
        self._model.n_tokens = past + len(tokens)

    def _logits(self, index: int) -> Array:
        """The logits of a token of the last batch, [V]."""
        pointer = self._library.llama_get_logits_ith(self._model._ctx.ctx, index)
        row: Array = np.array(np.ctypeslib.as_array(pointer, (self._model.n_vocab(),)))
        return row
