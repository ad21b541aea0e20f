"""The graph as text: one line a constant, one line a node, spelt in one way only, so that texts can be compared.

    graph encoder_block(x: float32[batch, seq, 64], past: float32[...]) -> (output: %norm.Add) {
      metadata "author" = "me"
      const %linear.weight: float32[64, 64]
      const %axes: int64[1] = [-1]
      %linear.MatMul: float32[batch, seq, 64] = MatMul(%x, %linear.weight)  # model.py:12 @linear
      %a: int64[2], %b: int64[3] = com.example::Two(%axes, _, %x) {axis=-1, mode="linear", body=<a subgraph>}
    }

`%` marks values; `_` is an operand that is left out; a name with odd characters is written as a JSON string. Constants
in memory of up to 64 elements show their elements, exactly; others show their type only. `[...]` is a shape of unknown
rank; `sequence<float32[n, 64]>` and `optional<float32[n, 64]>` are types of values that are no tensors. The comment
after a node holds the source line and, after `@`, the scope. `parse.py` reads all of it back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from tfgraph.ir.attributes import Opaque
from tfgraph.ir.constant import ArrayConstant, Constant
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.types import ContainerType, TensorType

MOST_ELEMENTS: Final = 64
"""Constants with more elements than this are shown by their type alone."""

PLAIN_NAME: Final = re.compile(r"[\w./-]+(?:::[\w./-]+)*")
"""Names of values, operators and interfaces that need no quotes."""

PLAIN_WORD: Final = re.compile(r"[^\s@\"][^\s\"]*")
"""Source files and scopes that need no quotes in a comment."""

PLAIN_DESCRIPTION: Final = re.compile(r"[^<>\"#\s](?:[^<>\"\n]*[^<>\"\s])?")
"""Descriptions of opaque attributes that need no quotes between their angle brackets."""

_WIDTH = 120


def format_graph(graph: Graph) -> str:
    """`graph` as text that `parse_graph` reads back; the same text for the same graph, however it was built."""
    inputs = [f"{format_name(name)}: {format_type(value.type)}" for name, value in graph.inputs.items()]
    outputs = [f"{format_name(name)}: {format_value(value)}" for name, value in graph.outputs.items()]
    lines = [_header(format_name(graph.name), inputs, outputs)]
    lines += [f"  metadata {quoted(key)} = {quoted(text)}" for key, text in graph.metadata.items()]
    lines += [f"  {_format_constant(value)}" for value in graph.constants]
    lines += [f"  {format_node(node)}" for node in graph]
    return "\n".join([*lines, "}\n"])


def format_node(node: Node) -> str:
    """One node as its line of text, without indentation."""
    results = ", ".join(f"{format_value(value)}: {format_type(value.type)}" for value in node.outputs)
    operands = ", ".join("_" if value is None else format_value(value) for value in node.inputs)
    text = f"{results} = {format_name(node.key)}({operands})"
    if node.attributes:
        pairs = (f"{format_name(name)}={format_attribute(value)}" for name, value in sorted(node.attributes.items()))
        text += f" {{{', '.join(pairs)}}}"
    origin = []
    if node.source is not None:
        origin.append(f"{_plain_or_quoted(node.source.file, PLAIN_WORD)}:{node.source.line}")
    if node.scope:
        origin.append(f"@{_plain_or_quoted(node.scope, PLAIN_WORD)}")
    return f"{text}  # {' '.join(origin)}" if origin else text


def format_value(value: Value) -> str:
    """The name of a value, as an operand: `%attention.query.MatMul`."""
    return f"%{format_name(value.name)}"


def format_type(type_: TensorType) -> str:
    """A type as `float32[batch, seq, 64]`; what is known of the elements is not shown, it follows from the graph."""
    if isinstance(type_, ContainerType):
        return f"{type_.word}<{format_type(type_.element)}>"
    return f"{type_.dtype}{'[...]' if type_.known_shape is None else format_shape(type_.known_shape)}"


def format_name(name: str) -> str:
    """A name as it is, or as a JSON string if it holds characters that would end it."""
    return _plain_or_quoted(name, PLAIN_NAME)


def quoted(text: str) -> str:
    """`text` as a JSON string on one line."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def format_attribute(value: object) -> str:
    """An attribute: a number, a string, bytes, a list of them, or `<description>` for what only a backend reads."""
    match value:
        case int():
            return str(int(value))
        case float():
            return repr(float(value))
        case str():
            return quoted(value)
        case bytes():
            return _format_bytes(value)
        case tuple():
            return f"[{', '.join(format_attribute(element) for element in value)}]"
    description = value.description if isinstance(value, Opaque) else repr(value)
    return f"<{_plain_or_quoted(description, PLAIN_DESCRIPTION)}>"


def format_elements(constant: ArrayConstant) -> str:
    """The elements of a constant, as nested lists in which every number reads back as the same bits."""
    array, dtype = constant.array, constant.dtype
    if dtype.is_float:
        with np.errstate(over="ignore"):
            flat = [_format_float(float(element), array.dtype) for element in array.reshape(-1)]
    elif dtype is DType.BOOL:
        flat = ["true" if element else "false" for element in array.reshape(-1)]
    elif dtype is DType.STRING:
        flat = [_format_bytes(item) if isinstance(item, bytes) else quoted(str(item)) for item in array.reshape(-1)]
    else:
        flat = [str(int(element)) for element in array.reshape(-1)]
    return _nest(flat, constant.shape)


def _header(name: str, inputs: Sequence[str], outputs: Sequence[str]) -> str:
    line = f"graph {name}({', '.join(inputs)}) -> ({', '.join(outputs)}) {{"
    if len(line) <= _WIDTH:
        return line
    blocks = ["".join(f"  {item},\n" for item in items) for items in (inputs, outputs)]
    return f"graph {name}(\n{blocks[0]}) -> (\n{blocks[1]}) {{"


def _format_constant(value: Value) -> str:
    constant: Constant | None = value.constant
    text = f"const {format_value(value)}: {format_type(value.type)}"
    if isinstance(constant, ArrayConstant) and constant.size <= MOST_ELEMENTS:
        text += f" = {format_elements(constant)}"
    return text


def _format_float(element: float, dtype: np.dtype[Any]) -> str:
    """The shortest decimal that rounds to `element` in `dtype`; whole numbers that are not huge in full."""
    if dtype == np.float64 or not np.isfinite(element) or (element.is_integer() and abs(element) < 1e15):
        return repr(element)
    for digits in range(1, 10):  # 9 are enough for float32
        shorter = float(f"{element:.{digits}g}")
        if float(dtype.type(shorter)) == element:
            return repr(shorter)
    return repr(element)


def _format_bytes(data: bytes) -> str:
    return 'b"' + "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\x{c:02x}" for c in data) + '"'


def _nest(flat: Sequence[str], shape: Sequence[int]) -> str:
    if not shape:
        return flat[0]
    step = len(flat) // shape[0] if shape[0] else 0
    parts = (_nest(flat[index * step : (index + 1) * step], shape[1:]) for index in range(shape[0]))
    return f"[{', '.join(parts)}]"


def _plain_or_quoted(text: str, plain: re.Pattern[str]) -> str:
    return text if plain.fullmatch(text) and text.isprintable() else quoted(text)
