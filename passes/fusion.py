"""Fusions: composite operators found by matching their definitions, and put in place of what they cover."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfgraph.capabilities import Capabilities
from tfgraph.ir.build import add_node
from tfgraph.ir.dims import Expr, substitute
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.optable import get_spec
from tfgraph.passes.equal_sizes import equal_sizes
from tfgraph.passes.match import Bindings, Failure, Matcher
from tfgraph.passes.pattern import ANY, Pattern, Variant, make_pattern
from tfgraph.passes.report import NearMiss, PassResult
from tfgraph.passes.rewrite import RuleSet, erase_dead, scalar_of


@dataclass(frozen=True)
class Fusion:
    """A composite operator to look for.

    Attributes:
        key: the operator.
        definition: its definition.
        variants: the ways in which it is called, the most specific first.
        witness: a primitive that gives the operator away; where one is left over after all variants were tried, the
            closest attempt is reported as a near miss. Empty: nothing is reported.
        attributes: attributes of the fused node beyond those of the variant.
        extra_check: a condition on a match, which returns what is wrong, or None.
    """

    key: str
    definition: Callable[..., Any]
    variants: Sequence[Variant]
    witness: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    extra_check: Callable[[Pattern, Bindings], str | None] | None = None


class FusionPass:
    """Applies fusions in order, each variant to the whole graph before the next."""

    requires = frozenset({"canonical"})
    ensures: frozenset[str] = frozenset()

    def __init__(self, name: str, fusions: Sequence[Fusion], canonical: RuleSet, *, if_supported: bool = False) -> None:
        self.name = name
        self._fusions = fusions
        self._canonical = canonical
        self._if_supported = if_supported
        self._matchers: dict[int, list[Matcher]] = {}

    def run(self, graph: Graph, target: Capabilities) -> PassResult:
        """Fuse what is found. With `if_supported`, only operators that the target names."""
        result = PassResult()
        for index, fusion in enumerate(self._fusions):
            if self._if_supported and fusion.key not in target.operators:
                continue
            if index not in self._matchers:
                self._matchers[index] = [
                    Matcher(make_pattern(fusion.key, fusion.definition, variant, self._canonical))
                    for variant in fusion.variants
                ]
            self._apply(graph, fusion, self._matchers[index], result)
        graph.sort()
        return result

    def _apply(self, graph: Graph, fusion: Fusion, matchers: Sequence[Matcher], result: PassResult) -> None:
        equal = equal_sizes(graph)
        by_key: dict[str, list[Node]] = {}
        for node in graph:
            by_key.setdefault(node.key, []).append(node)
        closest: dict[Node, tuple[Failure, Matcher]] = {}
        for matcher in matchers:
            for root in by_key.get(matcher.pattern.root.key, ()):
                if not root.alive:
                    continue
                bindings = matcher.match(root, equal)
                reason = (
                    None
                    if bindings is None or not fusion.extra_check
                    else fusion.extra_check(matcher.pattern, bindings)
                )
                if bindings is not None and reason is None:
                    replace_match(graph, fusion, matcher.pattern, bindings, root)
                    result.changes[fusion.key] += 1
                    continue
                failure = matcher.failure
                if bindings is not None and reason is not None:
                    failure = Failure(len(bindings.nodes), reason, tuple(bindings.nodes.values()))
                if failure is not None and fusion.witness:
                    for node in failure.touched:
                        if node.key == fusion.witness:
                            known = closest.get(node)
                            if known is None or failure.matched > known[0].matched:
                                closest[node] = (failure, matcher)
        for node in by_key.get(fusion.witness, ()):
            if node.alive:
                result.near_misses.append(_near_miss(fusion, node, closest.get(node)))


def _near_miss(fusion: Fusion, node: Node, attempt: tuple[Failure, Matcher] | None) -> NearMiss:
    if attempt is None:
        return NearMiss(fusion.key, node.describe(), "nothing around it has the definition's form", 0, 0)
    failure, matcher = attempt
    return NearMiss(fusion.key, node.describe(), failure.reason, failure.matched, matcher.pattern.size)


def replace_match(graph: Graph, fusion: Fusion, pattern: Pattern, bindings: Bindings, root: Node) -> Node:
    """Put the fused operator in place of what a match covers."""
    spec = get_spec(fusion.key)
    inputs: list[Value | None] = [
        bindings.values.get(pattern.inputs[formal.name]) if formal.name in pattern.inputs else None
        for formal in spec.inputs
    ]
    results = pattern.variant.results
    old = [bindings.values[value] for value in pattern.outputs]
    node = add_node(
        graph,
        fusion.key,
        inputs,
        _attributes(fusion, pattern, bindings),
        num_outputs=max(results) + 1,
        before=root,
        scope=_common_scope([covered.scope for covered in bindings.nodes.values()]),
        source=root.source,
    )
    names = [value.name for value in old]
    for index, value in zip(results, old, strict=True):
        graph.replace_all_uses(value, node.outputs[index])
    for value in old:
        if value.producer is not None and value.producer.alive:
            erase_dead(graph, value.producer)
    for index, name in zip(results, names, strict=True):
        graph.rename(node.outputs[index], name)
    return node


def _attributes(fusion: Fusion, pattern: Pattern, bindings: Bindings) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for name, given in pattern.variant.attributes.items():
        if given is ANY:
            number = bindings.values.get(pattern.numbers[name])
            attributes[name] = bindings.attributes.get(name) if number is None else scalar_of(number)
        elif isinstance(given, Expr):
            attributes[name] = substitute(given, bindings.sizes)
        else:
            attributes[name] = given
    return {**attributes, **fusion.attributes}


def _common_scope(scopes: Sequence[str]) -> str:
    """The longest module path that all nodes share."""
    parts = [scope.split(".") for scope in scopes]
    common: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return ".".join(common)
