"""BERT, compiled by tfgraph and run by its peers: the same random weights, in turns.

Who takes part is in `peers/table.py`, the timing in `interleave.py`, what is made of it in `timings.py` and
`contest.py`. Each speed comes with an error, measured on a batch with every kind of padding: a faster model that is
wrong has won nothing. Random weights say little about what fewer bits cost, so a model with real ones can be made in
the same ways, and its embeddings of real texts compared (`texts.py`).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tfgraph.bench.accuracy import Cosines
from tfgraph.bench.checkpoint import write_bert_checkpoint
from tfgraph.bench.contest import Contest, at_least, contests, of_width
from tfgraph.bench.field import Field, Progress, taking_part
from tfgraph.bench.interleave import interleave
from tfgraph.bench.limits import Limits, measure_limits
from tfgraph.bench.machine import available_cores, describe_machine, load_average
from tfgraph.bench.peers.interface import ENCODER, Job
from tfgraph.bench.peers.ours import UNFUSED
from tfgraph.bench.peers.table import OURS, Candidate, candidates_for
from tfgraph.bench.shapes import PADDINGS, BatchShape, full_inputs, padded_inputs
from tfgraph.bench.timings import Timings
from tfgraph.errors import InputError
from tfgraph.ir.constant import Array
from tfgraph.ir.dtypes import DType
from tfgraph.models import published
from tfgraph.models.bert import BertConfig
from tfgraph.tolerance import TOLERANCE, relative_error

SHAPES: Final = (BatchShape(1, 128), BatchShape(8, 128), BatchShape(1, 512))
MODEL: Final = "bert-base-uncased"
TOLERANCE_OF_RESULT: Final = TOLERANCE[DType.FLOAT32]
COSINES: Final = (0.999, 0.988)
"""The contests between reduced precisions: among those whose worst cosine on real text is at least this."""
_REFERENCES: Final = ("torch fp32", f"{OURS} {UNFUSED}")
_CALIBRATION: Final = BatchShape(4, 64)
_CALIBRATION_BATCHES: Final = 8


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        shapes: of the inputs.
        config: of the model.
        rounds: timed runs of each candidate at each shape.
        threads: inside an operator, the same for all; None for one a core.
        seed: of weights, inputs and orders.
        only: beginnings of titles of candidates, such as "tfgraph fp32"; None for all.

    Raises:
        InputError: no shapes, a length beyond the model's, or less than one round or thread.
    """

    shapes: Sequence[BatchShape] = SHAPES
    config: BertConfig = field(default_factory=lambda: published.configs[MODEL])
    rounds: int = 15
    threads: int | None = None
    seed: int = 0
    only: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not self.shapes:
            raise InputError("there are no shapes to measure: expected at least one, such as 1x128")
        longest = self.config.max_position_embeddings
        for shape in self.shapes:
            if shape.seq > longest:
                raise InputError(f"the model takes at most {longest} tokens, and the shape is {shape}")
        require_counts(self.rounds, self.threads)


def require_counts(rounds: int, threads: int | None) -> None:
    """Refuse numbers below 1.

    Raises:
        InputError: one is.
    """
    if rounds < 1 or (threads is not None and threads < 1):
        raise InputError(f"cannot measure {rounds} rounds on {threads} threads: expected 1 or more")


@dataclass(frozen=True)
class Measured:
    """One candidate at one shape.

    Attributes:
        errors: for each kind of padding (`shapes.PADDINGS`), the largest difference from the reference, relative to the
            larger of 1 and its largest value.
        cosines: of each token's vector with the reference's, in rows without padding.
    """

    timings: Timings
    errors: Mapping[str, float]
    cosines: Cosines

    def error(self, *paddings: str) -> float:
        """The largest error over the kinds of padding named, or over all."""
        return max(self.errors[padding] for padding in paddings or self.errors)

    @property
    def is_right(self) -> bool:
        """Whether its results count as equal to the reference, whatever the padding."""
        return self.error() <= TOLERANCE_OF_RESULT

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON, where an infinite error is null."""
        errors = {padding: error if math.isfinite(error) else None for padding, error in self.errors.items()}
        return {**self.timings.as_dict(), "errors": errors, "is_right": self.is_right, **self.cosines.as_dict()}


@dataclass(frozen=True)
class ShapeResult:
    """All candidates at one shape, by title; no contest where there is no peer."""

    shape: BatchShape
    candidates: Mapping[str, Measured]
    contests: Sequence[Contest]

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "shape": str(self.shape),
            "candidates": {name: each.as_dict() for name, each in self.candidates.items()},
            "contests": [each.as_dict() for each in self.contests],
        }


@dataclass(frozen=True)
class EncoderReport:
    """What was measured, where, and what is missing and why.

    Attributes:
        machine: see `machine.describe_machine`.
        load: how many processes wanted a core before the benchmark began; None where the system does not say.
        limits: what the machine can do at most.
        reference: the title of what results were compared with.
        accuracy: by title, the cosines of a real model's embeddings of real texts; empty where there is none.
        skipped: for each candidate that could not be made, why.
        results: one for each shape; still growing while shapes are measured.
    """

    settings: Settings
    threads: int
    machine: Mapping[str, Any]
    load: float | None
    limits: Limits
    reference: str
    accuracy: Mapping[str, Cosines]
    skipped: Mapping[str, str]
    results: list[ShapeResult] = field(default_factory=list)

    def is_at_most(self, ratio: float) -> bool:
        """Whether tfgraph in fp32 is right, and at every shape takes at most `ratio` times as long as the best peer."""
        held = [
            contest.ratio.value <= ratio and result.candidates[contest.ours].is_right
            for result in self.results
            for contest in result.contests
            if contest.condition == "fp32"
        ]
        return len(held) == len(self.results) and all(held)

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "benchmark": "encoder",
            "machine": dict(self.machine),
            "load_average": self.load,
            "limits": self.limits.as_dict(),
            "threads": self.threads,
            "rounds": self.settings.rounds,
            "seed": self.settings.seed,
            "model": asdict(self.settings.config),
            "reference": self.reference,
            "tolerance": TOLERANCE_OF_RESULT,
            "accuracy": {title: each.as_dict() for title, each in self.accuracy.items()},
            "skipped": dict(self.skipped),
            "results": [each.as_dict() for each in self.results],
        }


def measure_encoder(
    settings: Settings,
    *,
    accuracy: Mapping[str, Cosines] | None = None,
    on_progress: Progress | None = None,
    on_result: Callable[[EncoderReport], None] | None = None,
) -> EncoderReport:
    """Make all candidates, compare their results, and time them.

    Args:
        settings: what to measure.
        accuracy: by title, what a real model made in the same ways gave (`texts.measure_texts`); without it the
            contests between reduced precisions go by the cosines of this model's random weights.
        on_progress: called as `on_progress(activity, done, of)`.
        on_result: called with the report, whenever another shape has been added to its results.

    Raises:
        ConfigError: `only` names nobody.
        ExportError: there is no room for temporary files: about four times the weights for each candidate.
        InputError: no candidate can be run.
    """
    progress = on_progress or (lambda _activity, _done, _of: None)
    threads = settings.threads or available_cores()
    load_before = load_average()
    candidates = candidates_for(ENCODER, settings.only)
    progress("measuring the machine", 0, 1)
    limits = measure_limits(threads)
    with tempfile.TemporaryDirectory(prefix="tfgraph-bench-") as name:
        job = _job(Path(name), settings, threads, progress)
        if not any(candidate.title == _REFERENCES[0] for candidate in candidates):
            candidates = [*candidates, Candidate(OURS, UNFUSED, "ours", frozenset({ENCODER}))]
        with taking_part(candidates, job, progress) as found:
            reference = next((title for title in _REFERENCES if title in found.clients), None)
            if reference is None:
                found_none = "time" if not found.clients else "compare results with"
                raise InputError(f"there is nothing to {found_none}: {next(iter(found.skipped.values()), '')}")
            report = EncoderReport(
                settings, threads, describe_machine(), load_before, limits, reference, accuracy or {},
                found.skipped,
            )  # fmt: skip
            for shape in settings.shapes:
                report.results.append(_measure(shape, report, found, job.shared, progress))
                if on_result is not None:
                    on_result(report)
    return report


def _job(folder: Path, settings: Settings, threads: int, progress: Progress) -> Job:
    """The checkpoint, and what peers calibrate on: random tokens, as the weights are random."""
    progress("writing random weights", 0, 1)
    checkpoint, shared = folder / "checkpoint", folder / "shared"
    checkpoint.mkdir()
    shared.mkdir()
    write_bert_checkpoint(checkpoint, settings.config, settings.seed)
    shape = replace(_CALIBRATION, seq=min(_CALIBRATION.seq, settings.config.max_position_embeddings))
    batches = [
        padded_inputs(shape, settings.config.vocab_size, settings.seed + 1 + index)
        for index in range(_CALIBRATION_BATCHES)
    ]
    calibration = shared / "calibration.npz"
    stacked: dict[str, Any] = {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
    np.savez(calibration, **stacked)
    return Job(ENCODER, "", checkpoint, checkpoint, folder, shared, threads, calibration)


def _measure(shape: BatchShape, report: EncoderReport, found: Field, folder: Path, progress: Progress) -> ShapeResult:
    settings = report.settings
    vocab_size = settings.config.vocab_size
    padded = padded_inputs(replace(shape, batch=max(shape.batch, len(PADDINGS))), vocab_size, settings.seed)
    results = _results(padded, found, folder, progress, f"comparing results at {shape}")
    right = results[report.reference]
    inputs: dict[str, Any] = dict(full_inputs(shape, vocab_size, settings.seed))
    np.savez(folder / "inputs.npz", **inputs)
    held = str(folder / "inputs.npz")
    found.each(lambda _title, client: client.ask("hold", inputs=held), progress, f"preparing {shape}")
    samples = time_runs(found, settings.rounds, settings.seed, f"timing {shape}", progress)
    measured = {
        title: Measured(
            Timings.of(each), _errors(results[title], right), Cosines.of(_easy(results[title]), _easy(right))
        )
        for title, each in samples.items()
    }
    cosines = {title: each.worst for title, each in report.accuracy.items()}
    if not cosines:
        cosines = {title: each.cosines.worst for title, each in measured.items()}
    conditions = {"fp32": of_width("fp32")} | {
        f"worst cosine at least {limit:g}": at_least(cosines, limit) for limit in COSINES
    }
    return ShapeResult(shape, measured, contests(found.candidates, samples, conditions))


def time_runs(
    found: Field, rounds: int, seed: int, activity: str, progress: Progress, warm_up: int = 2
) -> dict[str, Any]:
    """The samples of all candidates, by title, running in turns on what they hold.

    Raises:
        PeerUnavailable: one of them died.
        InputError: there is nobody to time.
    """
    answers: dict[str, dict[str, Any]] = {}

    def run(title: str) -> Callable[[], object]:
        return lambda: answers.update({"last": found.clients[title].ask("run")})

    def measure(candidate: Callable[[], object]) -> tuple[float, float]:
        candidate()
        return answers["last"]["seconds"], answers["last"]["cpu_seconds"]

    timed = {title: run(title) for title in found.clients if UNFUSED not in title}
    if not timed:
        raise InputError(f"there is nothing to time: {next(iter(found.skipped.values()), 'no candidates')}")
    return interleave(
        timed,
        rounds=rounds,
        warm_up=warm_up,
        seed=seed,
        on_round=lambda done, of: progress(activity, done, of),
        measure=measure,
    )


def _results(
    inputs: Mapping[str, Any], found: Field, folder: Path, progress: Progress, activity: str
) -> dict[str, Array]:
    given, output = folder / "padded.npz", folder / "result.npy"
    np.savez(given, **inputs)
    results: dict[str, Array] = {}

    def compare(title: str, client: Any) -> None:
        client.ask("hold", inputs=str(given))
        client.ask("run", output=str(output))
        results[title] = np.load(output)

    found.each(compare, progress, activity)
    return results


def _errors(result: Array, right: Array) -> dict[str, float]:
    """The error of each kind of padding, which the rows of a padded batch have in turn."""
    if result.shape != right.shape:
        return dict.fromkeys(PADDINGS, math.inf)
    kinds = len(PADDINGS)
    return {padding: relative_error(result[row::kinds], right[row::kinds]) for row, padding in enumerate(PADDINGS)}


def _easy(result: Array) -> Array:
    """The rows without padding, of which every token counts."""
    return result[0 :: len(PADDINGS)]
