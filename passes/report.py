"""What passes did, and what they nearly did: the answer to "why was this attention not fused?"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

WRITE_OUT = "write out "
"""What the name of a change opens with that writes an operator out by its definition."""


@dataclass(frozen=True)
class NearMiss:
    """An operator that a fusion is about, left where it was, and the reason.

    Attributes:
        operator: what it would have become, such as `Attention`.
        node: the node that was left, with its source line.
        reason: what the definition asks for and what was found.
        matched, size: how many nodes of the closest form fitted, and how many that form has.
    """

    operator: str
    node: str
    reason: str
    matched: int
    size: int

    def __str__(self) -> str:
        fit = f" ({self.matched} of {self.size} nodes fit)" if self.size else ""
        return f"{self.node} is not {self.operator}: {self.reason}{fit}"


@dataclass
class PassResult:
    """What one pass did: how often each rule fired, and what nearly fired."""

    changes: Counter[str] = field(default_factory=Counter)
    near_misses: list[NearMiss] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether the pass changed anything."""
        return bool(self.changes)


@dataclass
class Stage:
    """One pass of a pipeline run: its name, its result, and the seconds it took."""

    name: str
    result: PassResult
    seconds: float


@dataclass
class Report:
    """A whole pipeline run.

    Attributes:
        target: what it was run for.
        stages: the passes in the order in which they ran.
        nodes_before, nodes_after: number of nodes.
        operators: what is in the final graph, operator to count.
    """

    target: str
    stages: list[Stage] = field(default_factory=list)
    nodes_before: int = 0
    nodes_after: int = 0
    operators: Counter[str] = field(default_factory=Counter)

    @property
    def fused(self) -> Counter[str]:
        """Fused operators in the final graph, operator to count: the composites that passes put there."""
        made = {rule for stage in self.stages for rule in stage.result.changes}
        return Counter({key: count for key, count in self.operators.items() if key in made})

    @property
    def written_out(self) -> Counter[str]:
        """Operators that were found, or given, and written out by their definitions for the target's sake."""
        out: Counter[str] = Counter()
        for stage in self.stages:
            for rule, count in stage.result.changes.items():
                if rule.startswith(WRITE_OUT):
                    out[rule.removeprefix(WRITE_OUT)] += count
        return out

    @property
    def near_misses(self) -> list[NearMiss]:
        """What was nearly fused, and why it was not."""
        return [miss for stage in self.stages for miss in stage.result.near_misses]

    @property
    def seconds(self) -> float:
        """Time that the passes took."""
        return sum(stage.seconds for stage in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON. Times are left out, so that equal runs give equal files."""
        return {
            "target": self.target,
            "nodes_before": self.nodes_before,
            "nodes_after": self.nodes_after,
            "operators": dict(sorted(self.operators.items())),
            "fused": dict(sorted(self.fused.items())),
            "written_out": dict(sorted(self.written_out.items())),
            "near_misses": [str(miss) for miss in self.near_misses],
            "passes": [{"name": stage.name, "changes": dict(stage.result.changes)} for stage in self.stages],
        }

    @classmethod
    def of_parts(cls, reports: Mapping[str, Report]) -> Report:
        """One report of the several graphs of a model: each pass by the part's name and its own, and all counts added.

        Without parts, an empty one.
        """
        whole = cls(next((report.target for report in reports.values()), ""))
        for part, report in reports.items():
            whole.stages += [replace(stage, name=f"{part}: {stage.name}") for stage in report.stages]
            whole.nodes_before += report.nodes_before
            whole.nodes_after += report.nodes_after
            whole.operators += report.operators
        return whole

    def __str__(self) -> str:
        lines = [f"target {self.target}: {self.nodes_before} nodes became {self.nodes_after}"]
        fused = ", ".join(f"{count} x {key}" for key, count in sorted(self.fused.items()))
        lines.append(f"fused: {fused or 'nothing'}")
        if self.written_out:
            written = ", ".join(f"{count} x {key}" for key, count in sorted(self.written_out.items()))
            lines.append(f"fused, then written out for {self.target}: {written}")
        lines += [f"not fused: {miss}" for miss in self.near_misses]
        return "\n".join(lines)
