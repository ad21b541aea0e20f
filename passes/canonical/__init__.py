"""Canonical forms: of the many ways to spell the same computation, the one that patterns are matched in.

Each module holds the rules of one theme. All rules keep what the graph computes, up to rounding. `CANONICAL` is all of
them; patterns go through the same rules (`tfgraph.passes.pattern`).
"""

from tfgraph.passes.canonical.arithmetic import ARITHMETIC
from tfgraph.passes.canonical.attention_precision import ATTENTION_PRECISION
from tfgraph.passes.canonical.broadcast_views import BROADCAST_VIEWS
from tfgraph.passes.canonical.channel_norms import CHANNEL_NORMS
from tfgraph.passes.canonical.choices import CHOICES
from tfgraph.passes.canonical.curves import CURVES
from tfgraph.passes.canonical.einsum import EINSUM
from tfgraph.passes.canonical.gathers import GATHERS
from tfgraph.passes.canonical.guards import GUARDS
from tfgraph.passes.canonical.head_axis import HEAD_AXIS
from tfgraph.passes.canonical.heads import HEADS
from tfgraph.passes.canonical.linear import LINEAR
from tfgraph.passes.canonical.masks import MASKS
from tfgraph.passes.canonical.moments import MOMENTS
from tfgraph.passes.canonical.norm_precision import NORM_PRECISION
from tfgraph.passes.canonical.norms import NORMS
from tfgraph.passes.canonical.query_groups import QUERY_GROUPS
from tfgraph.passes.canonical.rotary import ROTARY
from tfgraph.passes.canonical.rotary_pairs import ROTARY_PAIRS
from tfgraph.passes.canonical.rotary_parts import ROTARY_PARTS
from tfgraph.passes.canonical.scales import SCALES
from tfgraph.passes.canonical.sizes import SIZES
from tfgraph.passes.canonical.slices import SLICES
from tfgraph.passes.canonical.softmax import SOFTMAX
from tfgraph.passes.canonical.transposed_scores import TRANSPOSED_SCORES
from tfgraph.passes.canonical.trivial import TRIVIAL
from tfgraph.passes.canonical.views import VIEWS
from tfgraph.passes.canonical.windows import WINDOWS
from tfgraph.passes.rewrite import RuleSet

CANONICAL = RuleSet(
    TRIVIAL,
    ARITHMETIC,
    SCALES,
    VIEWS,
    BROADCAST_VIEWS,
    SLICES,
    TRANSPOSED_SCORES,
    GATHERS,
    LINEAR,
    GUARDS,
    ROTARY,
    EINSUM,
    MASKS,
    SIZES,
    HEADS,
    ROTARY_PAIRS,
    ROTARY_PARTS,
    CHOICES,
    MOMENTS,
    CHANNEL_NORMS,
    CURVES,
    NORMS,
    NORM_PRECISION,
    ATTENTION_PRECISION,
    SOFTMAX,
    WINDOWS,
)

LATE = RuleSet(HEAD_AXIS, QUERY_GROUPS)
"""Rules for what the others have left as it is: applied once nothing of `CANONICAL` fires any more."""

__all__ = ["CANONICAL", "LATE"]
