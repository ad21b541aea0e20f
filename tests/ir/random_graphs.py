"""Random graphs for hypothesis: operators known and unknown, names of any form, attributes and constants of all kinds.

Every graph that `graphs()` draws is valid. It imports as the fixture `random_graphs`.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tfgraph.errors import TFGraphError
from tfgraph.ir.build import add_node
from tfgraph.ir.constant import AbsentConstant, ArrayConstant, Constant
from tfgraph.ir.dims import Dim, floordiv, maximum, symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Opaque, Source, Value
from tfgraph.ir.types import TensorType

PLAIN_NAMES = ("x", "layer.0.weight", "/encoder/Add_1", "onnx::MatMul_7", "norm-1", "_")
names = st.one_of(st.sampled_from(PLAIN_NAMES), st.text(max_size=6))
dtypes = st.sampled_from(sorted(DType, key=str))
numeric_dtypes = st.sampled_from(sorted(set(DType) - {DType.STRING}, key=str))
sizes = st.integers(0, 4)
integers = st.integers(-(2**63), 2**63 - 1)
opaques = st.text(max_size=12).map(lambda text: Opaque(text, None))
attributes = st.one_of(
    integers,
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    opaques,
    st.lists(integers, max_size=3).map(tuple),
    st.lists(st.floats(), max_size=3).map(tuple),
    st.lists(st.text(max_size=4), max_size=3).map(tuple),
)
sources = st.none() | st.builds(
    Source, st.sampled_from(["model.py", "C:\\a b\\m.py", "@x"]) | names, st.integers(0, 999)
)
scopes = st.sampled_from(["", "encoder.layers.0"]) | names


@st.composite
def dims(draw: st.DrawFn) -> Dim:
    """A dimension: an integer, a symbol of any name, or arithmetic over them."""
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return draw(sizes)
    symbols = st.sampled_from(["batch", "seq", "past"]) | names
    first = symbol(draw(symbols))
    if kind == 1:
        return first
    second = symbol(draw(symbols))
    number = draw(st.integers(1, 4))
    return [first * number + second, floordiv(first + number, 2) * second, maximum(first, second - number)][kind - 2]


types = st.builds(TensorType, dtypes, st.none() | st.lists(dims(), max_size=3).map(tuple))


@st.composite
def constants(draw: st.DrawFn) -> Constant:
    """A constant of any dtype, with elements from all bit patterns, or without elements."""
    dtype = draw(dtypes)
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    if draw(st.integers(0, 4)) == 0:
        return AbsentConstant(dtype, shape)
    count = int(np.prod(shape, dtype=int))
    if dtype is DType.STRING:
        array = np.empty(count, dtype=object)
        array[:] = draw(st.lists(st.text(max_size=4) | st.binary(max_size=4), min_size=count, max_size=count))
        return ArrayConstant(array.reshape(shape))
    return ArrayConstant(random_bits(draw, dtype, count).reshape(shape))


def random_bits(draw: st.DrawFn, dtype: DType, count: int) -> np.ndarray:
    """`count` elements of a numeric dtype from random bit patterns; narrow integers and bools from random integers."""
    if dtype.bits < 8 or dtype is DType.BOOL:
        low = {DType.INT2: -2, DType.INT4: -8}.get(dtype, 0)
        high = {DType.INT2: 1, DType.UINT2: 3, DType.INT4: 7, DType.UINT4: 15, DType.BOOL: 1}[dtype]
        picked = draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
        return np.array(picked, dtype=np.int8).astype(dtype.numpy())
    width = dtype.bits // 8
    return np.frombuffer(draw(st.binary(min_size=count * width, max_size=count * width)), dtype=dtype.numpy())


@st.composite
def graphs(draw: st.DrawFn, most_nodes: int = 8) -> Graph:
    """A valid graph: inputs, constants, nodes of operators in and outside the table, outputs, metadata."""
    graph = Graph(draw(names))
    graph.metadata.update(draw(st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=2)))
    pool = [_float_input(draw, graph, rank) for rank in draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))]
    if draw(st.booleans()):
        type_ = draw(types)
        pool.append(graph.add_input(graph.free_name(draw(names)), type_.dtype, type_.known_shape))
    for constant in draw(st.lists(constants(), max_size=2)):
        pool.append(graph.add_constant(constant, draw(names)))
    for _ in range(draw(st.integers(0, most_nodes))):
        add = draw(st.sampled_from([_known, _known, _unknown]))
        pool += add(draw, graph, pool).outputs
    for name in draw(st.lists(names, max_size=3, unique=True)):
        graph.set_output(name, draw(st.sampled_from(pool)))
    return graph


def _float_input(draw: st.DrawFn, graph: Graph, rank: int) -> Value:
    shape = tuple(draw(dims()) for _ in range(rank))
    return graph.add_input(graph.free_name(draw(names)), DType.FLOAT32, shape)


def _known(draw: st.DrawFn, graph: Graph, pool: list[Value]) -> Node:
    """A node of the operator table over operands that it takes."""
    floats = [value for value in pool if value.dtype is DType.FLOAT32]
    value = draw(st.sampled_from(floats or pool))
    place = {"scope": draw(scopes), "source": draw(sources)}
    ranked = value.type.known_shape is not None and value.rank > 0
    options = ["Cast", "Identity", "Add"] + ["Concat", "Transpose", "Shape", "NonZero"] * ranked
    key = draw(st.sampled_from(options))
    try:
        if key == "Cast":
            return add_node(graph, "Cast", [value], {"to": str(draw(numeric_dtypes))}, **place)
        if key == "Add":
            return add_node(graph, "Add", [value, value], names=[draw(names)], **place)
        if key == "Concat":
            axis = draw(st.integers(-value.rank, value.rank - 1))
            return add_node(graph, "Concat", [value, value], {"axis": axis}, **place)
        if key == "Transpose":
            perm = tuple(draw(st.permutations(range(value.rank))))
            return add_node(graph, "Transpose", [value], {"perm": perm}, **place)
        return add_node(graph, key, [value], names=[draw(names)], **place)
    except TFGraphError:  # the operator does not take this dtype
        return add_node(graph, "Identity", [value], **place)


def _unknown(draw: st.DrawFn, graph: Graph, pool: list[Value]) -> Node:
    """A node of an operator that the table does not hold: any operands, attributes and types."""
    results = draw(st.lists(types, min_size=1, max_size=3))
    return graph.add(
        draw(st.sampled_from(["Loop", "Two words", "f::g"])),
        draw(st.lists(st.none() | st.sampled_from(pool), max_size=4)),
        draw(st.dictionaries(names, attributes, max_size=3)),
        types=results,
        names=[draw(names) for _ in results],
        domain=draw(st.sampled_from(["com.example", "my domain", "a::b"])),
        scope=draw(scopes),
        source=draw(sources),
    )
