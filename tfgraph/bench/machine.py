"""Where a benchmark ran: the machine, the versions, how busy it was, and how much memory the process has taken."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = (
    "numpy", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "torch", "transformers", "openvino", "openvino-genai",
    "nncf", "ctranslate2", "onnxruntime-genai", "llama_cpp_python",
)  # fmt: skip
_CPU_INFO: Final = Path("/proc/cpuinfo")
_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_CLEAR_PEAK: Final = "5"  # see the Linux manual, proc_pid_clear_refs(5)


def describe_machine() -> dict[str, Any]:
    """The processor, how many of its cores this process may use, the system, and the versions, for JSON."""
    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
    }


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float | None:
    """How many processes wanted a core in the last minute; None where the system does not say.

    At the start of a benchmark this should be near 0, or the numbers are those of a shared machine.
    """
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def forget_peak_memory() -> None:
    """Let `peak_memory` count from now on, where the system can; elsewhere it counts from the start of the process."""
    try:
        _CLEAR.write_text(_CLEAR_PEAK)
    except OSError:
        return


def peak_memory() -> int | None:
    """The most memory that this process has had resident, in bytes; None where the system does not say.

    File pages that are mapped into memory count, and pages that the system keeps of files read or written do not.
    """
    try:
        status = _STATUS.read_text(encoding="ascii")
    except OSError:
        return _peak_of_usage()
    for line in status.splitlines():
        if line.startswith("VmHWM:"):  # unlike ru_maxrss, not inherited from the process that started this one
            return int(line.split()[1]) * 1024
    return _peak_of_usage()


def _peak_of_usage() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _cpu_model() -> str:
    try:
        for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
