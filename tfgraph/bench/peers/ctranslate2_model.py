"""The peer CTranslate2, for encoders and decoders, in float32 or with int8 weights and activations.

It knows padding as a number of tokens a text: padding on the left or with holes it cannot see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from tfgraph.bench.peers.interface import DECODE, Decoder, Encoder, Job, failures_as, quiet, require
from tfgraph.ir.constant import Array

INSTALL: Final = 'pip install "tfgraph-onnx[bench]"'
_PRECISIONS: Final = {"fp32": "float32", "int8": "int8"}
_FOLDER: Final = "ctranslate2"


def convert(job: Job) -> None:
    """Write CTranslate2's form of the checkpoint; raises `PeerUnavailable`."""
    require("ctranslate2", "transformers", install=INSTALL)
    with failures_as("CTranslate2 cannot convert the checkpoint"), quiet():
        from ctranslate2.converters import TransformersConverter
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        converter = TransformersConverter(str(job.checkpoint))
        converter.convert(str(job.folder / _FOLDER), quantization=_PRECISIONS[job.precision], force=True)


def load(job: Job) -> Encoder | Decoder:
    """The model; raises `PeerUnavailable`."""
    require("ctranslate2", install=INSTALL)
    import ctranslate2

    kind = ctranslate2.Generator if job.work == DECODE else ctranslate2.Encoder
    with failures_as("CTranslate2 cannot load the model"):
        model = kind(
            str(job.folder / _FOLDER),
            device="cpu",
            compute_type=_PRECISIONS[job.precision],
            inter_threads=1,
            intra_threads=job.threads,
        )
    return CTranslate2Decoder(model, _words(job)) if job.work == DECODE else CTranslate2Encoder(model)


def _words(job: Job) -> list[str]:
    """The word of each token, which is how CTranslate2 takes prompts."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(job.checkpoint / "tokenizer.json"))
    return [tokenizer.id_to_token(index) or "" for index in range(tokenizer.get_vocab_size())]


class CTranslate2Encoder:
    """An encoder; see `interface.Encoder`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        """See `interface.Encoder`; of each row, as many tokens count as its mask has ones."""
        import ctranslate2

        ids, lengths = (
            ctranslate2.StorageView.from_array(np.ascontiguousarray(each, dtype=np.int32))
            for each in (inputs["input_ids"], inputs["attention_mask"].sum(axis=1))
        )
        result = self._model.forward_batch(ids, lengths, inputs["token_type_ids"].tolist())
        hidden_state: Array = np.array(result.last_hidden_state)
        return hidden_state


class CTranslate2Decoder:
    """A decoder; see `interface.Decoder`."""

    def __init__(self, model: Any, words: Sequence[str]) -> None:
        self._model = model
        self._words = words

    def generate(self, prompt: Sequence[int], count: int) -> Iterator[int]:
        """See `interface.Decoder`."""
        words = [self._words[token] for token in prompt]
        steps = self._model.generate_tokens(words, max_length=count, min_length=count, sampling_topk=1, end_token=[])
        for step in steps:
            yield int(step.token_id)

    def score(self, ids: Sequence[int]) -> Array:
        """See `interface.Decoder`."""
        logits: Array = np.array(self._model.forward_batch([[self._words[token] for token in ids]]))[0]
        return logits.astype(np.float32)
