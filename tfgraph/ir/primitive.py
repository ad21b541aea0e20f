"""Declaring a primitive operator: one call a row of the operator table.

    primitive("Gather", "data:T indices:I -> output:T", shape=gather_shape, reference=gather, attributes={"axis": 0},
              since=13, I=INDEX)

The signature lists operands and results with their type variables. `?` after a name marks an optional operand, `*` a
repeated one; a result's type is a type variable, a dtype, `@attribute` (the dtype that an attribute names), or several
of them between bars, of which the first that is given counts. A keyword of one capital letter limits a type variable
to a set of dtypes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from tfgraph.errors import DTypeError
from tfgraph.ir.dims import Dim, Shape
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.optable import Operands, OpSpec, Parameter, Reference, register
from tfgraph.ir.types import CONTENT_DTYPES, LARGEST_CONTENT, TensorType, UnknownRankError

FLOATS = frozenset({DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64})
FLOAT8S = frozenset(dtype for dtype in DType if dtype.is_float and dtype.bits == 8)
SIGNED = frozenset({DType.INT8, DType.INT16, DType.INT32, DType.INT64})
UNSIGNED = frozenset({DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64})
INTEGERS = SIGNED | UNSIGNED
NUMBERS = FLOATS | INTEGERS
WIDE_NUMBERS = FLOATS | {DType.INT32, DType.INT64, DType.UINT32, DType.UINT64}
MOVABLE = NUMBERS | {DType.BOOL, DType.STRING}
INDEX = frozenset({DType.INT32, DType.INT64})
BOOL = frozenset({DType.BOOL})

ShapeRule: TypeAlias = Callable[[Operands], "Shape | list[Shape]"]
ContentRule: TypeAlias = Callable[[Operands], "tuple[Dim, ...] | list[tuple[Dim, ...]] | None"]


def primitive(
    key: str,
    signature: str,
    *,
    shape: ShapeRule,
    reference: Reference,
    attributes: Mapping[str, Any] | None = None,
    since: int = 1,
    content: ContentRule | None = None,
    commutative: bool = False,
    elementwise: bool = False,
    **limits: frozenset[DType],
) -> OpSpec:
    """Add a primitive operator to the table; see the module's docstring for `signature` and `limits`.

    `shape` returns the shape of the result (a tuple), or a list of shapes for several results. `content`, where given,
    returns the elements of small integer or boolean results as dimensions (booleans as 0 and 1) in the same way, or
    None; it is asked after `shape` has accepted the operands.
    """
    domain, _, name = key.rpartition("::")
    operands, _, results = signature.partition("->")
    inputs = tuple(_parse_parameter(word) for word in operands.split())
    outputs = tuple(_parse_parameter(word) for word in results.split())

    def infer(given: Operands) -> Sequence[TensorType]:
        variables = bind_dtypes(given, inputs, limits)
        dtypes = [_result_dtype(output, variables, given) for output in _expand(outputs, given.num_outputs)]
        try:
            shapes = shape(given)
        except UnknownRankError:
            return [TensorType(dtype, None) for dtype in dtypes]
        found = shapes if isinstance(shapes, list) else [shapes]
        types = [TensorType(dtype, result) for dtype, result in zip(dtypes, found, strict=False)]
        return types if content is None else _with_content(types, content, given)

    return register(
        OpSpec(
            name=name,
            domain=domain,
            inputs=inputs,
            outputs=tuple(output.name for output in outputs),
            attributes=dict(attributes or {}),
            since=since,
            infer=infer,
            reference=reference,
            commutative=commutative,
            elementwise=elementwise,
            limits=limits,
        )
    )


def _with_content(types: list[TensorType], rule: ContentRule, given: Operands) -> list[TensorType]:
    """The types with what the rule knows about the elements, where the results are of types that have content."""
    if not all(type_.dtype in CONTENT_DTYPES and type_.rank <= 1 for type_ in types):
        return types
    known = rule(given)
    if known is None:
        return types
    contents = known if isinstance(known, list) else [known]
    return [
        TensorType(type_.dtype, type_.known_shape, content if len(content) <= LARGEST_CONTENT else None)
        for type_, content in zip(types, contents, strict=True)
    ]


def bind_dtypes(
    given: Operands, inputs: Sequence[Parameter], limits: Mapping[str, frozenset[DType]]
) -> dict[str, DType]:
    """The dtype that each type variable of a signature stands for.

    Raises:
        DTypeError: an operand is missing or one too many, operands that share a variable differ, or a dtype is outside
            the variable's set.
    """
    count = len(given.types)
    needed = sum(not parameter.optional for parameter in inputs)
    variadic = bool(inputs) and inputs[-1].variadic
    if count < needed or (count > len(inputs) and not variadic):
        raise DTypeError(f"{given.key} takes {_arity(inputs)}, and it was given {count}")
    variables: dict[str, DType] = {}
    for index, type_ in enumerate(given.types):
        parameter = inputs[min(index, len(inputs) - 1)]
        if type_ is None:
            if not parameter.optional:
                raise DTypeError(f"{given.key} needs its input '{parameter.name}', and it is left out")
            continue
        variable = parameter.type
        if not variable[:1].isupper():
            if type_.dtype is not as_dtype(variable):
                raise DTypeError(f"{given.key} takes {variable} as '{parameter.name}', and {type_.dtype} was given")
            continue
        expected = variables.setdefault(variable, type_.dtype)
        if type_.dtype is not expected:
            raise DTypeError(
                f"{given.key} takes operands of one dtype, and {expected} and {type_.dtype} were given: cast one"
            )
        limit = limits.get(variable)
        if limit is not None and type_.dtype not in limit:
            names = ", ".join(sorted(str(dtype) for dtype in limit))
            raise DTypeError(f"{given.key} takes {names} as '{parameter.name}', and {type_.dtype} was given")
    return variables


def _arity(inputs: Sequence[Parameter]) -> str:
    needed = sum(not parameter.optional for parameter in inputs)
    if inputs and inputs[-1].variadic:
        return f"{needed} or more operands"
    return f"{needed} to {len(inputs)} operands" if needed != len(inputs) else f"{needed} operands"


def _parse_parameter(word: str) -> Parameter:
    name, _, type_ = word.partition(":")
    return Parameter(name.rstrip("?*"), type_, optional=name.endswith("?"), variadic=name.endswith("*"))


def _expand(outputs: Sequence[Parameter], count: int) -> list[Parameter]:
    if outputs[-1].variadic:
        return list(outputs[:-1]) + [outputs[-1]] * max(1, count - len(outputs) + 1)
    return list(outputs)


def _result_dtype(output: Parameter, variables: Mapping[str, DType], given: Operands) -> DType:
    for choice in output.type.split("|"):
        named = given.attributes.get(choice[1:]) if choice.startswith("@") else variables.get(choice)
        if named is None and not choice.startswith("@") and not choice[:1].isupper():
            named = choice
        if named is not None:
            return as_dtype(named)
    raise DTypeError(f"{given.key} needs its attribute '{output.type.rpartition('@')[2]}', the dtype of its result")
