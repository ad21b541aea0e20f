"""What a benchmark gives a peer, and what it asks of it; and how a peer says that it cannot be had here.

No peer is in this file, and nothing of it imports one.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tfgraph.errors import TargetError
from tfgraph.ir.constant import Array

ENCODER: Final = "encoder"
DECODE: Final = "decode"
TEXTS: Final = "texts"

INSTALL: Final = 'pip install "tfgraph-onnx[test]"'
_FAILURES: Final = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ImportError, OSError)


class PeerUnavailable(TargetError):
    """A peer that cannot be made here; the message says why, and what to install."""


@dataclass(frozen=True)
class Job:
    """What a peer is to run.

    Attributes:
        work: `ENCODER`, `DECODE` or `TEXTS`.
        precision: the peer's own name of how it is to compute, from the table of candidates.
        checkpoint: a folder in Hugging Face's form, weights in float32.
        original: what the checkpoint was written from, such as a GGUF file; the checkpoint itself if nothing.
        folder: for what the peer converts the checkpoint into; it is there.
        shared: a folder for conversions that several candidates use.
        threads: that it may use.
        calibration: an `.npz` file of the model's inputs, stacked as [N, B, S], for peers that calibrate.
        texts: a file of texts, one a line as JSON, for the same purpose.
    """

    work: str
    precision: str
    checkpoint: Path
    original: Path
    folder: Path
    shared: Path
    threads: int
    calibration: Path | None = None
    texts: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for another process."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Job:
        """What `as_dict` gave."""
        paths = ("checkpoint", "original", "folder", "shared", "calibration", "texts")
        values: dict[str, Any] = {name: Path(v) if name in paths and v else v for name, v in given.items()}
        return cls(**values)


class Encoder(Protocol):
    """Runs a BERT."""

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        """int64 [B, S] by input name -> `last_hidden_state`, float32 [B, S, H]."""


class Embedder(Protocol):
    """Gives one vector a text."""

    def embed(self, texts: Sequence[str]) -> Array:
        """Vectors of length 1, float32 [n, H], in the order of the texts."""


class Decoder(Protocol):
    """Runs a decoder-only Transformer, one text at a time."""

    def generate(self, prompt: Sequence[int], count: int) -> Iterator[int]:
        """`count` tokens, each the likeliest one, as soon as it is known; no token ends the text."""

    def score(self, ids: Sequence[int]) -> Array:
        """The logits after each token of a text: float32 [S, V]."""


class Peer(Protocol):
    """A module of this package."""

    def convert(self, job: Job) -> None:
        """Write into `job.folder` what `load` needs; raises `PeerUnavailable`."""

    def load(self, job: Job) -> Encoder | Embedder | Decoder:
        """What does `job.work`; raises `PeerUnavailable`."""


def require(*packages: str, install: str = INSTALL) -> None:
    """Refuse to go on without the packages.

    Raises:
        PeerUnavailable: one of them is not installed.
    """
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        raise PeerUnavailable(f"{' and '.join(absent)} {verb} not installed: {install}")


@contextmanager
def failures_as(what: str) -> Iterator[None]:
    """Turn what a peer raises into one line, since a peer that fails is left out of the comparison."""
    try:
        yield
    except PeerUnavailable:
        raise
    except _FAILURES as error:
        reason = [line for line in str(error).strip().splitlines() if line.strip()]
        raise PeerUnavailable(f"{what}: {reason[0] if reason else type(error).__name__}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of exporters and optimisers, which are not about the benchmark, off the output."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
