"""How long `tfgraph.optimize_onnx` takes: on torch's export of BERT, beside ONNX Runtime's, and on ever larger graphs.

Nothing is verified while the clock runs. The two optimisers take turns in one process; each reads a file and writes
one. The graphs are those of `grown_graph.py`.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tfgraph.bench.checkpoint import write_bert_checkpoint
from tfgraph.bench.grown_graph import write_grown_graph
from tfgraph.bench.interleave import Sample, interleave
from tfgraph.bench.machine import describe_machine, load_average
from tfgraph.bench.peers.interface import PeerUnavailable
from tfgraph.bench.peers.torch_export import TorchPeer, optimise_with_onnxruntime
from tfgraph.errors import InputError
from tfgraph.models import published
from tfgraph.models.bert import BertConfig

EXPORT_SECONDS: Final = 3.0
"""Limit for torch's export of BERT-base."""
EXPORT_RATIO: Final = 0.7
"""Limit of that, as a part of what ONNX Runtime's transformers optimiser takes for the same file."""
GRAPH_SECONDS: Final = 20.0
"""Limit for the largest of `NODES`."""
NODES: Final = (5_000, 10_000, 20_000, 50_000)

OURS: Final = "tfgraph"
THEIRS: Final = "ORT optimiser"


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        config: sizes of the BERT that torch exports.
        nodes: numbers of nodes of the graphs, the largest last.
        rounds: timed runs of each optimiser on the export, and on each graph.

    Raises:
        InputError: a number below 1.
    """

    config: BertConfig = field(default_factory=lambda: published.configs["bert-base-uncased"])
    nodes: Sequence[int] = NODES
    rounds: int = 3

    def __post_init__(self) -> None:
        if self.rounds < 1 or min(self.nodes, default=1) < 1:
            raise InputError(
                f"cannot time {self.rounds} rounds of graphs with {list(self.nodes)} nodes: expected 1 or more of each"
            )


@dataclass(frozen=True)
class OptimizeReport:
    """What was measured, and where.

    Attributes:
        export: samples by optimiser; empty where there is no export.
        graphs: samples by the number of nodes that the file has.
        skipped: what was left out, and why.
    """

    settings: Settings
    machine: Mapping[str, Any]
    load: float | None
    export: Mapping[str, Sequence[Sample]]
    graphs: Mapping[int, Sequence[Sample]]
    skipped: Mapping[str, str]

    @property
    def ratio(self) -> float | None:
        """The median of tfgraph on the export as a part of that of ONNX Runtime's optimiser."""
        if THEIRS not in self.export:
            return None
        return median(self.export[OURS]) / median(self.export[THEIRS])

    def exceeded(self) -> list[str]:
        """The limits that were not kept, one line each, by the medians; they are meant for the full sizes."""
        found: list[tuple[str, float, float]] = []
        if self.export:
            found.append(("seconds for torch's export", median(self.export[OURS]), EXPORT_SECONDS))
        if self.ratio is not None:
            found.append(("of the time of ONNX Runtime's optimiser", self.ratio, EXPORT_RATIO))
        if self.graphs:
            largest = max(self.graphs)
            found.append((f"seconds for {largest} nodes", median(self.graphs[largest]), GRAPH_SECONDS))
        return [f"{what}: {value:.4g}, and the limit is {limit:.4g}" for what, value, limit in found if value > limit]

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "benchmark": "optimize",
            "machine": dict(self.machine),
            "load_average": self.load,
            "rounds": self.settings.rounds,
            "export": {
                "model": asdict(self.settings.config),
                "limits": {"seconds": EXPORT_SECONDS, "ratio": EXPORT_RATIO},
                "ratio": self.ratio,
                "seconds": {name: [sample.seconds for sample in samples] for name, samples in self.export.items()},
            },
            "graphs": {
                "limits": {"seconds": GRAPH_SECONDS},
                "seconds": {str(nodes): [sample.seconds for sample in each] for nodes, each in self.graphs.items()},
                "cpu_seconds": {
                    str(nodes): [sample.cpu_seconds for sample in each] for nodes, each in self.graphs.items()
                },
            },
            "skipped": dict(self.skipped),
            "exceeded": self.exceeded(),
        }


def median(samples: Sequence[Sample]) -> float:
    """The median of the seconds."""
    return float(statistics.median(sample.seconds for sample in samples))


def measure_optimize(
    settings: Settings, *, on_progress: Callable[[str, int, int], None] | None = None
) -> OptimizeReport:
    """Run all measurements.

    Args:
        settings: what to measure.
        on_progress: called as `on_progress(activity, done, of)`.

    Raises:
        ExportError: there is no room for temporary files: about four times the weights of the model.
    """
    report = on_progress or (lambda _activity, _done, _of: None)
    load_before = load_average()
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="tfgraph-bench-") as name:
        folder = Path(name)
        graphs = _measure_graphs(settings, folder, report)
        try:
            export = _measure_export(settings, folder, skipped, report)
        except PeerUnavailable as error:
            export = {}
            skipped["torch export"] = str(error)
    return OptimizeReport(settings, describe_machine(), load_before, export, graphs, skipped)


def _measure_graphs(
    settings: Settings, folder: Path, report: Callable[[str, int, int], None]
) -> dict[int, list[Sample]]:
    """Each graph once a round: what disturbs the machine disturbs them alike."""
    candidates: dict[str, Callable[[], object]] = {}
    sizes: dict[str, int] = {}
    for wanted in settings.nodes:
        path = folder / f"{wanted}.onnx"
        sizes[path.name] = write_grown_graph(path, wanted)
        candidates[path.name] = _optimising(path, folder / "out.onnx")
    if not candidates:
        return {}
    samples = interleave(
        candidates,
        rounds=settings.rounds,
        warm_up=0,
        on_round=lambda done, of: report("optimising graphs", done, of),
    )
    return {sizes[name]: each for name, each in samples.items()}


def _measure_export(
    settings: Settings, folder: Path, skipped: dict[str, str], report: Callable[[str, int, int], None]
) -> dict[str, list[Sample]]:
    """Both optimisers on torch's export; ours alone, and a note in `skipped`, where the other does not run.

    Raises:
        PeerUnavailable: there is no export.
    """
    report("exporting with torch", 0, settings.rounds)
    checkpoint, source, out = folder / "checkpoint", folder / "torch.onnx", folder / "peer.onnx"
    checkpoint.mkdir()
    write_bert_checkpoint(checkpoint, settings.config)
    TorchPeer(checkpoint, 1).export(source)
    candidates: dict[str, Callable[[], object]] = {OURS: _optimising(source, folder / "out.onnx")}
    candidates[OURS]()  # what the first run imports is not timed
    try:
        optimise_with_onnxruntime(source, out, settings.config)
    except PeerUnavailable as error:
        skipped[THEIRS] = str(error)
    else:
        candidates[THEIRS] = lambda: optimise_with_onnxruntime(source, out, settings.config)
    return interleave(
        candidates,
        rounds=settings.rounds,
        warm_up=0,
        on_round=lambda done, of: report("optimising torch's export", done, of),
    )


def _optimising(source: Path, out: Path) -> Callable[[], object]:
    from tfgraph.optimizer import optimize_onnx

    return lambda: optimize_onnx(source, out, verify=False)
