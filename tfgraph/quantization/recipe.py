"""`Recipe`: all that is done to a prepared graph to quantise it.

How a recipe is come to is in `search.py`; what carries it out, in `rows.py` and `tfgraph.passes.quantise`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfgraph.passes.quantise.plan import SitePlan


@dataclass(frozen=True)
class Recipe:
    """What is done to a graph.

    Attributes:
        plan: the plans of its sites, by name.
        rows: the sites whose activations' rows are scaled before.
    """

    plan: Mapping[str, SitePlan] = field(default_factory=dict)
    rows: frozenset[str] = frozenset()
