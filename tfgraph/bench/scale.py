"""How time and memory grow with the model: a real checkpoint exported, and a decoder of GPT-3's size lowered.

Each measurement has a process of its own (`scale_worker.py`), so that none finds memory or caches that another left.
The limits are what tfgraph promises for the full sizes.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tfgraph.bench.alone import measure_alone
from tfgraph.bench.checkpoint import write_bert_checkpoint
from tfgraph.bench.decoder import GPT3, DecoderSize
from tfgraph.bench.machine import describe_machine, load_average
from tfgraph.bench.scale_worker import DECODER, EXPORT
from tfgraph.errors import InputError
from tfgraph.models import published
from tfgraph.models.bert import BertConfig

EXPORT_SECONDS: Final = 1.5
"""Limit for BERT-base from checkpoint to file, beyond the time of copying its weights."""
EXPORT_BYTES: Final = 400_000_000
"""Limit of the memory that this takes, beyond the interpreter with what it imports."""
DECODER_SECONDS: Final = 5.0
"""Limit for a decoder of GPT-3's size, declared, traced, fused and lowered."""
DECODER_BYTES: Final = 500_000_000
"""Limit of the memory that this takes, as above."""

LAYERS: Final = (12, 24, 48, 96)
"""Each twice the one before: the time must double as well."""


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        checkpoint: sizes of the model whose checkpoint is exported.
        decoder: sizes of the decoder; its layers are those of `layers` in turn.
        layers: numbers of layers, of which the last should be the largest.
        repeats: processes for each measurement, of which the median counts.

    Raises:
        InputError: a number below 1, or no numbers of layers.
    """

    checkpoint: BertConfig = field(default_factory=lambda: published.configs["bert-base-uncased"])
    decoder: DecoderSize = GPT3
    layers: Sequence[int] = LAYERS
    repeats: int = 3

    def __post_init__(self) -> None:
        if self.repeats < 1 or not self.layers or min(self.layers) < 1:
            raise InputError(
                f"cannot measure {self.repeats} times with {list(self.layers)} layers: expected 1 or more of each"
            )


@dataclass(frozen=True)
class Measurement:
    """The runs of one measurement, as the worker reports them, and what they amount to."""

    runs: Sequence[Mapping[str, Any]]

    def median(self, key: str) -> float:
        """The median over the runs."""
        return float(statistics.median(run[key] for run in self.runs))

    def least(self, key: str) -> float:
        """The smallest of the runs."""
        return float(min(run[key] for run in self.runs))

    def phase(self, name: str) -> float:
        """The median of a phase, in seconds."""
        return float(statistics.median(run["phases"][name] for run in self.runs))

    @property
    def phases(self) -> list[str]:
        """The names of the phases, in order."""
        return list(self.runs[0]["phases"])

    @property
    def memory(self) -> int | None:
        """The most bytes that a run took; None where the system does not say."""
        taken = [run["memory"] for run in self.runs]
        return None if None in taken else max(taken)

    @property
    def beyond_copying(self) -> list[float]:
        """Of exports: the seconds of each run beyond those of copying the weights."""
        return [run["seconds"] - run["copy_seconds"] for run in self.runs]


@dataclass(frozen=True)
class ScaleReport:
    """What was measured, and where; `decoders` by their number of layers."""

    settings: Settings
    machine: Mapping[str, Any]
    load: float | None
    export: Measurement
    decoders: Mapping[int, Measurement]

    def exceeded(self) -> list[str]:
        """The limits that were not kept, one line each, by the medians; they are meant for the full sizes."""
        last = self.decoders[max(self.decoders)]
        beyond = statistics.median(self.export.beyond_copying)
        found = [
            ("seconds of the export beyond copying", beyond, EXPORT_SECONDS),
            ("bytes of memory of the export", self.export.memory or 0, EXPORT_BYTES),
            ("seconds of the largest decoder", last.median("seconds"), DECODER_SECONDS),
            ("bytes of memory of the largest decoder", last.memory or 0, DECODER_BYTES),
        ]
        return [f"{what}: {value:.4g}, and the limit is {limit:.4g}" for what, value, limit in found if value > limit]

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "benchmark": "scale",
            "machine": dict(self.machine),
            "load_average": self.load,
            "repeats": self.settings.repeats,
            "export": {
                "model": asdict(self.settings.checkpoint),
                "limits": {"seconds_beyond_copying": EXPORT_SECONDS, "bytes": EXPORT_BYTES},
                "seconds_beyond_copying": self.export.beyond_copying,
                "runs": [dict(run) for run in self.export.runs],
            },
            "decoder": {
                "model": asdict(self.settings.decoder),
                "limits": {"seconds": DECODER_SECONDS, "bytes": DECODER_BYTES},
                "runs": [dict(run) for each in self.decoders.values() for run in each.runs],
            },
            "exceeded": self.exceeded(),
        }


def measure_scale(settings: Settings, *, on_progress: Callable[[str, int, int], None] | None = None) -> ScaleReport:
    """Run all measurements, one after the other.

    Args:
        settings: what to measure.
        on_progress: called as `on_progress(activity, done, of)`.

    Raises:
        ExportError: there is no room for temporary files: about three times the weights of the checkpoint.
        TFGraphError: a measuring process failed; the message is what it said.
    """
    report = on_progress or (lambda _activity, _done, _of: None)
    load_before = load_average()
    total = settings.repeats * (1 + len(settings.layers))
    exports: list[dict[str, Any]] = []
    decoders: dict[int, list[dict[str, Any]]] = {layers: [] for layers in settings.layers}
    with tempfile.TemporaryDirectory(prefix="tfgraph-bench-") as name:
        checkpoint, out = Path(name) / "checkpoint", Path(name) / "out"
        checkpoint.mkdir()
        report("writing random weights", 0, total)
        write_bert_checkpoint(checkpoint, settings.checkpoint)
        done = 0
        for _ in range(settings.repeats):  # the measurements in turns: what disturbs the machine disturbs them alike
            report("exporting a checkpoint", done, total)
            out.mkdir()
            exports.append(measure_alone(EXPORT, str(checkpoint), str(out)))
            for path in out.iterdir():
                path.unlink()
            out.rmdir()
            done += 1
            for layers, runs in decoders.items():
                report(f"lowering a decoder of {layers} layers", done, total)
                runs.append(measure_alone(DECODER, json.dumps(asdict(replace(settings.decoder, num_layers=layers)))))
                done += 1
        report("done", total, total)
    measured = {layers: Measurement(runs) for layers, runs in decoders.items()}
    return ScaleReport(settings, describe_machine(), load_before, Measurement(exports), measured)
