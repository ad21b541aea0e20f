"""How fast a model of many gigabytes is exported, against copying its files, and how much memory that takes.

The checkpoint is made for the purpose, see `sharded_checkpoint.py`. Copies and exports take turns, so that a busy
machine slows them alike; each export has a process of its own. What the system keeps of files in memory is left as it
is: both find the checkpoint there as far as it fits, since it has just been written or read.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tfgraph.bench.alone import measure_alone
from tfgraph.bench.machine import describe_machine, load_average
from tfgraph.bench.scale_worker import LARGE_EXPORT
from tfgraph.bench.sharded_checkpoint import DTYPES, write_llama_checkpoint
from tfgraph.errors import ExportError, InputError
from tfgraph.ir.dtypes import DType
from tfgraph.models import published
from tfgraph.models.llama import LlamaConfig

MODEL: Final = "llama-7b"
"""The size that is measured if no other is named."""
LEAST_SPEED: Final = 0.6
"""The least speed of an export, as a part of that of copying the same files."""
MOST_MEMORY: Final = 10**9
"""The most bytes that the exporting process may have resident, the interpreter and all imports included."""

_FILES_AT_ONCE: Final = 2  # the checkpoint, and a copy or an export of it


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        config: sizes of the model.
        dtype: of the weights, in the checkpoint and in the export.
        rounds: how many times each is measured; medians count.
        folder: where the files are made, on the disk that is to be measured; they are deleted afterwards.

    Raises:
        InputError: no round, a dtype that no checkpoint is made in, or no such folder.
    """

    config: LlamaConfig = field(default_factory=lambda: published.configs[MODEL])
    dtype: DType = DType.FLOAT16
    rounds: int = 3
    folder: Path = Path()

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"cannot measure {self.rounds} rounds: expected 1 or more")
        if self.dtype not in DTYPES:
            known = " or ".join(str(dtype) for dtype in DTYPES)
            raise InputError(f"cannot make a checkpoint in {self.dtype}: expected {known}")
        if not self.folder.is_dir():
            raise InputError(f"cannot make files in {self.folder}: there is no such folder")


@dataclass(frozen=True)
class WriteReport:
    """What was measured, and where.

    Attributes:
        nbytes: of the checkpoint's files.
        copies: seconds of each copy, and of each copy with the time until it is on the disk.
        exports: what the exporting processes report. An export ends when its files are on the disk.
    """

    settings: Settings
    machine: Mapping[str, Any]
    load: float | None
    nbytes: int
    copies: Sequence[tuple[float, float]]
    exports: Sequence[Mapping[str, Any]]

    @property
    def copy_seconds(self) -> float:
        """The median of copying, without waiting for the disk."""
        return statistics.median(seconds for seconds, _ in self.copies)

    @property
    def flushed_copy_seconds(self) -> float:
        """The median of copying until the copy is on the disk, as an export is when it ends."""
        return statistics.median(seconds for _, seconds in self.copies)

    @property
    def export_seconds(self) -> float:
        """The median of an export, from opening the checkpoint to files on the disk."""
        return float(statistics.median(each["seconds"] for each in self.exports))

    @property
    def speed(self) -> float:
        """The speed of the export as a part of the speed of copying, without waiting for the disk: the stricter one."""
        return self.copy_seconds / self.export_seconds

    @property
    def memory(self) -> int | None:
        """The most bytes that an exporting process had resident; None where the system does not say."""
        peaks = [each["peak_memory"] for each in self.exports]
        return None if None in peaks else max(peaks)

    def exceeded(self) -> list[str]:
        """The limits that were not kept, one line each."""
        found = []
        if self.speed < LEAST_SPEED:
            found.append(f"speed of the export: {self.speed:.2f} of that of copying, and the limit is {LEAST_SPEED:g}")
        if (self.memory or 0) > MOST_MEMORY:
            found.append(f"bytes of memory of the export: {self.memory:.4g}, and the limit is {MOST_MEMORY:.4g}")
        return found

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "benchmark": "write",
            "machine": dict(self.machine),
            "load_average": self.load,
            "model": asdict(self.settings.config),
            "dtype": str(self.settings.dtype),
            "bytes": self.nbytes,
            "copy_seconds": [seconds for seconds, _ in self.copies],
            "flushed_copy_seconds": [seconds for _, seconds in self.copies],
            "exports": [dict(each) for each in self.exports],
            "speed": self.speed,
            "limits": {"speed": LEAST_SPEED, "bytes": MOST_MEMORY},
            "exceeded": self.exceeded(),
        }


def measure_write(settings: Settings, *, on_progress: Callable[[str, int, int], None] | None = None) -> WriteReport:
    """Make the checkpoint, and copy and export it in turns.

    Args:
        settings: what to measure.
        on_progress: called as `on_progress(activity, done, of)`.

    Raises:
        ExportError: the disk has no room for twice the weights, or cannot be written.
        TFGraphError: an exporting process failed; the message is what it said.
    """
    report = on_progress or (lambda _activity, _done, _of: None)
    load_before = load_average()
    copies: list[tuple[float, float]] = []
    exports: list[dict[str, Any]] = []
    try:
        with tempfile.TemporaryDirectory(prefix="tfgraph-bench-", dir=settings.folder) as name:
            checkpoint, out = Path(name) / "checkpoint", Path(name) / "out"
            checkpoint.mkdir()
            write_llama_checkpoint(
                checkpoint, settings.config, settings.dtype,
                on_progress=lambda done, of: report("making a checkpoint", done, of),
            )  # fmt: skip
            nbytes = sum(path.stat().st_size for path in checkpoint.iterdir())
            free = shutil.disk_usage(name).free
            if free < (_FILES_AT_ONCE - 1) * nbytes:
                raise ExportError(f"cannot measure in {settings.folder}: {nbytes:,} bytes needed, {free:,} left")
            for index in range(settings.rounds):
                report("copying", 2 * index, 2 * settings.rounds)
                copies.append(_copy(checkpoint, out))
                report("exporting", 2 * index + 1, 2 * settings.rounds)
                exports.append(measure_alone(LARGE_EXPORT, str(checkpoint), str(out), str(settings.dtype)))
                shutil.rmtree(out)
    except OSError as error:
        raise ExportError(f"cannot measure in {settings.folder}: {error.strerror or error}") from None
    report("done", 2 * settings.rounds, 2 * settings.rounds)
    return WriteReport(settings, describe_machine(), load_before, nbytes, copies, exports)


def _copy(source: Path, copy: Path) -> tuple[float, float]:
    """Copy a folder with the system's own command, where it has one, and delete the copy.

    Returns:
        The seconds of copying, and of copying and waiting until the files are on the disk.
    """
    command = shutil.which("cp")
    start = time.perf_counter()
    if command is None:
        shutil.copytree(source, copy)
    else:
        subprocess.run([command, "-R", str(source), str(copy)], check=True, capture_output=True)
    copied = time.perf_counter()
    for path in copy.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    flushed = time.perf_counter()
    shutil.rmtree(copy)
    return copied - start, flushed - start
