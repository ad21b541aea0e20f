"""Matching: does this place in a graph compute what this pattern computes?

Matching starts at the pattern's first result and walks both graphs upwards together. Values are bound to values,
symbols to sizes, placeholders to numbers. Operands of commutative operators are tried in both orders. What does not
influence the result is not looked at: the operand of a `Reshape` or `Expand` says nothing that the result's type does
not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tfgraph.dsl.functions.attention import LOWEST
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, Expr, substitute
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.bindings import Bindings, settle, symbol_name, unify_attributes, unify_dim
from tfgraph.passes.operand_orders import TYPE_SAYS_ALL, OperandOrders, Way, same_operands, same_operator
from tfgraph.passes.pattern import LEADING, Pattern
from tfgraph.passes.rewrite import scalar_of

_MOST_TRIES = 1000  # of orders of operands at one place, before only the last of each node is tried
_RELATIVE_TOLERANCES = {DType.FLOAT16: 2**-10, DType.BFLOAT16: 2**-7}  # of constants; 1e-4 in wider types


@dataclass(frozen=True)
class Failure:
    """The furthest that a match got, and why it stopped."""

    matched: int
    reason: str | Callable[[], str]
    touched: tuple[Node, ...]

    def __str__(self) -> str:
        return self.reason if isinstance(self.reason, str) else self.reason()


class Matcher:
    """Looks for one pattern; remembers the attempt that got furthest at each call."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self._free = set(pattern.inputs.values())
        self._numbers = set(pattern.numbers.values())
        self._any_shape = {pattern.inputs[name] for name in pattern.variant.broadcast}
        floats = {
            value.dtype for value in pattern.graph.values() if value.dtype.is_float and value not in self._numbers
        }
        self._mixed = len(floats) > 1  # then float32 is float32, and the other is what the graph has
        self.failure: Failure | None = None
        self._orders = OperandOrders(pattern)
        self._tries = 0

    def may_match(self, root: Node, witness: str = "") -> bool:
        """Whether `match` is worth calling; see `OperandOrders.may_start_at`."""
        return self._orders.may_start_at(root, witness)

    def match(self, root: Node, equal: Mapping[str, Dim] | None = None) -> Bindings | None:
        """Bind the pattern with its first result at that of `root`; None, and `failure`, if it is not there.

        `equal` says what symbols of the graph stand for (`equal_sizes`).
        """
        self.failure = None
        self._orders.start()
        self._tries = 0
        bindings = self._solve([(self.pattern.outputs[0], root.output)], Bindings(equal=equal or {}))
        if bindings is None:
            return None
        for result in self.pattern.outputs[1:]:
            if result not in bindings.values and not self._bind_sibling(result, bindings):
                self._fail(bindings, "one of the results has no counterpart")
                return None
        return self._check_inside(bindings)

    def _bind_sibling(self, result: Value, bindings: Bindings) -> bool:
        """Bind a result that no operand led to, if another result of its node is bound."""
        expected = result.producer
        found = None if expected is None else bindings.nodes.get(expected)
        if expected is None or found is None or len(found.outputs) < len(expected.outputs):
            return False
        value = found.outputs[expected.outputs.index(result)]
        bindings.values[result] = value
        return self._unify_types(result, value, bindings)

    # -- walking -------------------------------------------------------------------------------------------------------

    def _solve(self, agenda: list[tuple[Value, Value]], bindings: Bindings) -> Bindings | None:
        while agenda:
            pattern_value, value = agenda.pop()
            bound = bindings.values.get(pattern_value)
            if bound is not None:
                if bound is not value:
                    self._fail(bindings, f"%{value.name} should be the same value as %{bound.name}")
                    return None
                continue
            if not self._unify_types(pattern_value, value, bindings):
                return None
            bindings.values[pattern_value] = value
            if pattern_value in self._free:
                continue
            if pattern_value in self._numbers:
                if scalar_of(value) is None:
                    self._fail(bindings, f"%{value.name} should be a constant of one element")
                    return None
                continue
            if pattern_value.content is not None:
                if not self._unify_content(pattern_value, value, bindings):
                    return None
                continue
            if pattern_value.constant is not None:
                if not _same_constant(pattern_value, value):
                    self._fail(bindings, f"%{value.name} should be the constant {_show(pattern_value)}")
                    return None
                continue
            ways = self._operand_ways(pattern_value, value, bindings)
            if ways is None:
                return None
            # What is free comes last: so a failure says how far the structure fitted.
            ways = [sorted(way, key=lambda pair: pair[0] not in self._free) for way in ways]
            for way in ways[:-1]:
                self._tries += 1
                if self._tries > _MOST_TRIES:
                    break
                found = self._solve([*agenda, *way], bindings.copy())
                if found is not None:
                    return found
            agenda.extend(ways[-1])
        settle(bindings)
        for pattern_dim, dim in bindings.postponed:
            if substitute(pattern_dim, bindings.sizes) != dim:
                self._fail(bindings, f"a size is {dim} where {pattern_dim} is expected")
                return None
        return bindings

    def _operand_ways(self, pattern_value: Value, value: Value, bindings: Bindings) -> list[Way] | None:
        """The pairs to match next; two lists where operands may be exchanged."""
        expected, found = pattern_value.producer, value.producer
        if expected is None:
            self._fail(bindings, f"%{value.name} has no counterpart in the definition")
            return None
        if found is None:
            kind = "a constant" if value.constant is not None else "an input of the graph"
            self._fail(bindings, lambda: f"%{value.name} is {kind}, and {expected.key} is expected")
            return None
        if not same_operator(expected, found):
            self._fail(bindings, lambda: f"{found.describe()} where {expected.key} is expected", found)
            return None
        if expected in bindings.nodes:
            if bindings.nodes[expected] is not found:
                self._fail(bindings, f"{found.describe()} should be {bindings.nodes[expected].describe()}")
                return None
            return [[]]
        if expected.outputs.index(pattern_value) != found.outputs.index(value):
            self._fail(bindings, lambda: f"%{value.name} is another result of {found.key} than expected", found)
            return None
        if expected.key in TYPE_SAYS_ALL:
            bindings.nodes[expected] = found
            return self._orders.ways(expected, found)
        if not unify_attributes(expected, found, bindings):
            self._fail(
                bindings, f"{found.describe()} has {_settings(found)} where {_settings(expected)} is expected", found
            )
            return None
        bindings.nodes[expected] = found
        if not same_operands(expected, found):
            self._fail(bindings, lambda: _operand_mismatch(expected, found), found)
            return None
        return self._orders.promising(self._orders.ways(expected, found))

    # -- types ---------------------------------------------------------------------------------------------------------

    def _unify_types(self, pattern_value: Value, value: Value, bindings: Bindings) -> bool:
        if pattern_value in self._numbers:
            return True
        expected, found = pattern_value.type, value.type
        if expected.dtype.is_float:
            fixed = self._mixed and expected.dtype is DType.FLOAT32
            if bindings.float_dtype is None and found.dtype.is_float and not fixed:
                bindings.float_dtype = found.dtype
            wanted = expected.dtype if fixed else bindings.float_dtype
            if found.dtype is not wanted:
                self._fail(bindings, lambda: f"%{value.name} is {found.dtype}, and {wanted or 'float'} is expected")
                return False
        elif expected.dtype is not found.dtype:
            self._fail(bindings, lambda: f"%{value.name} is {found.dtype}, and {expected.dtype} is expected")
            return False
        if pattern_value.constant is not None or pattern_value in self._any_shape:
            return True
        if found.known_shape is None:
            self._fail(bindings, f"the rank of %{value.name} is not known")
            return False
        if not self._unify_shapes(expected.shape, found.known_shape, bindings):
            self._fail(bindings, lambda: _shape_mismatch(value, pattern_value))
            return False
        return True

    def _unify_shapes(self, expected: tuple[Dim, ...], found: tuple[Dim, ...], bindings: Bindings) -> bool:
        if expected and isinstance(expected[0], Expr) and symbol_name(expected[0]) == LEADING:
            split = len(found) - len(expected) + 1
            if split < 0:
                return False
            leading, found = found[:split], found[split:]
            expected = expected[1:]
            if bindings.leading is None:
                bindings.leading = leading
            elif bindings.leading != leading:
                return False
        return len(expected) == len(found) and all(
            unify_dim(wanted, given, bindings) for wanted, given in zip(expected, found, strict=True)
        )

    def _unify_content(self, pattern_value: Value, value: Value, bindings: Bindings) -> bool:
        expected, found = pattern_value.content, value.content
        if expected is None or found is None or len(expected) != len(found):
            self._fail(bindings, f"the elements of %{value.name} are not known")
            return False
        for wanted, given in zip(expected, found, strict=True):
            if not unify_dim(wanted, given, bindings):
                self._fail(bindings, lambda: f"%{value.name} holds {list(found)} where {list(expected)} is expected")
                return False
        return True

    # -- what else must hold -------------------------------------------------------------------------------------------

    def _check_inside(self, bindings: Bindings) -> Bindings | None:
        """Nothing outside the match may read what disappears with it."""
        covered = set(bindings.nodes.values())
        free = {
            bindings.values[value]
            for value in (*self.pattern.outputs, *self.pattern.shareable)
            if value in bindings.values
        }
        for node in bindings.nodes.values():
            for value in node.outputs:
                if value in free:
                    continue
                if value.is_output:
                    self._fail(bindings, f"%{value.name}, inside it, is an output of the graph")
                    return None
                for user in value.users:
                    if user not in covered:
                        self._fail(bindings, f"%{value.name}, inside it, is also read by {user.describe()}")
                        return None
        return bindings

    def _fail(self, bindings: Bindings, reason: str | Callable[[], str], node: Node | None = None) -> None:
        """Remember why the match stopped, if none got further; the reason is put into words when it is shown."""
        matched = len(bindings.nodes)
        if self.failure is None or matched > self.failure.matched:
            touched = tuple(bindings.nodes.values()) + ((node,) if node is not None else ())
            self.failure = Failure(matched, reason, touched)


def _operand_mismatch(expected: Node, found: Node) -> str:
    if len(expected.inputs) != len(found.inputs):
        return f"{found.describe()} has {len(found.inputs)} operands, not {len(expected.inputs)}"
    return f"{found.describe()} has or lacks an optional operand"


def _shape_mismatch(value: Value, expected: Value) -> str:
    return f"%{value.name} has shape {format_shape(value.shape)}, and {format_shape(expected.shape)} is expected"


def _same_constant(pattern_value: Value, value: Value) -> bool:
    expected, found = pattern_value.constant, value.constant
    if expected is None or found is None or not found.has_data:
        return False
    if found.size != expected.size:
        return False
    if expected.dtype.is_float:
        wanted = np.maximum(expected.numpy().astype(np.float64), LOWEST.get(found.dtype, -np.inf))
        tolerance = _RELATIVE_TOLERANCES.get(found.dtype, 1e-4)
        given = found.numpy().astype(np.float64)
        return bool(np.allclose(wanted.reshape(-1), given.reshape(-1), rtol=tolerance, atol=0.0))
    return bool(np.array_equal(expected.numpy().reshape(-1), found.numpy().reshape(-1)))


def _show(value: Value) -> str:
    return "" if value.constant is None else str(value.constant.numpy().reshape(-1).tolist())


def _settings(node: Node) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in node.attributes.items()) or "defaults"
