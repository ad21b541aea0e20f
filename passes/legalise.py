"""Legalisation: what a target lacks is written out by its definition, until the target runs everything that is left."""

from __future__ import annotations

from tfgraph.capabilities import Capabilities
from tfgraph.errors import ShapeError, TargetError, UnknownOperatorError
from tfgraph.ir.build import add_node
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.optable import Operands, all_attributes, find_spec
from tfgraph.passes.report import WRITE_OUT, PassResult
from tfgraph.passes.rewrite import erase_dead
from tfgraph.passes.widen import WIDENED, runs_when_wide, widen


def legalise(graph: Graph, target: Capabilities) -> PassResult:
    """Replace every operator that `target` refuses: by itself over float32 where it lacks bfloat16, else written out.

    Raises:
        TargetError: the target refuses an operator that has no definition, or whose operands have ranks that are not
            known.
    """
    result = PassResult()
    waiting = list(graph)
    while waiting:
        node = waiting.pop()
        reason = refusal(node, target) if node.alive else None
        if reason is None:
            continue
        if runs_when_wide(node, target):
            widen(graph, node)
            result.changes[WIDENED + node.key] += 1
            continue
        spec = find_spec(node.key)
        if spec is None or spec.body is None:
            raise TargetError(
                f"{node.describe()} cannot be lowered for {target.name}: {reason}. Cast to a type that it takes, or "
                "choose another target"
            )
        try:
            waiting += inline_definition(graph, node)
        except ShapeError as error:
            message = f"{node.describe()} cannot be lowered for {target.name}: {reason}, and its definition needs more"
            raise TargetError(f"{message}: {error}") from None
        result.changes[WRITE_OUT + node.key] += 1
    return result


def refusal(node: Node, target: Capabilities) -> str | None:
    """Why `target` cannot run `node`, or None if it can, or if tfgraph only carries the operator."""
    spec = find_spec(node.key)
    if spec is None:
        return None
    return target.refusal(
        node.key,
        since=spec.since,
        composite=spec.body is not None,
        dtypes=tuple(None if value is None else value.dtype for value in node.inputs),
        attributes=all_attributes(spec, node.attributes),
        num_outputs=1 + max((index for index, value in enumerate(node.outputs) if value.num_uses), default=0),
    )


def inline_definition(graph: Graph, node: Node) -> list[Node]:
    """Put the body of a composite operator in place of `node`; return the nodes that it is made of."""
    spec = find_spec(node.key)
    if spec is None or spec.body is None:
        raise UnknownOperatorError(f"{node.describe()} has no definition to write out")
    types = tuple(None if value is None else value.type for value in node.inputs)
    body = spec.body(Operands(spec.key, types, all_attributes(spec, node.attributes), len(node.outputs)))
    given = [value for value in node.inputs if value is not None]
    known: dict[Value, Value] = dict(zip(body.inputs.values(), given, strict=True))
    for constant in body.constants:
        if constant.constant is not None:
            known[constant] = graph.add_constant(constant.constant, _scoped(node, constant.name))
    copies: list[Node] = []
    for inner in body:
        copied = add_node(
            graph,
            inner.key,
            [None if value is None else known[value] for value in inner.inputs],
            inner.attributes,
            num_outputs=len(inner.outputs),
            before=node,
            scope=node.scope,
            source=node.source,
        )
        copies.append(copied)
        known.update(zip(inner.outputs, copied.outputs, strict=True))
    replaced = list(zip(node.outputs, (known[value] for value in body.outputs.values()), strict=False))
    names = [old.name for old, _ in replaced]
    for old, new in replaced:
        graph.replace_all_uses(old, new)
    graph.erase(node)
    for name, (_, new) in zip(names, replaced, strict=True):
        if new.producer in copies:
            graph.rename(new, name)
    for copied in reversed(copies):
        erase_dead(graph, copied)
    return [copied for copied in copies if copied.alive]


def _scoped(node: Node, name: str) -> str:
    return f"{node.scope}.{name}" if node.scope else name
