"""Operators that work on each token by itself: which they are, and what each of their operands is to them.

A value [B, S, ...], or [B*S, ...] where a product was flattened, has a row for each token. Nothing is rewritten here
(`pack.py` does that), and nothing is decided (`region.py` does).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tfgraph.ir.dims import Shape
from tfgraph.ir.graph import Node, Value
from tfgraph.ir.optable import find_spec
from tfgraph.passes.unpad.padding import Padding


class Role(Enum):
    """What an operand is to an operator that works by rows."""

    ROWS = "a row for each token"
    PLACES = "a row for each place in a text"
    SAME = "the same for all tokens"


HEAVY: Final = frozenset(
    {
        "MatMul",
        "Gemm",
        "MatMulInteger",
        "com.microsoft::FusedMatMul",
        "com.microsoft::FusedGemm",
        "com.microsoft::DynamicQuantizeMatMul",
        "com.microsoft::MatMulIntegerToFloat",
        "com.microsoft::MatMulNBits",
    }
)
"""Products with a weight: what packing is for."""

_ACTIVATIONS: Final = frozenset(
    {
        "Gelu",
        "HardSwish",
        "Mish",
        "QuickGelu",
        "Swish",
        "com.microsoft::BiasGelu",
        "com.microsoft::FastGelu",
        "com.microsoft::Gelu",
        "com.microsoft::QuickGelu",
    }
)
NORMS: Final = frozenset(
    {
        "LayerNormalization",
        "RMSNormalization",
        "SimplifiedLayerNormalization",
        "com.microsoft::SkipLayerNormalization",
        "com.microsoft::SkipSimplifiedLayerNormalization",
    }
)
"""Norms, over the last axis by default."""
_ALONG_LAST: Final = frozenset({"Softmax", "LogSoftmax", "Split", "Concat"})
_DEFAULT_AXES: Final = {"Split": 0, "QuantizeLinear": 1, "DequantizeLinear": 1}
_TABLES: Final = {"Gather": "axis", "com.microsoft::GatherBlockQuantized": "gather_axis"}


@dataclass(frozen=True)
class RowPlan:
    """How a node works by rows.

    Attributes:
        roles: what each operand is; None for one that is left out.
        results: whether each result has a row for each token. Others, such as a scale, are one for all.
    """

    roles: tuple[Role | None, ...]
    results: tuple[bool, ...]


def is_rows(value: Value, padding: Padding) -> bool:
    """Whether `value` is [B, S, ...] with sizes beyond that are numbers, or [B*S, ...] with such sizes."""
    shape = value.type.known_shape
    if shape is None or not shape:
        return False
    if shape[0] == padding.batch * padding.length:
        return all(isinstance(dim, int) for dim in shape[1:])
    is_split = len(shape) >= 2 and shape[:2] == (padding.batch, padding.length)
    return is_split and all(isinstance(dim, int) for dim in shape[2:])


def width_of(value: Value, padding: Padding) -> tuple[int, ...]:
    """The sizes of one row of a value with rows."""
    shape = value.shape
    return tuple(dim for dim in shape[2 if shape[0] == padding.batch else 1 :] if isinstance(dim, int))


def plan_of(node: Node, padding: Padding) -> RowPlan | None:
    """How `node` works by rows, or None where it does not."""
    if not is_rows(node.output, padding):
        return None
    maker = _plan_maker(node)
    roles = None if maker is None else maker(node, padding)
    if roles is None or Role.ROWS not in roles:
        return None
    results = tuple(is_rows(value, padding) for value in node.outputs)
    return RowPlan(roles, results)


_Roles = tuple[Role | None, ...]


def _plan_maker(node: Node) -> Callable[[Node, Padding], _Roles | None] | None:
    key, spec = node.key, find_spec(node.key)
    if key in HEAVY or key in NORMS or key == "DynamicQuantizeLinear":
        return _first_is_rows
    if key in _ALONG_LAST or key in ("QuantizeLinear", "DequantizeLinear"):
        return _along_last
    if key in _TABLES:
        return _looked_up
    if key in ("Reshape", "Unsqueeze", "Squeeze"):
        return _reshaped
    is_elementwise = key in _ACTIVATIONS or (spec is not None and spec.elementwise)
    return _broadcast if is_elementwise else None


def _broadcast(node: Node, padding: Padding) -> _Roles | None:
    """An elementwise operator: each operand broadcasts to the result."""
    target = node.output.shape
    roles: list[Role | None] = []
    for operand in node.inputs:
        role = None if operand is None else _role_beside(operand, target, padding)
        if operand is not None and role is None:
            return None
        roles.append(role)
    return tuple(roles)


def _role_beside(operand: Value, target: Shape, padding: Padding) -> Role | None:
    """The role of an operand that broadcasts to rows of shape `target`."""
    shape = operand.type.known_shape
    if shape is None:
        return None
    if len(shape) == len(target) and is_rows(operand, padding):
        return Role.ROWS if (shape[0] == padding.batch) == (target[0] == padding.batch) else None
    if target[0] != padding.batch:
        return Role.SAME if len(shape) < len(target) or shape[0] == 1 else None
    if len(shape) <= len(target) - 2:
        return Role.SAME
    leading = shape[: len(shape) - (len(target) - 2)]  # of [B, S]
    if all(dim == 1 for dim in leading):
        return Role.SAME
    return Role.PLACES if leading in ((padding.length,), (1, padding.length)) else None


def _first_is_rows(node: Node, padding: Padding) -> _Roles | None:
    """A product with a weight, or a norm over the last axis: the other operands are parameters."""
    first = node.required(0)
    is_skip = "Skip" in node.key
    if not is_rows(first, padding) or (node.key != "DynamicQuantizeLinear" and not width_of(first, padding)):
        return None
    if node.key in NORMS and not is_skip and node.attributes.get("axis", -1) not in (-1, first.rank - 1):
        return None
    if node.attributes.get("transA") or node.attributes.get("transBatchA"):
        return None
    if node.key in ("MatMul", "MatMulInteger", "com.microsoft::FusedMatMul") and len(node.required(1).shape) != 2:
        return None
    roles: list[Role | None] = [Role.ROWS]
    for index, operand in enumerate(node.inputs[1:], 1):
        role = None if operand is None else Role.SAME if _is_parameter(operand, padding) else None
        if operand is not None and is_skip and index == 1:
            role = _role_beside(operand, first.shape, padding)
        if operand is not None and role is None:
            return None
        roles.append(role)
    return tuple(roles)


def _is_parameter(operand: Value, padding: Padding) -> bool:
    """Whether no axis of an operand counts texts or places."""
    shape = operand.type.known_shape
    return shape is not None and all(isinstance(dim, int) for dim in shape)


def _along_last(node: Node, padding: Padding) -> _Roles | None:
    """An operator along the last axis, which is not one that counts tokens."""
    first = node.required(0)
    rank = node.output.rank
    axis = node.attributes.get("axis", _DEFAULT_AXES.get(node.key, -1))
    parameters = [operand for operand in node.inputs[1:] if operand is not None]
    if node.key in ("QuantizeLinear", "DequantizeLinear"):
        per_tensor = all(operand.type.known_shape in ((), (1,)) for operand in parameters)
        if node.attributes.get("block_size") or not is_rows(first, padding):
            return None
        if not per_tensor and axis not in (-1, rank - 1):
            return None
        return (Role.ROWS, *(None if operand is None else Role.SAME for operand in node.inputs[1:]))
    if axis not in (-1, rank - 1) or not width_of(node.output, padding):
        return None
    if node.key == "Concat":
        rows = all(operand is not None and is_rows(operand, padding) for operand in node.inputs)
        return (Role.ROWS,) * len(node.inputs) if rows else None
    if not is_rows(first, padding) or not all(_is_parameter(operand, padding) for operand in parameters):
        return None
    return (Role.ROWS, *(None if operand is None else Role.SAME for operand in node.inputs[1:]))


def _looked_up(node: Node, padding: Padding) -> _Roles | None:
    """Rows of a table, by indices of tokens."""
    if node.attributes.get(_TABLES[node.key], 0) != 0 or node.attributes.get("bits", 4) is None:
        return None
    if not _is_parameter(node.required(0), padding) or not is_rows(node.required(1), padding):
        return None
    return (Role.SAME, Role.ROWS, *(None if operand is None else Role.SAME for operand in node.inputs[2:]))


def _reshaped(node: Node, padding: Padding) -> _Roles | None:
    """A view that keeps a row for each token: rows lie one after the other, whatever the axes before them."""
    if not is_rows(node.required(0), padding):
        return None
    return (Role.ROWS, *(None if operand is None else Role.SAME for operand in node.inputs[1:]))
