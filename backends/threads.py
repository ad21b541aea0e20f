"""How many threads a session should have on this machine, and where they should run.

One thread a physical core is fastest for matrix products: two threads of one core share its arithmetic units. A process
may be allowed on some processors only, or be given a share of their time (a container's quota); threads beyond that
wait for each other.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TOPOLOGY: Final = Path("/sys/devices/system/cpu")
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")  # of cgroup version 2: "max 100000", or microseconds in each period


@dataclass(frozen=True)
class Threads:
    """The threads of a session.

    Attributes:
        count: how many, the one that calls included.
        processors: the number of the processor that each should stay on, counted from 0; empty where the system places
            them better.
    """

    count: int
    processors: tuple[int, ...] = ()


def choose_threads(topology: Path = _TOPOLOGY, quota: Path = _QUOTA) -> Threads:
    """One thread for each physical core that this process may use, within its share of processor time.

    Threads get a processor each where the process may use some of the machine's only, all of the time: ONNX Runtime
    would count the cores of the whole machine. Under a quota the system places them.
    """
    allowed = allowed_processors()
    cores = _one_a_core(allowed, topology)
    share = _share(quota)
    if share is not None and share < len(cores):
        return Threads(max(1, math.floor(share)))
    restricted = len(allowed) < (os.cpu_count() or 1)
    return Threads(len(cores), tuple(cores) if restricted else ())


def allowed_processors() -> list[int]:
    """The processors that this process may run on, counted from 0."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _one_a_core(processors: list[int], topology: Path) -> list[int]:
    """The first of the processors of each core."""
    chosen: dict[str, int] = {}
    for processor in processors:
        try:
            siblings = (topology / f"cpu{processor}" / "topology" / "thread_siblings_list").read_text(encoding="ascii")
        except OSError:
            siblings = str(processor)
        chosen.setdefault(siblings.strip(), processor)
    return list(chosen.values())


def _share(quota: Path) -> float | None:
    """How many processors' time the process is given; None for all that it can use."""
    try:
        limit, period = quota.read_text(encoding="ascii").split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
