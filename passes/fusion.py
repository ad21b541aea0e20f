"""Fusions: composite operators found by matching their definitions, and put in place of what they cover."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfgraph.capabilities import Capabilities
from tfgraph.ir.build import add_node, refresh_types
from tfgraph.ir.dims import Dim, Expr, substitute
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.optable import get_spec
from tfgraph.passes.bindings import Bindings
from tfgraph.passes.equal_sizes import equal_sizes
from tfgraph.passes.match import Failure, Matcher
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
        extra_check: a condition on a match, which returns what is wrong, or None.
    """

    key: str
    definition: Callable[..., Any]
    variants: Sequence[Variant]
    witness: str = ""
    extra_check: Callable[[Pattern, Bindings], str | None] | None = None


def _always(_target: Capabilities, _key: str) -> bool:
    return True


class FusionPass:
    """Applies fusions in order, each variant to the whole graph before the next.

    `wanted(target, key)` says whether the operator `key` is worth making for a target.
    """

    requires = frozenset({"canonical"})
    ensures: frozenset[str] = frozenset()

    def __init__(
        self,
        name: str,
        fusions: Sequence[Fusion],
        canonical: RuleSet,
        wanted: Callable[[Capabilities, str], bool] = _always,
    ) -> None:
        self.name = name
        self._fusions = fusions
        self._canonical = canonical
        self._wanted = wanted
        self._patterns: dict[int, list[Pattern]] = {}

    def run(self, graph: Graph, target: Capabilities) -> PassResult:
        """Fuse what is found."""
        result = PassResult()
        closest: dict[Node, Attempt] = {}
        equal = equal_sizes(graph)
        wanted = [(index, fusion) for index, fusion in enumerate(self._fusions) if self._wanted(target, fusion.key)]
        for index, fusion in wanted:
            matchers = [Matcher(pattern) for pattern in self._patterns_of(index)]
            count = self._apply(graph, fusion, matchers, equal, closest)
            if count:
                result.changes[fusion.key] += count
        graph.sort()
        if result.changed:
            refresh_types(graph)
        result.near_misses = _near_misses(graph, [fusion for _, fusion in wanted], closest)
        return result

    def _patterns_of(self, index: int) -> Sequence[Pattern]:
        """The patterns of one fusion, made when they are first needed, and kept."""
        if index not in self._patterns:
            fusion = self._fusions[index]
            self._patterns[index] = [
                make_pattern(fusion.key, fusion.definition, variant, self._canonical) for variant in fusion.variants
            ]
        return self._patterns[index]

    def _apply(
        self,
        graph: Graph,
        fusion: Fusion,
        matchers: Sequence[Matcher],
        equal: Mapping[str, Dim],
        closest: dict[Node, Attempt],
    ) -> int:
        """Try each variant at each place; return how many were fused, and note in `closest` what nearly was."""
        places: dict[str, list[Node]] = {}
        order: dict[Node, int] = {}
        for node in graph:
            places.setdefault(node.key, []).append(node)
            order[node] = len(order)
        fused = 0
        for matcher in matchers:
            for root in places.get(matcher.pattern.root.key, ()):
                if not root.alive or not matcher.may_match(root, fusion.witness):
                    continue
                bindings = matcher.match(root, equal)
                failure = matcher.failure
                if bindings is not None:
                    problem = fusion.extra_check(matcher.pattern, bindings) if fusion.extra_check else None
                    problem = problem or _cycle(matcher.pattern, bindings, order)
                    if problem is None:
                        replace_match(graph, fusion, matcher.pattern, bindings, root)
                        fused += 1
                        continue
                    failure = Failure(len(bindings.nodes), problem, tuple(bindings.nodes.values()))
                if failure is not None and fusion.witness:
                    _note(closest, Attempt(fusion.key, matcher.pattern.size, failure), fusion.witness)
        return fused


@dataclass(frozen=True)
class Attempt:
    """A match that failed: what it was for, the size of its pattern, and how far it got."""

    key: str
    size: int
    failure: Failure


def _note(closest: dict[Node, Attempt], attempt: Attempt, witness: str) -> None:
    """Keep `attempt` for each witness that it touched, if no attempt before came closer to the whole pattern."""
    for node in attempt.failure.touched:
        if node.key == witness:
            known = closest.get(node)
            if known is None or _missing(attempt) < _missing(known):
                closest[node] = attempt


def _missing(attempt: Attempt) -> int:
    return attempt.size - attempt.failure.matched


def _near_misses(graph: Graph, fusions: Sequence[Fusion], closest: Mapping[Node, Attempt]) -> list[NearMiss]:
    """One for each witness that is left in the graph."""
    operators: dict[str, str] = {}
    for fusion in fusions:
        if fusion.witness:
            operators.setdefault(fusion.witness, fusion.key)
    missed = []
    for node in graph:
        if node.key not in operators:
            continue
        attempt = closest.get(node)
        if attempt is None:
            reason = "nothing around it has the form of the definition"
            missed.append(NearMiss(operators[node.key], node.describe(), reason, 0, 0))
        else:
            missed.append(
                NearMiss(attempt.key, node.describe(), str(attempt.failure), attempt.failure.matched, attempt.size)
            )
    return missed


def _cycle(pattern: Pattern, bindings: Bindings, order: Mapping[Node, int]) -> str | None:
    """Why fusing would make a cycle, which it does where an operand is computed from one of several results."""
    if len(pattern.outputs) == 1:
        return None
    results = {bindings.values[value].producer for value in pattern.outputs}
    first = min(order.get(node, 0) for node in results if node is not None)
    waiting = [bindings.values[value] for value in pattern.inputs.values() if value in bindings.values]
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop().producer
        if node in results and node is not None:
            return f"an operand is computed from its result %{node.output.name}"
        if node is not None and node not in seen and order.get(node, first) >= first:  # what comes before cannot be
            seen.add(node)
            waiting += [value for value in node.inputs if value is not None]
    return None


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
        _attributes(pattern, bindings),
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


def _attributes(pattern: Pattern, bindings: Bindings) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for name, given in pattern.variant.attributes.items():
        if given is ANY:
            number = bindings.values.get(pattern.numbers[name])
            attributes[name] = bindings.attributes.get(name) if number is None else scalar_of(number)
        elif isinstance(given, Expr):
            attributes[name] = substitute(given, bindings.sizes)
        else:
            attributes[name] = given
    return attributes


def _common_scope(scopes: Sequence[str]) -> str:
    """The longest module path that all nodes share."""
    parts = [scope.split(".") for scope in scopes]
    common: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return ".".join(common)
