"""What to tell a user whose checkpoint does not fit the model.

Finding the differences is the work of `tfgraph.checkpoints.assign`; here they are collected and put into words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from tfgraph.ir.constant import Constant
from tfgraph.ir.dtypes import DType

MOST_LISTED = 8  # names of one kind in a message; the rest is counted


@dataclass(frozen=True)
class Misfit:
    """A parameter, and the checkpoint's tensor `found`, named `given_as` there, that does not fit it."""

    name: str
    given_as: str
    found: Constant
    dtype: DType
    shape: tuple[int, ...]


@dataclass
class Mismatch:
    """All differences between a model and a checkpoint; false when there are none."""

    missing: Mapping[str, tuple[DType, tuple[int, ...]]]
    unexpected: Mapping[str, Constant]
    tied: Mapping[str, str]
    misshapen: list[Misfit] = field(default_factory=list)
    mistyped: list[Misfit] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen or self.mistyped)

    def message(self, source: str | Path | None, left_over: Mapping[str, Constant], *, num_expected: int) -> str:
        """The differences, each kind sorted by name and cut after `MOST_LISTED`.

        `left_over` are the checkpoint's tensors that no parameter took: for a missing one, the name most like its own
        is looked for among those of its shape.
        """
        origin = "the checkpoint" if source is None else f"the checkpoint in {source}"
        lines = [f"{origin} does not fit the model:"]
        if self.missing and len(self.missing) == num_expected:
            lines.append(
                f"  None of the model's {num_expected} parameters is in it by name: is it of another kind of model?"
            )
            left_over = {}
        lines += _section(
            "missing from the checkpoint",
            {name: self._missing_text(name, left_over) for name in sorted(self.missing)[:MOST_LISTED]},
            len(self.missing),
        )
        lines += _section(
            "in the checkpoint but not in the model",
            {name: f"{name}: {_kind(c.dtype, c.shape)}" for name, c in self.unexpected.items()},
            len(self.unexpected),
        )
        lines += _section(
            "of another shape than the model's",
            {
                m.name: f"{_both_names(m)}: found {list(m.found.shape)}, expected {list(m.shape)}"
                for m in self.misshapen
            },
            len(self.misshapen),
        )
        lines += _section(
            "of a dtype that does not convert to the model's",
            {m.name: f"{_both_names(m)}: found {m.found.dtype}, expected {m.dtype}" for m in self.mistyped},
            len(self.mistyped),
        )
        lines.append("Check that the configuration is the one that was saved with these weights, and for this model.")
        return "\n".join(lines)

    def _missing_text(self, name: str, left_over: Mapping[str, Constant]) -> str:
        dtype, shape = self.missing[name]
        text = f"{name}: {_kind(dtype, shape)}"
        if name in self.tied:
            text += f" (it may be tied to {self.tied[name]}, which is missing too)"
        alike = [other for other, constant in left_over.items() if constant.shape == tuple(shape)]
        close = get_close_matches(name, alike, n=1, cutoff=0.8)
        return f"{text} (the checkpoint has {close[0]}: was that meant?)" if close else text


def _section(title: str, texts: Mapping[str, str], count: int) -> list[str]:
    """A heading with a count, then one line for each of the first names."""
    if not count:
        return []
    lines = [f"  {count} {'tensor' if count == 1 else 'tensors'} {title}:"]
    lines += [f"    {texts[name]}" for name in sorted(texts)[:MOST_LISTED]]
    if count > MOST_LISTED:
        lines.append(f"    and {count - MOST_LISTED} more")
    return lines


def _kind(dtype: DType, shape: tuple[int, ...]) -> str:
    return f"{dtype}{list(shape)}"


def _both_names(misfit: Misfit) -> str:
    return misfit.name if misfit.name == misfit.given_as else f"{misfit.name} ({misfit.given_as} in the checkpoint)"
