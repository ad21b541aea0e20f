"""One measurement of `scale.py` or `write.py`, alone in a process: `python -m tfgraph.bench.scale_worker`.

It prints one JSON object. Seconds and memory count from where everything that the work imports has been imported.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tfgraph.bench.checkpoint import WEIGHTS_FILE
from tfgraph.bench.machine import forget_peak_memory, peak_memory
from tfgraph.errors import TFGraphError

EXPORT: Final = "export"
DECODER: Final = "decoder"
LARGE_EXPORT: Final = "large-export"
_PACKAGES: Final = ("tfgraph.ir", "tfgraph.dsl", "tfgraph.passes", "tfgraph.backends.onnx", "tfgraph.models")
_MODULES: Final = (
    *("numpy.random", "onnx", "onnx_ir", "tfgraph.bench.decoder", "tfgraph.compiler", "tfgraph.pretrained"),
    "tfgraph.quantization.request",
)


def main(arguments: Sequence[str]) -> int:
    """Measure what the arguments name, print it, and return the exit code.

    `export CHECKPOINT FOLDER` exports a checkpoint into a folder, `decoder SIZES` lowers a decoder whose sizes are the
    JSON object SIZES. `large-export CHECKPOINT FOLDER DTYPE` exports a checkpoint with its memory counted from nothing.
    """
    measures: dict[str, Callable[..., dict[str, Any]]] = {
        EXPORT: measure_export,
        DECODER: measure_decoder,
        LARGE_EXPORT: measure_large_export,
    }
    name, *rest = arguments
    try:
        measured = measures[name](*rest)
    except (TFGraphError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(measured))
    return 0


def measure_export(checkpoint: str, folder: str) -> dict[str, Any]:
    """From a checkpoint to an optimised file with external data, and the copying of the same weights before and after.

    Both end with the bytes on the disk: an export flushes them before it replaces an older one, so the copy does too.
    """
    _import_all()
    from tfgraph.compiler import compile
    from tfgraph.pretrained import load

    source, target = Path(checkpoint), Path(folder)
    copies = [_copy_seconds(source / WEIGHTS_FILE, target)]
    memory = _Memory()
    clock = _Clock()
    pretrained = load(source)
    clock.lap("load")
    compiled = compile(pretrained, target="cpu")
    clock.lap("compile")
    compiled.save(target / "model.onnx")
    clock.lap("write")
    taken = memory.taken()
    copies.append(_copy_seconds(source / WEIGHTS_FILE, target))
    report = compiled.report
    return {
        "bytes": (source / WEIGHTS_FILE).stat().st_size,
        "copy_seconds": min(copies),  # the stricter one: it is taken off
        "copies": copies,
        "memory": taken,
        **clock.result(report.seconds),
        "nodes_before": report.nodes_before,
        "nodes_after": report.nodes_after,
        "fused": report.fused,
    }


def measure_decoder(sizes: str) -> dict[str, Any]:
    """A decoder without weights: declared, traced, fused, and lowered to ONNX in memory, not written."""
    _import_all()
    import tfgraph.bench.decoder as decoder
    from tfgraph.compiler import compile
    from tfgraph.dsl.trace import spec

    size = decoder.DecoderSize(**json.loads(sizes))
    memory = _Memory()
    clock = _Clock()
    model = decoder.Decoder(size)
    clock.lap("declare")
    compiled = compile(model, target="cpu", inputs={"input_ids": spec("int64", ["batch", "seq"])})
    clock.lap("compile")
    lowered = compiled.to_onnx_ir()
    clock.lap("lower")
    report = compiled.report
    return {
        "layers": size.num_layers,
        "parameters": model.num_parameters(),
        "memory": memory.taken(),
        **clock.result(report.seconds),
        "nodes_before": report.nodes_before,
        "nodes_after": len(lowered.graph),
        "fused": report.fused,
    }


def measure_large_export(checkpoint: str, folder: str, dtype: str) -> dict[str, Any]:
    """From a checkpoint to a folder of an export, its files on the disk; the memory is that of the whole process."""
    from tfgraph.exporter import Progress, export
    from tfgraph.pretrained import load

    clock = _Clock()
    pretrained = load(checkpoint, dtype=dtype)
    clock.lap("load")
    written: list[int] = []

    def follow(step: Progress) -> None:
        if step.activity == "write":
            if not written:
                clock.lap("compile")
            written.append(step.done)

    report = export(pretrained, folder, on_progress=follow)
    clock.lap("write")
    return {**clock.result(report.seconds), "peak_memory": peak_memory(), "bytes_written": max(written, default=0)}


class _Clock:
    """Seconds between laps, and in all; and processor time in all."""

    def __init__(self) -> None:
        self._laps: dict[str, float] = {}
        self._cpu_start = time.process_time()
        self._start = self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Name the time since the last lap."""
        now = time.perf_counter()
        self._laps[name], self._last = now - self._last, now
        self._cpu = time.process_time() - self._cpu_start

    def result(self, passes: float) -> dict[str, Any]:
        """The laps; that of compiling is told apart into tracing and `passes`."""
        phases: dict[str, float] = {}
        for name, seconds in self._laps.items():
            phases |= {"trace": seconds - passes, "passes": passes} if name == "compile" else {name: seconds}
        return {"seconds": self._last - self._start, "cpu_seconds": self._cpu, "phases": phases}


class _Memory:
    """How much more memory the process has had resident than it has when this is made; None where nobody knows."""

    def __init__(self) -> None:
        forget_peak_memory()
        self._before = peak_memory()

    def taken(self) -> int | None:
        """The bytes since then, at their most."""
        now = peak_memory()
        return None if now is None or self._before is None else now - self._before


def _copy_seconds(source: Path, folder: Path) -> float:
    """The time of copying a file into a folder, to the disk; the copy is deleted."""
    copy = folder / "copy"
    start = time.perf_counter()
    shutil.copyfile(source, copy)
    with copy.open("r+b") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    copy.unlink()
    return seconds


def _import_all() -> None:
    """Import what the work imports on its way, so that it is not counted."""
    for name in _MODULES:
        importlib.import_module(name)
    for name in _PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            importlib.import_module(module.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
