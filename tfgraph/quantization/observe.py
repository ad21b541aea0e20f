"""Looking at activations: the graph runs on calibration inputs, and what the sites multiply is summed up.

Kept of each activation are the largest magnitudes of its features, its range, some of its rows, and, where asked for,
the sums of products of its features (the Hessian of a product's squared error). Padded places do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tfgraph.capabilities import Capabilities
from tfgraph.ir.constant import Array
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.graph import Graph
from tfgraph.passes.quantise.sites import Site
from tfgraph.quantization.calibration import Case
from tfgraph.quantization.runner import session_of

_ROWS: Final = 192
"""How many rows of an activation are kept for estimates."""

_HESSIAN_BYTES: Final = 1 << 30
"""Sums of products that are held at a time: more activations than fit are looked at in several runs."""

_TAP: Final = "tap."


@dataclass
class Activation:
    """What was seen of one activation with K features.

    Attributes:
        low, high: the smallest and the largest element of each feature, and 0, float32 [K].
        rows: some rows, float32 [R, K].
        hessian: the sum of x x^T / mean(x^2) over all rows, float64 [K, K]; None if it was not asked for. Each row
            counts alike, since what follows a product is normalised, and a few rows are much larger than all others.
        count: how many rows were seen.
    """

    low: Array
    high: Array
    rows: Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    hessian: Array | None = None
    count: int = 0

    @property
    def largest(self) -> Array:
        """The largest magnitude of each feature, float32 [K]."""
        return np.maximum(-self.low, self.high)


def observe(
    graph: Graph,
    target: Capabilities,
    cases: Sequence[Case],
    sites: Sequence[Site],
    *,
    hessians: bool = False,
    num_threads: int | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> dict[str, Activation]:
    """What was seen of the activations of linear `sites`, by the names of their values.

    `graph` is prepared, and left as it is; it may be another than that of `sites`, with the same values.
    """
    widths = {site.activation.name: site.num_features for site in sites if site.kind == "linear"}
    seen: dict[str, Activation] = {}
    groups = list(_groups(widths, hessians))
    done = 0
    for group in groups:
        tapped = copy_graph(graph)
        values = {value.name: value for value in tapped.values()}
        for name in group:
            tapped.set_output(_TAP + name, values[name])
        found = {name: Activation(*np.zeros((2, widths[name]), np.float32)) for name in group}
        with session_of(tapped, target, {}, num_threads) as session:
            for case in cases:
                results = session.run(case, [_TAP + name for name in group])
                for name in group:
                    _add(found[name], _rows(results.pop(_TAP + name), case), len(cases), hessians)
                done += 1
                if on_case is not None:
                    on_case(done, len(cases) * len(groups))
        seen.update(found)
    return seen


def _groups(widths: Mapping[str, int], hessians: bool) -> Iterator[list[str]]:
    """Activations to look at in one run: as many as there is memory for."""
    group: list[str] = []
    held = 0
    for name, width in widths.items():
        size = width * width * 8 if hessians else width * _ROWS * 4
        if group and held + size > _HESSIAN_BYTES:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    if group:
        yield group


def _rows(array: Array, case: Case) -> Array:
    """The rows [R, K] of an activation [..., K] that stand for real tokens."""
    mask = case.get("attention_mask")
    if mask is not None and array.ndim == 3 and array.shape[:2] == mask.shape:
        return np.asarray(array[mask != 0])
    return array.reshape(-1, array.shape[-1])


def _add(seen: Activation, rows: Array, num_cases: int, hessians: bool) -> None:
    if not len(rows):
        return
    seen.low, seen.high = np.minimum(seen.low, rows.min(axis=0)), np.maximum(seen.high, rows.max(axis=0))
    seen.count += len(rows)
    wanted = -(-_ROWS // num_cases)
    step = max(1, len(rows) // wanted)
    some = rows[::step][:wanted]
    seen.rows = some if not seen.rows.size else np.concatenate([seen.rows, some])
    if hessians:
        size = np.sqrt(np.square(rows).mean(axis=1, keepdims=True))
        alike = rows / np.where(size > 0, size, 1.0)
        product = (alike.T @ alike).astype(np.float64)  # [K, K]
        seen.hessian = product if seen.hessian is None else seen.hessian + product
