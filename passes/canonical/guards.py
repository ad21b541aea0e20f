"""Guards that exporters put in, and that fused kernels do not need."""

from __future__ import annotations

from tfgraph.dsl.functions.attention import LOWEST
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

GUARDS = RuleSet()

_MOST_STEPS = 8


@GUARDS.rule("Where")
def drop_nan_guard(node: Node, rewriter: Rewriter) -> Value | None:
    """`Where(IsNaN(p), 0, p)` is p, for a softmax p of scores that are never minus infinity.

    A softmax is NaN only in a row in which every score is minus infinity, that is, for a query that may attend to
    nothing. So a mask that may hold minus infinity is raised to the lowest finite number, as in fused attention. For
    every query that may attend to something this is exact; one that may not gets equal weights in place of zeros.
    """
    test, replacement, probabilities = node.required(0).producer, node.required(1), node.required(2)
    if test is None or test.key != "IsNaN" or test.required(0) is not probabilities or scalar_of(replacement) != 0.0:
        return None
    softmax = probabilities.producer
    if softmax is None or softmax.key != "Softmax":
        return None
    scores = softmax.required(0)
    finite = _finite_scores(scores, rewriter)
    if finite is None or finite is scores:
        return None if finite is None else probabilities
    return rewriter.emit("Softmax", [finite], softmax.attributes)


@GUARDS.rule("Softmax")
def drop_floor(node: Node, rewriter: Rewriter) -> Value | None:
    """`softmax(max(scores + mask, lowest))` needs no floor, for a mask that is never minus infinity.

    As above: exact for every query that may attend to something.
    """
    floored = node.required(0).producer
    lowest = (
        None if floored is None or floored.key != "Max" or len(floored.inputs) != 2 else scalar_of(floored.input(1))
    )
    if floored is None or lowest is None or floored.output.num_uses != 1 or floored.output.dtype not in LOWEST:
        return None
    scores = floored.required(0)
    if lowest > LOWEST[scores.dtype] * (1 - 1e-6) or scores.type.known_shape != floored.output.type.known_shape:
        return None
    finite = _finite_scores(scores, rewriter)
    return None if finite is None else rewriter.emit("Softmax", [finite], node.attributes)


def _finite_scores(scores: Value, rewriter: Rewriter, steps: int = _MOST_STEPS) -> Value | None:
    """`scores` with their mask raised, or None where it is not seen what they are."""
    if _is_product(scores):
        return scores
    node = scores.producer
    if node is None or scores.dtype not in LOWEST or steps == 0:
        return None
    if node.key == "Add":
        for product, mask in ((node.required(0), node.required(1)), (node.required(1), node.required(0))):
            if _is_product(product):
                raised = _raised(mask, rewriter)
                return scores if raised is mask else rewriter.emit("Add", [product, raised])
    if node.key == "Where":
        keep, inner, masked = node.required(0), node.required(1), node.required(2)
        finite, raised = _finite_scores(inner, rewriter, steps - 1), _raised(masked, rewriter)
        if finite is not None:
            same = finite is inner and raised is masked
            return scores if same else rewriter.emit("Where", [keep, finite, raised])
    return None


def _is_product(value: Value) -> bool:
    """Whether `value` is a matrix product, perhaps scaled, cast or capped: finite for finite, not huge operands."""
    node = value.producer
    while node is not None and (
        node.key == "Cast" or (node.key in ("Mul", "Div") and scalar_of(node.input(1)) is not None)
    ):
        node = node.required(0).producer
    return node is not None and node.key in ("MatMul", "Tanh")


def _raised(mask: Value, rewriter: Rewriter) -> Value:
    """`mask` without minus infinity; the same value where it never holds it."""
    lowest = LOWEST[mask.dtype]
    number = scalar_of(mask)
    if number is not None:
        return mask if number >= lowest else rewriter.scalar(lowest, mask)
    node = mask.producer
    if node is not None and node.key == "Where" and all(scalar_of(node.input(index)) is not None for index in (1, 2)):
        chosen, other = (_raised(node.required(index), rewriter) for index in (1, 2))
        if chosen is node.required(1) and other is node.required(2):
            return mask
        return rewriter.emit("Where", [node.required(0), chosen, other])
    return rewriter.emit("Max", [mask, rewriter.scalar(lowest, mask)])
