"""The rewrite engine: rules that replace one node by a better one, applied until none fires.

A rule is a function `rule(node, rewriter)` registered for operators; it returns the value (or values) that take the
node's place, or None to leave it. It may look at anything above the node and must not mutate the graph except through
the rewriter. Fusions of whole subgraphs are in `match.py` and `fusion.py`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tfgraph.errors import GraphError
from tfgraph.ir.build import add_array, add_node, refresh_types
from tfgraph.ir.constant import ArrayConstant, Constant
from tfgraph.ir.graph import Attribute, Graph, Node, Value

Replacement: TypeAlias = "Value | Sequence[Value] | None"
RuleFunction: TypeAlias = "Callable[[Node, Rewriter], Replacement]"

_STEPS_PER_NODE = 200


@dataclass(frozen=True)
class Rule:
    """A rewrite rule: a name for the report, the operators it looks at, and its function."""

    name: str
    keys: tuple[str, ...]
    function: RuleFunction


class RuleSet:
    """Rules by operator, in the order of registration."""

    def __init__(self, *included: RuleSet) -> None:
        self.rules: dict[str, list[Rule]] = {}
        for rules in included:
            for key, listed in rules.rules.items():
                self.rules.setdefault(key, []).extend(listed)

    def rule(self, *keys: str) -> Callable[[RuleFunction], RuleFunction]:
        """Register the decorated function for the operators `keys`."""

        def decorate(function: RuleFunction) -> RuleFunction:
            registered = Rule(function.__name__, keys, function)
            for key in keys:
                self.rules.setdefault(key, []).append(registered)
            return function

        return decorate

    def apply(self, graph: Graph, nodes: Iterable[Node] | None = None) -> Counter[str]:
        """Apply the rules to `nodes` (default: all) and whatever comes of them, until none fires; count per rule.

        Raises:
            GraphError: the rules go in circles.
        """
        return _Run(graph, self.rules).run(graph if nodes is None else nodes)


class Rewriter:
    """What a rule may do: add nodes and constants in front of the node that it looks at."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.added: list[Node] = []
        self._anchor: Node | None = None

    def at(self, node: Node) -> None:
        """Add from now on before `node`, with its scope and source."""
        self._anchor = node
        self.added = []

    def emit(
        self, key: str, inputs: Sequence[Value | None], attributes: Mapping[str, Attribute] | None = None
    ) -> Value:
        """Add a node and return its first result."""
        return self.emit_all(key, inputs, attributes, 1)[0]

    def emit_all(
        self,
        key: str,
        inputs: Sequence[Value | None],
        attributes: Mapping[str, Attribute] | None,
        num_outputs: int,
    ) -> tuple[Value, ...]:
        """Add a node and return its results."""
        anchor = self._anchor
        node = add_node(
            self.graph,
            key,
            inputs,
            attributes,
            num_outputs=num_outputs,
            before=anchor,
            scope=anchor.scope if anchor else "",
            source=anchor.source if anchor else None,
        )
        self.added.append(node)
        return node.outputs

    def ints(self, numbers: Sequence[int]) -> Value:
        """An int64 constant of rank 1."""
        return add_array(self.graph, np.asarray(numbers, np.int64), self._name("ints"))

    def scalar(self, number: float, like: Value) -> Value:
        """A constant of rank 0 with the dtype of `like`."""
        return self.graph.add_constant(ArrayConstant(np.asarray(number, like.dtype.numpy())), self._name("scalar"))

    def constant(self, constant: Constant, name: str = "constant") -> Value:
        """A constant from a handle, named within the scope of the node."""
        return self.graph.add_constant(constant, self._name(name))

    def _name(self, kind: str) -> str:
        scope = self._anchor.scope if self._anchor else ""
        return f"{scope}.{kind}" if scope else kind


class _Run:
    """One application of a rule set: the list of nodes still to look at."""

    def __init__(self, graph: Graph, rules: Mapping[str, Sequence[Rule]]) -> None:
        self.graph = graph
        self.rules = rules
        self.counts: Counter[str] = Counter()
        self.waiting: deque[Node] = deque()
        self.queued: set[Node] = set()
        self.rewriter = Rewriter(graph)
        self.stale = False  # a value was replaced by one whose size is spelt otherwise

    def run(self, nodes: Iterable[Node]) -> Counter[str]:
        for node in nodes:
            self.enqueue(node)
        budget = _STEPS_PER_NODE * (len(self.graph) + 1)
        while self.waiting:
            budget -= 1
            if budget < 0:
                busy = ", ".join(name for name, _ in self.counts.most_common(3))
                raise GraphError(f"rewrite rules go in circles on graph '{self.graph.name}': {busy}")
            node = self.waiting.popleft()
            self.queued.discard(node)
            if node.alive:
                self.visit(node)
        if self.stale:
            refresh_types(self.graph)
        return self.counts

    def enqueue(self, node: Node) -> None:
        if node.key in self.rules and node not in self.queued:
            self.queued.add(node)
            self.waiting.append(node)

    def visit(self, node: Node) -> None:
        for rule in self.rules.get(node.key, ()):
            self.rewriter.at(node)
            replacement = rule.function(node, self.rewriter)
            replacements = (replacement,) if isinstance(replacement, Value) else tuple(replacement or ())
            if not replacements or not all(map(_can_replace, node.outputs, replacements)):
                self.take_back()
                continue
            self.counts[rule.name] += 1
            self.replace(node, replacements)
            return

    def take_back(self) -> None:
        """Erase what a rule added before it left the node as it is."""
        for added in reversed(self.rewriter.added):
            erase_dead(self.graph, added)

    def replace(self, node: Node, replacements: Sequence[Value]) -> None:
        fresh = {value for added in self.rewriter.added for value in added.outputs}
        for old, new in zip(node.outputs, replacements, strict=True):
            for user in old.users:
                self.enqueue(user)
            for user in new.users:
                self.enqueue(user)
            if new.producer is not None:
                self.enqueue(new.producer)
            self.stale = self.stale or old.type != new.type
            self.graph.replace_all_uses(old, new)
        for added in self.rewriter.added:
            self.enqueue(added)
        names = [value.name for value in node.outputs]
        for producer in erase_dead(self.graph, node):
            self.enqueue(producer)
        for name, new in zip(names, replacements, strict=True):
            if new in fresh and new.producer is not None and new.producer.alive:
                self.graph.rename(new, name)


def _can_replace(old: Value, new: Value) -> bool:
    """Whether `new` has the type of `old`, as far as is known: a constant of many axes may have given it more axes."""
    expected, found = old.type.known_shape, new.type.known_shape
    if old.dtype is not new.dtype:
        return False
    if expected is None or found is None:
        return True
    sizes = zip(expected, found, strict=False)
    return len(expected) == len(found) and all(
        size == other or not (isinstance(size, int) and isinstance(other, int)) for size, other in sizes
    )


def erase_dead(graph: Graph, node: Node) -> list[Node]:
    """Erase `node` if nothing reads it, then whatever only it read; return the surviving producers it had read."""
    survivors: list[Node] = []
    doomed = [node]
    while doomed:
        candidate = doomed.pop()
        if not candidate.alive:
            continue
        if any(value.num_uses for value in candidate.outputs):
            survivors.append(candidate)
            continue
        operands = [value for value in candidate.inputs if value is not None]
        graph.erase(candidate)
        for value in dict.fromkeys(operands):
            if value.producer is not None:
                doomed.append(value.producer)
            elif value.constant is not None and not value.num_uses and value in graph.constants:
                graph.erase(value)
    return survivors


def scalar_of(value: Value | None) -> float | None:
    """The number that a constant of one element holds, whatever its rank; None for everything else."""
    if value is None or value.constant is None or value.constant.size != 1 or not value.constant.has_data:
        return None
    array = value.constant.numpy().reshape(())
    if array.dtype == np.float32:
        return float(str(array))  # the shortest decimal that is this float32: 1e-05, not 9.999999747378752e-06
    element: Any = array.item()
    return float(element) if isinstance(element, int | float) and not isinstance(element, bool) else None


def is_filled_with(value: Value | None, number: float) -> bool:
    """Whether a small constant holds nothing but `number`."""
    if value is None or value.constant is None or not value.constant.has_data or not 0 < value.constant.size <= 4096:
        return False
    return bool(np.all(value.constant.numpy() == number))
