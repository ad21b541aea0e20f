"""Reading IR text back into a graph. The form is described and printed by `text.py`.

Results of operators that the operator table knows get inferred types, which must agree with the text; results of other
operators get the types that the text gives. Constants without elements become `AbsentConstant`; what is in angle
brackets becomes an `Opaque` attribute without payload. What moves through the characters is in `scanner.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfgraph.errors import TFGraphError
from tfgraph.ir.agree import agreed_types
from tfgraph.ir.attributes import Attribute, Opaque, Source
from tfgraph.ir.build import check_attributes
from tfgraph.ir.constant import AbsentConstant, ArrayConstant, Constant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Value
from tfgraph.ir.infer import infer_types
from tfgraph.ir.optable import find_spec
from tfgraph.ir.scanner import STRING, Scanner
from tfgraph.ir.text import PLAIN_DESCRIPTION, PLAIN_WORD, format_name, format_type
from tfgraph.ir.types import TensorType

_NUMBER = re.compile(r"[+-]?(?:inf|nan|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])")
_INTEGER = re.compile(r"[+-]?\d+(?![\w.])")
_BOOLEAN = re.compile(r"(?:true|false)(?!\w)")
_BYTES = re.compile(rf"b{STRING.pattern}")
_DESCRIPTION = re.compile(rf"({PLAIN_DESCRIPTION.pattern})|{STRING.pattern}")
_ORIGIN = re.compile(
    rf"[ \t]*#[ \t]*(?:(?:({PLAIN_WORD.pattern})|({STRING.pattern})):(\d+))?"
    rf"(?:[ \t]*@(?:({PLAIN_WORD.pattern})|({STRING.pattern})))?[ \t\r]*(?=\n|$)"
)
_OPENING_BRACE = re.compile(r"[ \t]*\{")  # found without skipping a comment, which may say where the node is from
_MOST_AXES = 64  # numpy has no more


def parse_graph(text: str) -> Graph:
    """The graph that `text`, in the form of `format_graph`, spells.

    Raises:
        ParseError: the text is not of that form, uses a value before it is defined, or gives a type that is not the one
            that the operator infers; the message names the line and the column, what was found and what was expected.
    """
    return _Parser(text).graph()


class _Parser:
    """One reading of one text."""

    def __init__(self, text: str) -> None:
        self.scanner = Scanner(text)
        self.built = Graph()
        self.values: dict[str, Value] = {}

    def graph(self) -> Graph:
        scanner = self.scanner
        scanner.expect("graph")
        self.built.name = scanner.name("the graph's name")
        scanner.expect("(")
        while not scanner.accept(")"):
            self.graph_input()
            scanner.separator(")")
        scanner.expect("->")
        scanner.expect("(")
        outputs: dict[str, tuple[int, str]] = {}
        while not scanner.accept(")"):
            start, name = scanner.here(), scanner.name("the name of an output")
            if name in outputs:
                raise scanner.error(f"the graph has two outputs named {format_name(name)}", start)
            scanner.expect(":")
            outputs[name] = (scanner.here(), scanner.value_name())
            scanner.separator(")")
        scanner.expect("{")
        while not scanner.accept("}"):
            self.statement()
        if not scanner.at_end():
            raise scanner.wrong("the end of the text after '}'")
        for name, (start, wanted) in outputs.items():
            self.built.set_output(name, self.defined(wanted, start))
        return self.built

    def graph_input(self) -> None:
        start, name = self.scanner.here(), self.scanner.name("the name of an input")
        self.undefined(name, start)
        self.scanner.expect(":")
        type_ = self.scanner.type()
        self.values[name] = self.built.add_input(name, type_.dtype, type_.known_shape)
        self.values[name].type = type_

    def statement(self) -> None:
        if self.scanner.looks_at("%"):
            self.node()
        elif self.scanner.accept("const"):
            self.constant()
        elif self.scanner.accept("metadata"):
            key = self.scanner.string()
            self.scanner.expect("=")
            self.built.metadata[key] = self.scanner.string()
        else:
            raise self.scanner.wrong("a node such as '%y: float32[2] = Relu(%x)', 'const', 'metadata' or '}'")

    def node(self) -> None:
        scanner = self.scanner
        start = scanner.here()
        names: list[str] = []
        types: list[TensorType] = []
        while True:
            place, name = scanner.here(), scanner.value_name()
            self.undefined(name, place, names)
            scanner.expect(":")
            names.append(name)
            types.append(scanner.type())
            if not scanner.accept(","):
                break
        scanner.expect("=")
        key = scanner.name("an operator")
        scanner.expect("(")
        inputs: list[Value | None] = []
        while not scanner.accept(")"):
            place = scanner.here()
            inputs.append(None if scanner.accept("_") else self.defined(scanner.value_name(), place))
            scanner.separator(")")
        attributes = self.attributes() if scanner.follows(_OPENING_BRACE) else {}
        source, scope = self.origin()
        domain, _, op = key.rpartition("::")
        checked = self.checked_types(start, key, names, types, inputs, attributes)
        node = self.built.add(
            op, inputs, attributes, types=checked, names=names, domain=domain, scope=scope, source=source
        )
        self.values.update(zip(names, node.outputs, strict=True))

    def checked_types(
        self,
        start: int,
        key: str,
        names: Sequence[str],
        given: Sequence[TensorType],
        inputs: Sequence[Value | None],
        attributes: Mapping[str, Attribute],
    ) -> Sequence[TensorType]:
        spec = find_spec(key)
        if spec is None:
            return given
        operands = [None if value is None else value.type for value in inputs]
        try:
            check_attributes(spec, attributes)
            inferred = infer_types(spec, operands, attributes, len(names), names[0])[: len(names)]
        except TFGraphError as error:
            raise self.scanner.error(f"in %{format_name(names[0])}: {error}", start) from error
        if len(inferred) < len(names):
            raise self.scanner.error(f"{key} gives {len(inferred)} results, and the text has {len(names)}", start)
        agreed = agreed_types(given, inferred, operands)
        for name, here, there, both in zip(names, given, inferred, agreed, strict=True):
            if both is None:
                raise self.scanner.error(
                    f"%{format_name(name)} is given as {format_type(here)}, and {key} gives {format_type(there)}", start
                )
        return [both for both in agreed if both is not None]

    def attributes(self) -> dict[str, Attribute]:
        found: dict[str, Attribute] = {}
        while not self.scanner.accept("}"):
            start, name = self.scanner.here(), self.scanner.name("the name of an attribute")
            if name in found:
                raise self.scanner.error(f"the attribute {format_name(name)} is given twice", start)
            self.scanner.expect("=")
            found[name] = self.attribute()
            self.scanner.separator("}")
        return found

    def attribute(self) -> Attribute:
        scanner = self.scanner
        if scanner.accept("<"):
            match = scanner.take(_DESCRIPTION, "a description")
            description = scanner.plain_or_string(match)
            scanner.expect(">")
            return Opaque(description, None)
        if not scanner.accept("["):
            return self.scalar()
        elements: list[Any] = []
        while not scanner.accept("]"):
            start, element = scanner.here(), self.scalar()
            elements.append(element)
            if type(element) is not type(elements[0]):
                raise scanner.error("the elements of a list are all integers, all floats or all strings", start)
            scanner.separator("]")
        return tuple(elements)

    def scalar(self) -> int | float | str | bytes:
        scanner = self.scanner
        if scanner.looks_at('"'):
            return scanner.string()
        if scanner.looks_at('b"'):
            return self.byte_string()
        start, text = scanner.here(), scanner.take(_NUMBER, "a number, a string, a list or <a description>").group()
        return scanner.integer(text, start) if _INTEGER.fullmatch(text) else float(text)

    def byte_string(self) -> bytes:
        match = self.scanner.take(_BYTES, 'bytes such as b"\\x00"')
        return self.scanner.decoded_bytes(match.group(), match.start())

    def origin(self) -> tuple[Source | None, str]:
        """What the comment behind a node says of where it comes from; any other comment says nothing."""
        match = self.scanner.follows(_ORIGIN)
        if match is None:
            return None, ""
        file, quoted_file, line, scope, quoted_scope = match.groups()
        if quoted_file is not None:
            file = self.scanner.decoded(quoted_file, match.start(2))
        if quoted_scope is not None:
            scope = self.scanner.decoded(quoted_scope, match.start(5))
        return None if file is None else Source(file, self.scanner.integer(line, match.start(3))), scope or ""

    def constant(self) -> None:
        scanner = self.scanner
        start, name = scanner.here(), scanner.value_name()
        self.undefined(name, start)
        scanner.expect(":")
        start, type_ = scanner.here(), scanner.type()
        shape = tuple(size for size in type_.known_shape or () if isinstance(size, int) and size >= 0)
        if type_.known_shape is None or len(shape) != len(type_.known_shape):
            raise scanner.error(f"a constant has sizes that are integers, and this is {format_type(type_)}", start)
        constant: Constant = AbsentConstant(type_.dtype, shape)
        if scanner.accept("="):
            if len(shape) > _MOST_AXES:
                raise scanner.error(
                    f"elements are read for at most {_MOST_AXES} axes, and here are {len(shape)}", start
                )
            flat: list[Any] = []
            self.elements(type_.dtype, shape, flat)
            constant = ArrayConstant(_as_array(flat, type_.dtype).reshape(shape))
        self.values[name] = self.built.add_constant(constant, name)

    def elements(self, dtype: DType, shape: Sequence[int], into: list[Any]) -> None:
        """Read nested lists of sizes `shape`, and append their elements."""
        if not shape:
            into.append(self.element(dtype))
            return
        self.scanner.expect("[")
        for index in range(shape[0]):
            if index:
                self.scanner.expect(",")
            self.elements(dtype, shape[1:], into)
        self.scanner.expect("]")

    def element(self, dtype: DType) -> int | float | str | bytes | bool:
        scanner = self.scanner
        start = scanner.here()
        if dtype is DType.STRING:
            return self.byte_string() if scanner.looks_at('b"') else scanner.string()
        if dtype is DType.BOOL:
            return scanner.take(_BOOLEAN, "true or false").group() == "true"
        if dtype.is_float:
            return float(scanner.take(_NUMBER, f"a number, an element of {dtype}").group())
        number = scanner.integer(scanner.take(_INTEGER, f"an integer, an element of {dtype}").group(), start)
        unsigned = dtype.value.startswith("u")
        low, high = (0, 2**dtype.bits - 1) if unsigned else (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1)
        if not low <= number <= high:
            raise scanner.error(f"{number} is no {dtype}: expected {low} to {high}", start)
        return number

    def defined(self, name: str, start: int) -> Value:
        value = self.values.get(name)
        if value is None:
            raise self.scanner.error(
                f"%{format_name(name)} is not defined: expected an input, a constant or a result of an earlier node",
                start,
            )
        return value

    def undefined(self, name: str, start: int, among: Sequence[str] = ()) -> None:
        if name in self.values or name in among:
            raise self.scanner.error(f"%{format_name(name)} is defined twice: every value has a name of its own", start)


def _as_array(flat: Sequence[Any], dtype: DType) -> np.ndarray[Any, Any]:
    if dtype is DType.STRING:
        array = np.empty(len(flat), dtype=object)
        array[:] = flat
        return array
    with np.errstate(over="ignore"):
        return np.array([dtype.numpy().type(element) for element in flat], dtype=dtype.numpy())
