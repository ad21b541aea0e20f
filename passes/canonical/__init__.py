"""Canonical forms: of the many ways to spell the same computation, the one that patterns are matched in.

Each module holds the rules of one theme. All rules keep what the graph computes, up to rounding. `CANONICAL` is all of
them; patterns go through the same rules (`tfgraph.passes.pattern`).
"""

from tfgraph.passes.canonical.arithmetic import ARITHMETIC
from tfgraph.passes.canonical.choices import CHOICES
from tfgraph.passes.canonical.einsum import EINSUM
from tfgraph.passes.canonical.guards import GUARDS
from tfgraph.passes.canonical.head_axis import HEAD_AXIS
from tfgraph.passes.canonical.heads import HEADS
from tfgraph.passes.canonical.linear import LINEAR
from tfgraph.passes.canonical.masks import MASKS
from tfgraph.passes.canonical.norms import NORMS
from tfgraph.passes.canonical.query_groups import QUERY_GROUPS
from tfgraph.passes.canonical.rotary import ROTARY
from tfgraph.passes.canonical.rotary_pairs import ROTARY_PAIRS
from tfgraph.passes.canonical.scales import SCALES
from tfgraph.passes.canonical.sizes import SIZES
from tfgraph.passes.canonical.softmax import SOFTMAX
from tfgraph.passes.canonical.trivial import TRIVIAL
from tfgraph.passes.canonical.views import VIEWS
from tfgraph.passes.canonical.windows import WINDOWS
from tfgraph.passes.rewrite import RuleSet

CANONICAL = RuleSet(
    TRIVIAL,
    ARITHMETIC,
    SCALES,
    VIEWS,
    LINEAR,
    GUARDS,
    ROTARY,
    EINSUM,
    MASKS,
    SIZES,
    HEADS,
    ROTARY_PAIRS,
    CHOICES,
    NORMS,
    SOFTMAX,
    WINDOWS,
)

LATE = RuleSet(HEAD_AXIS, QUERY_GROUPS)
"""Rules for what the others have left as it is: applied once nothing of `CANONICAL` fires any more."""

__all__ = ["CANONICAL", "LATE"]
