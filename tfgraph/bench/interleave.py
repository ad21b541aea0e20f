"""Timing candidates side by side: in turns, each round in another random order.

Whatever else the machine does then hits all candidates alike, and none always runs behind the same other. What is made
of the samples is in `timings.py`.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tfgraph.errors import InputError


@dataclass(frozen=True)
class Sample:
    """One timed run.

    Attributes:
        turn: how many timed runs, of whichever candidate, came before it.
        seconds: on the clock.
        cpu_seconds: that all threads of the process together were running. Other processes that take the cores away
            lengthen `seconds` but not this.
    """

    turn: int
    seconds: float
    cpu_seconds: float


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warm_up: int = 2,
    seed: int = 0,
    on_round: Callable[[int, int], None] | None = None,
    measure: Callable[[Callable[[], object]], tuple[float, float]] | None = None,
) -> dict[str, list[Sample]]:
    """Run each candidate once a round, in an order drawn anew for each round, and time it.

    Args:
        candidates: what to run, by name.
        rounds: how many samples each gets.
        warm_up: rounds before those, which are not timed.
        seed: of the orders.
        on_round: called as `on_round(rounds_done, rounds)`, warm-up left out.
        measure: runs a candidate, and gives the seconds on the clock and of the processor. For candidates in processes
            of their own, which know these better; by default both are taken around the call.

    Returns:
        The samples of each candidate, in the order of the rounds.

    Raises:
        InputError: no candidates, no rounds, or a negative warm-up.
    """
    if not candidates:
        raise InputError("there is nothing to time: expected at least one candidate")
    if rounds < 1 or warm_up < 0:
        raise InputError(
            f"cannot time {rounds} rounds after {warm_up} of warm-up: expected at least 1 after at least 0"
        )
    generator = random.Random(seed)
    timed = measure or _time
    samples: dict[str, list[Sample]] = {name: [] for name in candidates}
    order = list(candidates)
    turn = 0
    with _without_collector():
        for index in range(-warm_up, rounds):
            generator.shuffle(order)
            for name in order:
                seconds, cpu_seconds = timed(candidates[name])
                if index >= 0:
                    samples[name].append(Sample(turn, seconds, cpu_seconds))
                    turn += 1
            if index >= 0 and on_round is not None:
                on_round(index + 1, rounds)
    return samples


def _time(run: Callable[[], object]) -> tuple[float, float]:
    cpu_start, start = time.process_time(), time.perf_counter()
    run()
    return time.perf_counter() - start, time.process_time() - cpu_start


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python's garbage collector from running inside a sample."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
