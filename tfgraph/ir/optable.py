"""The operator table: what every operator takes, gives, means, and since when ONNX has it.

One `OpSpec` an operator. Primitive operators are ONNX's, with ONNX's names and semantics as of `OPSET`; they are
defined in `tfgraph/ir/ops/` with a signature, a shape rule and a numpy reference. Composite operators
(LayerNormalization, Attention, com.microsoft's fusions) have a `body` instead, a graph of simpler operators,
registered by `tfgraph.dsl.definition`: their types and their numbers follow from it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tfgraph.errors import DTypeError, UnknownOperatorError
from tfgraph.ir.dims import Dim, Shape, symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.types import TensorType

if TYPE_CHECKING:
    from tfgraph.ir.graph import Attribute, Graph, Node

OPSET: Final = 24
"""The ONNX opset whose semantics the IR has. Importers raise older forms to it; lowering checks `OpSpec.since`."""

REQUIRED: Final = object()
"""The default of an attribute that has none."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A formal input: its name, the type variable or dtype it has, and whether it may be left out or repeated."""

    name: str
    type: str
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True)
class Operands:
    """What a rule sees of one application: the types of its operands and its attributes, defaults filled in.

    `site` is the name of the first result. It names the dimensions that only running the model can tell, so that two
    applications never share one, and inferring the types of a graph again gives the same ones.
    """

    key: str
    types: tuple[TensorType | None, ...]
    attributes: Mapping[str, Any]
    num_outputs: int = 1
    site: str = ""

    def has(self, index: int) -> bool:
        """Whether the operand at `index` is given."""
        return index < len(self.types) and self.types[index] is not None

    def type(self, index: int) -> TensorType:
        """The type of the operand at `index`, which must be given."""
        given = self.types[index] if index < len(self.types) else None
        if given is None:
            raise DTypeError(f"{self.key} needs its input {index}, and it is left out")
        return given

    def shape(self, index: int) -> Shape:
        """The shape of the operand at `index`."""
        return self.type(index).shape

    def dtype(self, index: int) -> DType:
        """The element type of the operand at `index`."""
        return self.type(index).dtype

    def content(self, index: int) -> tuple[Dim, ...] | None:
        """The elements of the operand at `index`, where it is given and they are known."""
        given = self.types[index] if index < len(self.types) else None
        return None if given is None else given.content

    def fresh(self, axis: int) -> Dim:
        """A dimension of the result at `axis` that only running the model can tell."""
        return symbol(f"dim{axis}_of_{self.site or self.key}".replace("`", "'"))


InferRule: TypeAlias = "Callable[[Operands], Sequence[TensorType]]"
Reference: TypeAlias = Callable[..., Any]
BodyRule: TypeAlias = "Callable[[Operands], Graph]"


@dataclass(frozen=True)
class OpSpec:
    """One row of the table.

    Attributes:
        name, domain: the operator.
        inputs: formal inputs.
        outputs: names of the formal outputs.
        attributes: default of each attribute; None for "optional, no default", `REQUIRED` for "must be given".
        since: the first opset (of its domain) in which ONNX has the operator in the form used here. An attribute that
            came later has a default that means what was before.
        infer: types of the results from types of the operands.
        reference: `reference(*arrays, **attributes)` computes the results with numpy; None for composites.
        body: for composites, the graph that defines the operator for given operands; None for primitives.
        commutative: the first two operands may be exchanged.
        elementwise: each result element depends on the operand elements at its own (broadcast) place only.
        limits: the dtypes that a type variable of `inputs` may stand for; one that is not here may stand for any.
    """

    name: str
    domain: str
    inputs: tuple[Parameter, ...]
    outputs: tuple[str, ...]
    infer: InferRule
    attributes: Mapping[str, Any] = field(default_factory=dict)
    since: int = 1
    reference: Reference | None = None
    body: BodyRule | None = None
    commutative: bool = False
    elementwise: bool = False
    limits: Mapping[str, frozenset[DType]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The operator with its domain: `MatMul`, `com.microsoft::FusedMatMul`."""
        return f"{self.domain}::{self.name}" if self.domain else self.name


_TABLE: dict[str, OpSpec] = {}
_LOADED: list[bool] = []
_ROWS: Final = ("tfgraph.ir.ops", "tfgraph.dsl.functions")


def register(spec: OpSpec) -> OpSpec:
    """Add a row. Registering a key twice replaces the row only if the name is the same definition reloaded."""
    _TABLE[spec.key] = spec
    return spec


def find_spec(key: str) -> OpSpec | None:
    """The row of `key` (`MatMul`, `com.microsoft::FusedMatMul`), or None where the table does not hold the operator."""
    _load_table()
    return _TABLE.get(key)


def get_spec(key: str) -> OpSpec:
    """The row of `key`.

    Raises:
        UnknownOperatorError: the table has no such operator; the message suggests the nearest names.
    """
    spec = find_spec(key)
    if spec is None:
        import difflib

        near = difflib.get_close_matches(key, _TABLE, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise UnknownOperatorError(f"the operator table has no {key}{hint}")
    return spec


def all_specs() -> tuple[OpSpec, ...]:
    """Every row registered so far, primitives first."""
    _load_table()
    return tuple(_TABLE.values())


def attribute(node: Node, name: str) -> Any:
    """The value of an attribute of `node`, or its default."""
    if name in node.attributes:
        return node.attributes[name]
    return get_spec(node.key).attributes[name]


def all_attributes(spec: OpSpec, given: Mapping[str, Attribute]) -> dict[str, Any]:
    """The attributes of an application with defaults filled in."""
    return {**{name: None if value is REQUIRED else value for name, value in spec.attributes.items()}, **given}


def _load_table() -> None:
    """Import the modules that fill the table, once. Composites are defined in a layer above, so they are only named."""
    if not _LOADED:
        _LOADED.append(True)
        for module in _ROWS:
            importlib.import_module(module)
