"""The candidates of tfgraph itself: a checkpoint exported with a profile, and opened.

They are made and asked through the same two functions as the peers, and like them they use what a user would use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from tfgraph.artefact import Artefact
from tfgraph.artefact import open as open_artefact
from tfgraph.bench.peers.interface import DECODE, TEXTS, Decoder, Embedder, Encoder, Job, PeerUnavailable
from tfgraph.bench.shapes import OUTPUT
from tfgraph.errors import TFGraphError
from tfgraph.exporter import export
from tfgraph.generation import GenerationSettings
from tfgraph.generator import Generator
from tfgraph.ir.constant import Array
from tfgraph.models.family import SENTENCE_EMBEDDING, TEXT_GENERATION
from tfgraph.pretrained import load as load_checkpoint

UNFUSED: Final = "fp32, nothing fused"
_FOLDER: Final = "tfgraph"
_TASKS: Final = {DECODE: TEXT_GENERATION, TEXTS: SENTENCE_EMBEDDING}


def convert(job: Job) -> None:
    """Export the checkpoint with the profile.

    Raises:
        PeerUnavailable: the profile cannot be had; the message says why.
    """
    pretrained = load_checkpoint(job.original, task=_TASKS.get(job.work, "base"))
    options: dict[str, Any] = {"unpad": True} if job.work == TEXTS else {}
    if job.precision == UNFUSED:
        options = {"fuse": False}
    elif job.precision != "fp32":
        options |= _profile(job)
    try:
        export(pretrained, job.folder / _FOLDER, **options)
    except TFGraphError as error:
        raise PeerUnavailable(str(error)) from None


def _profile(job: Job) -> dict[str, Any]:
    """What `export` is asked for, besides the target."""
    precision, _, budget = job.precision.partition(", ")
    options: dict[str, Any] = {"precision": precision}
    calibration = _calibration(job)
    if calibration is not None:
        options["calibration"] = calibration
    if budget:
        options["budget"] = budget.replace(" ", "")
    return options


def _calibration(job: Job) -> list[Any] | None:
    """Texts where there are any; else inputs of the model."""
    if job.texts is not None:
        return [json.loads(line) for line in job.texts.read_text(encoding="utf-8").splitlines()]
    if job.calibration is None:
        return None
    with np.load(job.calibration) as held:
        rows = {name: held[name] for name in held.files}  # [N, B, S]
    return [{name: each[index] for name, each in rows.items()} for index in range(len(next(iter(rows.values()))))]


def load(job: Job) -> Encoder | Embedder | Decoder:
    """The export, opened."""
    artefact = open_artefact(job.folder / _FOLDER, num_threads=job.threads)
    if job.work == DECODE:
        return OurDecoder(artefact)
    return OurEmbedder(artefact) if job.work == TEXTS else OurEncoder(artefact)


class OurEncoder:
    """An exported encoder; see `interface.Encoder`."""

    def __init__(self, artefact: Artefact) -> None:
        self._session = artefact.session

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        """See `interface.Encoder`."""
        return self._session.run(inputs, [OUTPUT])[OUTPUT]


class OurEmbedder:
    """An exported model for sentence embeddings; see `interface.Embedder`."""

    def __init__(self, artefact: Artefact) -> None:
        self._artefact = artefact

    def embed(self, texts: Sequence[str]) -> Array:
        """See `interface.Embedder`."""
        return self._artefact.encode(list(texts))


class OurDecoder:
    """An exported decoder; see `interface.Decoder`."""

    def __init__(self, artefact: Artefact) -> None:
        self._generator = Generator(artefact, GenerationSettings(eos_token_id=None))

    def generate(self, prompt: Sequence[int], count: int) -> Iterator[int]:
        """See `interface.Decoder`."""
        for token in self._generator.stream([list(prompt)], max_new_tokens=count):
            yield token.token_id

    def score(self, ids: Sequence[int]) -> Array:
        """See `interface.Decoder`; token by token, as texts are generated."""
        decoder = self._generator._decoder
        first = np.array([[ids[0]]], np.int64)
        rows: list[Array] = [np.array(decoder.start(first, np.ones_like(first))[0], np.float32)]
        for token in ids[1:]:  # a step's logits are in a buffer that the next one writes into
            rows.append(np.array(decoder.step(np.array([token], np.int64))[0], np.float32))
        return np.stack(rows)
