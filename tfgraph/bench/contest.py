"""Who wins: the best of tfgraph's candidates against the best of the others, among those that keep a condition.

A condition is a type of weights, or how near the results must be to those in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfgraph.bench.interleave import Sample
from tfgraph.bench.peers.table import Candidate
from tfgraph.bench.timings import Ratio, ratio_to_best


@dataclass(frozen=True)
class Contest:
    """The times of the best of ours relative to those of the best peer, both among those that keep a condition.

    Attributes:
        condition: what both had to keep.
        ours: the title of the best of tfgraph's candidates.
        ratio: of the times: below 1 where tfgraph is faster.
    """

    condition: str
    ours: str
    ratio: Ratio

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {"condition": self.condition, "ours": self.ours, **self.ratio.as_dict()}


def contests(
    candidates: Mapping[str, Candidate],
    samples: Mapping[str, Sequence[Sample]],
    conditions: Mapping[str, Callable[[Candidate], bool]],
) -> list[Contest]:
    """One contest for each condition that one of tfgraph's candidates and one peer keep.

    Args:
        candidates: by title.
        samples: of each candidate that was timed, by title, all taken in the same rounds.
        conditions: what has to hold, by what it is called.
    """
    found = []
    for name, holds in conditions.items():
        keeping = [title for title in samples if holds(candidates[title])]
        ours = [title for title in keeping if candidates[title].is_ours]
        peers = {title: samples[title] for title in keeping if not candidates[title].is_ours}
        if ours and peers:
            best = min(ours, key=lambda title: median(samples[title]))
            found.append(Contest(name, best, ratio_to_best(samples[best], peers)))
    return found


def of_width(width: str) -> Callable[[Candidate], bool]:
    """The condition that weights are of a type."""
    return lambda candidate: candidate.width == width


def at_least(values: Mapping[str, float | None], limit: float) -> Callable[[Candidate], bool]:
    """The condition that a figure, by title, was measured and is at least `limit`."""

    def holds(candidate: Candidate) -> bool:
        value = values.get(candidate.title)
        return value is not None and value >= limit

    return holds


def median(samples: Sequence[Sample]) -> float:
    """The median of the seconds."""
    return float(np.median([sample.seconds for sample in samples]))
