"""How much each precision costs a model: the same calibration for several of them, side by side.

Speed is measured by `tfgraph.bench`; here only errors are, and the bytes of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfgraph.errors import ConfigError
from tfgraph.quantization.budget import Budget
from tfgraph.quantization.outcome import Quantization

if TYPE_CHECKING:
    from tfgraph.pretrained import Pretrained


@dataclass(frozen=True)
class Accuracy:
    """What was measured, for each precision with its budget, in the order in which they were given."""

    model: str
    outcomes: tuple[Quantization, ...]

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain data, for JSON."""
        return {"model": self.model, "outcomes": [outcome.as_dict() for outcome in self.outcomes]}


def parse_profile(text: str) -> tuple[str, Budget | None]:
    """A precision, and the budget behind it if there is one: `int8`, `int8:cosine>=0.999`.

    Raises:
        ConfigError: an unknown precision or budget, or a precision that quantises nothing.
    """
    from tfgraph.quantization.profiles import QUANTISED, check_precision

    precision, colon, bound = text.partition(":")
    check_precision(precision)
    if precision not in QUANTISED:
        expected = " or ".join(QUANTISED)
        raise ConfigError(f"precision {precision!r} quantises nothing: give {expected}, such as int8:cosine>=0.999")
    return precision, Budget.parse(bound) if colon else None


def measure_accuracy(
    model: Pretrained,
    profiles: Sequence[str],
    calibration: Any,
    *,
    target: str = "cpu",
    num_threads: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Accuracy:
    """Quantise `model` as each of `profiles` says (see `parse_profile`), and measure on held-out inputs.

    Raises:
        ConfigError, InputError, TargetError, BudgetError: as `tfgraph.compile` does.
    """
    from tfgraph.compiler import compile

    wanted = [parse_profile(text) for text in profiles]
    outcomes = []
    for index, (precision, budget) in enumerate(wanted):

        def tell(name: str, _index: int, _count: int, position: int = index) -> None:
            if on_progress is not None:
                on_progress(f"{profiles[position]}: {name}", position, len(wanted))

        compiled = compile(
            model, target=target, precision=precision, budget=budget, calibration=calibration,
            num_threads=num_threads, on_progress=tell,
        )  # fmt: skip
        if compiled.quantization is not None:
            outcomes.append(compiled.quantization)
    return Accuracy(str(model.path.name), tuple(outcomes))
