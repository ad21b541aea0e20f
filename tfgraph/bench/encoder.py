"""BERT, compiled by tfgraph and run by its peers: the same random weights, in turns, in one process.

The peers are in `peers.py`, the timing in `interleave.py`, what is made of it in `timings.py`. Each speed comes with an
error, measured on a batch with every kind of padding: a faster model that is wrong has won nothing.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from tfgraph.backends.onnxruntime.session import Session
from tfgraph.bench.checkpoint import write_bert_checkpoint
from tfgraph.bench.interleave import interleave
from tfgraph.bench.machine import available_cores, describe_machine, load_average
from tfgraph.bench.peers import OrtPeer, PeerUnavailable, TorchPeer, optimise_with_onnxruntime
from tfgraph.bench.shapes import OUTPUT, PADDINGS, BatchShape, full_inputs, padded_inputs
from tfgraph.bench.timings import Ratio, Timings, ratio_to_best
from tfgraph.compiler import compile
from tfgraph.errors import InputError
from tfgraph.ir.constant import Array
from tfgraph.ir.dtypes import DType
from tfgraph.models import published
from tfgraph.models.bert import BertConfig
from tfgraph.pretrained import Pretrained, load
from tfgraph.tolerance import TOLERANCE, relative_error

Run = Callable[[Mapping[str, Array]], Array]
"""Inputs by name -> `last_hidden_state` [B, S, H]."""

OURS: Final = "tfgraph"
TORCH_EXPORT: Final = "torch export"
ORT_OPTIMISER: Final = "torch export + ORT optimiser"
TORCH: Final = "torch"
SHAPES: Final = (BatchShape(1, 128), BatchShape(8, 128), BatchShape(1, 512))
MODEL: Final = "bert-base-uncased"
TOLERANCE_OF_RESULT: Final = TOLERANCE[DType.FLOAT32]
_UNFUSED: Final = "tfgraph, nothing fused"

# Without it the threads of a session go on spinning for tens of milliseconds after a run, and slow down whichever
# candidate comes next. It changes nothing within a run.
_SESSION_CONFIG: Final = {"session.force_spinning_stop": "1"}


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        shapes: of the inputs.
        config: of the model.
        rounds: timed runs of each candidate at each shape.
        threads: inside an operator, the same for all; None for one a core.
        seed: of weights, inputs and orders.
        with_torch: whether torch itself is timed too, which is slow; its results are compared with in any case.

    Raises:
        InputError: no shapes, a length beyond the model's, or less than one round or thread.
    """

    shapes: Sequence[BatchShape] = SHAPES
    config: BertConfig = field(default_factory=lambda: published.configs[MODEL])
    rounds: int = 25
    threads: int | None = None
    seed: int = 0
    with_torch: bool = False

    def __post_init__(self) -> None:
        if not self.shapes:
            raise InputError("there are no shapes to measure: expected at least one, such as 1x128")
        longest = self.config.max_position_embeddings
        for shape in self.shapes:
            if shape.seq > longest:
                raise InputError(f"the model takes at most {longest} tokens, and the shape is {shape}")
        if self.rounds < 1 or (self.threads is not None and self.threads < 1):
            raise InputError(f"cannot measure {self.rounds} rounds on {self.threads} threads: expected 1 or more")


@dataclass(frozen=True)
class Measured:
    """One candidate at one shape.

    Attributes:
        errors: for each kind of padding (`shapes.PADDINGS`), the largest difference from the reference, relative to the
            larger of 1 and its largest value.
    """

    timings: Timings
    errors: Mapping[str, float]

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
        return {**self.timings.as_dict(), "errors": errors, "is_right": self.is_right}


@dataclass(frozen=True)
class ShapeResult:
    """All candidates at one shape; no ratio where there is no peer."""

    shape: BatchShape
    candidates: Mapping[str, Measured]
    ratio: Ratio | None

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "shape": str(self.shape),
            "candidates": {name: each.as_dict() for name, each in self.candidates.items()},
            "ratio": None if self.ratio is None else self.ratio.as_dict(),
        }


@dataclass(frozen=True)
class EncoderReport:
    """What was measured, where, and what is missing and why.

    Attributes:
        machine: see `machine.describe_machine`.
        load: how many processes wanted a core before the benchmark began; None where the system does not say.
        reference: what results were compared with.
        skipped: for each peer that could not be made, why.
        results: one for each shape; still growing while shapes are measured.
    """

    settings: Settings
    threads: int
    machine: Mapping[str, Any]
    load: float | None
    reference: str
    skipped: Mapping[str, str]
    results: list[ShapeResult] = field(default_factory=list)

    def is_at_most(self, ratio: float) -> bool:
        """Whether tfgraph is right, and at every shape takes at most `ratio` times as long as the best peer."""
        return all(
            each.ratio is not None and each.ratio.value <= ratio and each.candidates[OURS].is_right
            for each in self.results
        )

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "benchmark": "encoder",
            "machine": dict(self.machine),
            "load_average": self.load,
            "threads": self.threads,
            "rounds": self.settings.rounds,
            "seed": self.settings.seed,
            "session_config": _SESSION_CONFIG,
            "model": asdict(self.settings.config),
            "reference": self.reference,
            "tolerance": TOLERANCE_OF_RESULT,
            "skipped": dict(self.skipped),
            "results": [each.as_dict() for each in self.results],
        }


def measure_encoder(
    settings: Settings,
    *,
    on_progress: Callable[[str, int, int], None] | None = None,
    on_result: Callable[[EncoderReport], None] | None = None,
) -> EncoderReport:
    """Make all candidates, compare their results, and time them.

    Args:
        settings: what to measure.
        on_progress: called as `on_progress(activity, done, of)`.
        on_result: called with the report, whenever another shape has been added to its results.

    Raises:
        ExportError: there is no room for temporary files: about four times the weights.
    """
    progress = on_progress or (lambda _activity, _done, _of: None)
    threads = settings.threads or available_cores()
    load_before = load_average()
    with tempfile.TemporaryDirectory(prefix="tfgraph-bench-") as name:
        folder = Path(name)
        progress("writing random weights", 0, 1)
        write_bert_checkpoint(folder, settings.config, settings.seed)
        pretrained = load(folder)
        progress(f"compiling with {OURS}", 0, 1)
        candidates: dict[str, Run] = {OURS: _ours(pretrained, folder / "tfgraph.onnx", threads)}
        peers, skipped = _peers(folder, settings.config, threads, progress)
        reference, expected = _reference(peers, pretrained, folder / "unfused.onnx", threads)
        candidates |= {peer: run for peer, run in peers.items() if peer != TORCH or settings.with_torch}
        report = EncoderReport(settings, threads, describe_machine(), load_before, reference, skipped)
        for shape in settings.shapes:
            report.results.append(_measure(shape, settings, candidates, expected, progress))
            if on_result is not None:
                on_result(report)
    return report


def _ours(pretrained: Pretrained, path: Path, threads: int, fuse: bool = True) -> Run:
    compile(pretrained, target="cpu", fuse=fuse).save(path)
    session = Session(path, num_threads=threads, optimize=fuse, config=_SESSION_CONFIG)
    return lambda inputs: session.run(inputs, [OUTPUT])[OUTPUT]


def _peers(
    folder: Path, config: BertConfig, threads: int, progress: Callable[[str, int, int], None]
) -> tuple[dict[str, Run], dict[str, str]]:
    """The peers that can be made here, and why the others cannot."""
    peers: dict[str, Run] = {}
    skipped: dict[str, str] = {}
    exported, optimised = folder / "torch.onnx", folder / "optimised.onnx"
    try:
        progress("loading the weights in torch", 0, 1)
        peers[TORCH] = torch_peer = TorchPeer(folder, threads)
        progress("exporting from torch", 0, 1)
        torch_peer.export(exported)
        peers[TORCH_EXPORT] = OrtPeer(exported, threads, _SESSION_CONFIG)
    except PeerUnavailable as error:
        missing = [name for name in (TORCH, TORCH_EXPORT) if name not in peers]
        return peers, dict.fromkeys((*missing, ORT_OPTIMISER), str(error))
    try:
        progress("optimising the export with ONNX Runtime", 0, 1)
        optimise_with_onnxruntime(exported, optimised, config)
        peers[ORT_OPTIMISER] = OrtPeer(optimised, threads, _SESSION_CONFIG)
    except PeerUnavailable as error:
        skipped[ORT_OPTIMISER] = str(error)
    return peers, skipped


def _reference(peers: Mapping[str, Run], pretrained: Pretrained, path: Path, threads: int) -> tuple[str, Run]:
    """What results are compared with: torch, or without it our own model with nothing fused or optimised."""
    if TORCH in peers:
        return TORCH, peers[TORCH]
    return _UNFUSED, _ours(pretrained, path, threads, fuse=False)


def _measure(
    shape: BatchShape,
    settings: Settings,
    candidates: Mapping[str, Run],
    expected: Run,
    progress: Callable[[str, int, int], None],
) -> ShapeResult:
    vocab_size = settings.config.vocab_size
    progress(f"comparing results at {shape}", 0, settings.rounds)
    padded = padded_inputs(replace(shape, batch=max(shape.batch, len(PADDINGS))), vocab_size, settings.seed)
    right = expected(padded)
    errors = {name: _errors(run(padded), right) for name, run in candidates.items()}
    inputs = full_inputs(shape, vocab_size, settings.seed)
    samples = interleave(
        {name: partial(run, inputs) for name, run in candidates.items()},
        rounds=settings.rounds,
        seed=settings.seed,
        on_round=lambda done, of: progress(f"timing {shape}", done, of),
    )
    others = {name: each for name, each in samples.items() if name != OURS}
    return ShapeResult(
        shape,
        {name: Measured(Timings.of(each), errors[name]) for name, each in samples.items()},
        ratio_to_best(samples[OURS], others) if others else None,
    )


def _errors(result: Array, right: Array) -> dict[str, float]:
    """The error of each kind of padding, which the rows of a padded batch have in turn."""
    if result.shape != right.shape:
        return dict.fromkeys(PADDINGS, math.inf)
    kinds = len(PADDINGS)
    return {padding: relative_error(result[row::kinds], right[row::kinds]) for row, padding in enumerate(PADDINGS)}
