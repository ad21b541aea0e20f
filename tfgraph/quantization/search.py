"""The search: from everything quantised the fastest way, towards float, until the model is within its budget.

Each step takes back what harms most for the time that it saves. How many steps are needed is found by measuring whole
models; the plan that comes out has been measured, on inputs that the search did not see as well, and is within the
budget on both. The search knows no graphs, only units, their choices, and how to measure a selection of them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tfgraph.errors import BudgetError
from tfgraph.passes.quantise.plan import Plan, SitePlan
from tfgraph.quantization.budget import Budget, noise
from tfgraph.quantization.units import Choice, Unit

Selection = tuple[int, ...]
"""For each unit, which of its choices."""


@dataclass(frozen=True)
class Trial:
    """A selection that was measured on the calibration inputs, and the value of the budget's metric."""

    selection: Selection
    value: float
    within: bool


@dataclass
class Found:
    """What a search came to.

    Attributes:
        selection: what was chosen.
        trials: what was measured on the way, in order.
        value, held_out: the metric on the calibration inputs and on those held out.
    """

    selection: Selection
    value: float
    held_out: float
    trials: list[Trial] = field(default_factory=list)


def steps(units: Sequence[Unit]) -> list[Selection]:
    """Selections from the fastest to the most exact, each one unit further than the one before.

    The unit that goes further is the one whose error falls most for the time that it costs; of equal ones the first.
    """
    current = [0] * len(units)
    path = [tuple(current)]
    queue: list[tuple[float, int, int]] = []

    def consider(index: int) -> None:
        found = _next(units[index].choices, current[index])
        if found is not None:
            gain, position = found
            heapq.heappush(queue, (-gain, index, position))

    for index in range(len(units)):
        consider(index)
    while queue:
        _, index, position = heapq.heappop(queue)
        current[index] = position
        path.append(tuple(current))
        consider(index)
    return path


def _next(choices: Sequence[Choice], at: int) -> tuple[float, int] | None:
    """The gain of error for time, and the place, of the best choice behind `at`; None at the end."""
    best: tuple[float, int] | None = None
    for position in range(at + 1, len(choices)):
        time = max(choices[position].time - choices[at].time, 1e-9)
        gain = (choices[at].error - choices[position].error) / time
        if best is None or gain > best[0]:
            best = gain, position
    return best


def plan_of(units: Sequence[Unit], selection: Selection) -> Plan:
    """The plan that a selection stands for."""
    plan: dict[str, SitePlan] = {}
    for unit, position in zip(units, selection, strict=True):
        plan.update(unit.choices[position].plans())
    return plan


def predicted(units: Sequence[Unit], selection: Selection) -> float:
    """The sum of the estimated errors."""
    return math.fsum(unit.choices[position].error for unit, position in zip(units, selection, strict=True))


def search(
    units: Sequence[Unit],
    budget: Budget,
    measure: Callable[[Selection], float],
    verify: Callable[[Selection], float],
    on_trial: Callable[[int], None] | None = None,
) -> Found:
    """The fastest selection on the way from the fastest to float whose measured value is within `budget`.

    `measure` gives the budget's metric on the calibration inputs, `verify` on those held out; the result is within the
    budget on both. Same arguments, same result.

    Raises:
        BudgetError: not even the last step, where everything that can be is in float, is within the budget.
    """
    path = steps(units)
    values: dict[int, float] = {}
    held_out: dict[int, float] = {}
    trials: list[Trial] = []

    def fits(step: int) -> bool:
        if step not in values:
            values[step] = measure(path[step])
            trials.append(Trial(path[step], values[step], budget.met_by(values[step])))
            if on_trial is not None:
                on_trial(len(trials))
        return budget.met_by(values[step])

    def keeps(step: int) -> bool:
        """Whether a step is within the budget on the inputs held out, too."""
        if step not in held_out and fits(step):
            held_out[step] = verify(path[step])
        return step in held_out and budget.met_by(held_out[step])

    last = len(path) - 1
    step, failed, hop = _first(units, path, budget, fits, values), -1, 1
    while not keeps(step) and step < last:
        failed, step, hop = step, min(step + hop, last), hop * 2
    if not keeps(step):
        best = held_out.get(step, values[step])
        raise BudgetError(
            f"no selection of schemes stays within {budget}: with every layer in floating point that may be, "
            f"{budget.metric} is {best:.6g}. Loosen the budget, force fewer sites by `sites`, or check that the "
            "calibration inputs give finite results"
        )
    while failed >= 0 and step - failed > 1:  # it was left behind by a hop: is there an earlier one?
        middle = (step + failed) // 2
        step, failed = (middle, failed) if keeps(middle) else (step, middle)
    return Found(path[step], values[step], held_out[step], trials)


def _first(
    units: Sequence[Unit],
    path: Sequence[Selection],
    budget: Budget,
    fits: Callable[[int], bool],
    values: Mapping[int, float],
) -> int:
    """The first step that fits, by bisection; the estimates, scaled by what was measured, say where to look first."""
    if fits(0) or len(path) == 1:
        return 0
    low, high = 0, len(path) - 1  # low does not fit; high is taken to
    allowed = noise(budget.metric, budget.bound)
    while high - low > 1:
        scale = noise(budget.metric, values[low]) / max(predicted(units, path[low]), 1e-30)
        middle = (low + high) // 2
        if math.isfinite(scale):
            guess = next((at for at in range(low + 1, high) if predicted(units, path[at]) * scale <= allowed), middle)
            middle = guess if low == 0 or guess - low < high - guess else middle
        if fits(middle):
            high = middle
        else:
            low = middle
    return high
