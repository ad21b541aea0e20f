"""Shapes as operands: the int64 tensors that `Reshape`, `Expand`, `Range` and `Slice` take, made from dimensions.

A fixed size is a constant. A symbolic size is copied (0 and -1 in a reshape) where that can be said, and computed from
the shape of a tensor that has it where it cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import Trace, current_trace
from tfgraph.errors import ShapeError, TraceError
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dims import Dim, Expr, Shape, Symbol, exact_div, product, symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Value
from tfgraph.ir.types import TensorType

_END = 2**63 - 1


def reshape_target(x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """The operand that makes `Reshape(x, ·)` give `shape`, of which one dimension may be -1."""
    trace = current_trace()
    resolved = _resolve(x, shape)
    target = [0 if _copies(x.shape, axis, dim) else dim for axis, dim in enumerate(resolved)]
    symbolic = [axis for axis, dim in enumerate(target) if isinstance(dim, Expr)]
    if len(symbolic) <= 1:
        return trace.ints([-1 if isinstance(dim, Expr) else dim for dim in target])
    return dims_operand(trace, resolved, x)


def _copies(shape: Shape, axis: int, dim: Dim) -> bool:
    return isinstance(dim, Expr) and axis < len(shape) and shape[axis] == dim


def _resolve(x: Tensor, shape: Sequence[Dim]) -> list[Dim]:
    """`shape` with -1 replaced by the size that it stands for."""
    dims = list(shape)
    free = [axis for axis, dim in enumerate(dims) if isinstance(dim, int) and dim == -1]
    given = f"cannot reshape {format_shape(x.shape)} to {format_shape(shape)}"
    if len(free) > 1:
        raise ShapeError(current_trace().locate(f"{given}: more than one dimension is -1"))
    total = product(x.shape)
    if free:
        rest = product(dim for axis, dim in enumerate(dims) if axis != free[0])
        size = exact_div(total, rest)
        if size is None:
            raise ShapeError(current_trace().locate(f"{given}: {total} is no multiple of {rest}"))
        dims[free[0]] = size
    elif total != product(dims) and not _may_agree(total, product(dims)):
        raise ShapeError(current_trace().locate(f"{given}: {total} and {product(dims)} elements"))
    return dims


def _may_agree(left: Dim, right: Dim) -> bool:
    """Whether an imported graph, whose symbols are not a user's own words, may still have two sizes equal."""
    symbolic = isinstance(left, Expr) or isinstance(right, Expr)
    return symbolic and current_trace().keep_composites


def expand_target(x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """The operand that makes `Expand(x, ·)` give `shape`.

    Raises:
        ShapeError: `x` does not broadcast to `shape`.
    """
    from tfgraph.ir.ops.rules import broadcast_shapes  # loads the operator table

    try:
        broadcast_shapes(x.shape, shape, key="expand")
    except ShapeError as error:
        raise ShapeError(current_trace().locate(str(error))) from None
    offset = len(shape) - x.rank
    target = [1 if axis >= offset and x.shape[axis - offset] == dim else dim for axis, dim in enumerate(shape)]
    return dims_operand(current_trace(), target, x)


def dims_operand(trace: Trace, dims: Sequence[Dim], near: Tensor | None = None) -> Tensor:
    """An int64 tensor of rank 1 that holds `dims`; symbolic ones are read off the shape of `near` or of an input."""
    if all(isinstance(dim, int) for dim in dims):
        return trace.ints([dim for dim in dims if isinstance(dim, int)])
    if trace.free_sizes:
        return _free(trace, (len(dims),), tuple(dims))
    parts: list[Tensor] = []
    for dim in dims:
        if isinstance(dim, int):
            parts.append(trace.ints([dim]))
        else:
            parts.append(trace.emit("Unsqueeze", (scalar_of(trace, dim, near), trace.ints([0])))[0])
    return trace.emit("Concat", parts, {"axis": 0})[0] if len(parts) > 1 else parts[0]


def scalar_of(trace: Trace, dim: Dim, near: Tensor | None = None) -> Tensor:
    """An int64 tensor of rank 0 that holds `dim`.

    Raises:
        TraceError: no tensor in sight has the size, so that it cannot be known when the model runs.
    """
    if isinstance(dim, int):
        return trace.scalar(dim, DType.INT64)
    if trace.free_sizes:
        return _free(trace, (), (dim,))
    found = _find_axis(trace, dim, near)
    if found is not None:
        value, axis = found
        sizes = trace.emit("Shape", (Tensor(value, trace),), {"start": axis, "end": axis + 1})[0]
        return trace.emit("Squeeze", (sizes, trace.ints([0])))[0]
    total: Tensor | None = None
    for monomial, coefficient in dim.terms:
        term: Tensor | None = None
        for atom in monomial:
            factor = _atom_scalar(trace, atom, dim, near)
            term = factor if term is None else trace.emit("Mul", (term, factor))[0]
        if term is None:
            term = trace.scalar(coefficient, DType.INT64)
        elif coefficient != 1:
            term = trace.emit("Mul", (term, trace.scalar(coefficient, DType.INT64)))[0]
        total = term if total is None else trace.emit("Add", (total, term))[0]
    if total is None:
        raise TraceError(trace.locate(f"the size {dim} has no terms"))
    return total


def _free(trace: Trace, shape: Shape, content: tuple[Dim, ...]) -> Tensor:
    """A value of which nothing is known but what it holds."""
    value = trace.graph.add_input(f"size_{len(trace.graph.inputs)}", DType.INT64, shape)
    value.type = TensorType(DType.INT64, shape, content)
    return Tensor(value, trace)


def _atom_scalar(trace: Trace, atom: Any, dim: Expr, near: Tensor | None) -> Tensor:
    if isinstance(atom, Symbol):
        size = symbol(atom.name)
        if size == dim or _find_axis(trace, size, near) is None:
            message = f"the size '{atom.name}' is needed when the model runs, and no input has an axis of that size"
            raise TraceError(trace.locate(message))
        return scalar_of(trace, size, near)
    operators = {"floordiv": "Div", "mod": "Mod", "max": "Max", "min": "Min"}
    operands = [scalar_of(trace, argument, near) for argument in atom.arguments]
    return trace.emit(operators[atom.function], operands)[0]


def _find_axis(trace: Trace, dim: Expr, near: Tensor | None) -> tuple[Value, int] | None:
    candidates = ([near.value] if near is not None else []) + list(trace.graph.inputs.values())
    for value in candidates:
        if value.type.known_shape is not None and dim in value.shape:
            return value, value.shape.index(dim)
    return None


def getitem(x: Tensor, key: Any) -> Tensor:
    """`x[key]`; see `functional.getitem`."""
    trace = current_trace()
    items = list(key) if isinstance(key, tuple) else [key]
    consumed = sum(item is not None and item is not Ellipsis for item in items)
    if items.count(Ellipsis) > 1 or consumed > x.rank:
        message = f"cannot index a tensor of shape {format_shape(x.shape)} with {len(items)} items"
        raise ShapeError(trace.locate(message))
    where = items.index(Ellipsis) if Ellipsis in items else len(items)
    items[where : where + 1] = [slice(None)] * (x.rank - consumed)

    cuts: list[tuple[int, Dim, Dim, int]] = []
    dropped: list[int] = []
    added: list[int] = []
    axis = kept = 0
    for item in items:
        if item is None:
            added.append(kept)
            kept += 1
            continue
        if isinstance(item, slice):
            if item != slice(None):
                cuts.append((axis, *_bounds(trace, item)))
            kept += 1
        elif isinstance(item, int | Expr) and not isinstance(item, bool):
            _require_element(trace, x, axis, item)
            cuts.append((axis, item, _END if item == -1 else item + 1, 1))
            dropped.append(axis)
        else:
            raise TraceError(
                trace.locate(f"cannot index a tensor with {type(item).__name__}: use integers, slices, None or '...'")
            )
        axis += 1
    result = x
    if cuts:
        axes, starts, stops, steps = zip(*cuts, strict=True)
        operands = [dims_operand(trace, starts, x), dims_operand(trace, stops, x), trace.ints(axes), trace.ints(steps)]
        result = trace.emit("Slice", (result, *operands))[0]
    if dropped:
        result = trace.emit("Squeeze", (result, trace.ints(dropped)))[0]
    if added:
        result = trace.emit("Unsqueeze", (result, trace.ints(added)))[0]
    return result


def _bounds(trace: Trace, item: slice) -> tuple[Dim, Dim, int]:
    """Start, stop and step of a slice as ONNX has them, for which a missing bound is a huge number."""
    step = 1 if item.step is None else item.step
    if not isinstance(step, int) or step == 0:
        raise ShapeError(trace.locate(f"cannot take a slice with step {step}: expected an integer other than 0"))
    first, last = (0, _END) if step > 0 else (_END, -_END)
    return first if item.start is None else item.start, last if item.stop is None else item.stop, step


def _require_element(trace: Trace, x: Tensor, axis: int, index: Dim) -> None:
    size = x.shape[axis]
    if isinstance(size, int) and isinstance(index, int) and not -size <= index < size:
        given = f"element {index} of axis {axis} of {format_shape(x.shape)}"
        raise ShapeError(trace.locate(f"cannot take {given}: it has {size} elements"))
