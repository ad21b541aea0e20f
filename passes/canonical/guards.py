"""Guards that exporters put in, and that fused kernels do not need."""

from __future__ import annotations

from tfgraph.ir.graph import Node, Value
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

GUARDS = RuleSet()


@GUARDS.rule("Where")
def drop_nan_guard(node: Node, _rewriter: Rewriter) -> Value | None:
    """`Where(IsNaN(p), 0, p)` is p, for a softmax p.

    A softmax is NaN only in a row in which every score is minus infinity, that is, for a query that may attend to
    nothing. Fused attention masks with the lowest finite number, which leaves no such row.
    """
    test, replacement, probabilities = node.required(0).producer, node.required(1), node.required(2)
    if test is None or test.key != "IsNaN" or test.required(0) is not probabilities:
        return None
    source = probabilities.producer
    is_softmax = source is not None and source.key == "Softmax"
    return probabilities if is_softmax and scalar_of(replacement) == 0.0 else None
