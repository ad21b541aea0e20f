"""Adding one node of a file to a graph: raised to the IR's form, typed by the operator table, or carried as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfgraph.backends.onnx.attributes import split_fill
from tfgraph.backends.onnx.model_file import NEWEST_OPSET, OLDEST_OPSET
from tfgraph.backends.onnx.opaque import OMITTED, carried_domain
from tfgraph.backends.onnx.opaque_types import check_application, opaque_types
from tfgraph.backends.onnx.schemas import find_schema
from tfgraph.backends.onnx.upgrade import Application, upgrade
from tfgraph.backends.onnx.value_types import NOTHING, Declared, refined
from tfgraph.errors import OnnxError, TFGraphError
from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.graph import Attribute, Node, Source, Value
from tfgraph.ir.optable import OPSET, find_spec

if TYPE_CHECKING:
    from tfgraph.backends.onnx.scope import Scope


def add_application(scope: Scope, app: Application, source: Source | None) -> None:
    """Add `app` to the graph of `scope`, and let the names of its outputs stand for the results.

    Raises:
        OnnxError: it makes no sense, or its operator's domain is not among the model's.
    """
    opset = scope.opsets.get(app.domain)
    if opset is None:
        if not app.domain:
            raise OnnxError(f"{app.label} is of the ONNX domain, whose opset {scope.model.label} does not name")
        opset = 1  # the version of a foreign domain is not looked at
    if not app.domain:
        _check_age(app, opset)
        upgrade(app, opset, _Builder(scope, app))
    node = _known(scope, app, opset, source) or _opaque(scope, app, opset, source)
    for name, value in zip(app.outputs, node.outputs, strict=True):
        if name:
            scope.define(name, value)


def _check_age(app: Application, opset: int) -> None:
    """Refuse a form of an operator that was given up before the oldest opset that is read in full.

    Raises:
        OnnxError: it is one.
    """
    if opset >= OLDEST_OPSET:
        return
    form, kept = find_schema(app.op, opset), find_schema(app.op, OLDEST_OPSET)
    if form is None or kept is None or form.since != kept.since:
        raise OnnxError(
            f"{app.label} has the form of ONNX opset {opset}, and tfgraph reads {OLDEST_OPSET} to {NEWEST_OPSET}: "
            "export the model again with one of those"
        )


def _known(scope: Scope, app: Application, opset: int, source: Source | None) -> Node | None:
    """A node typed by the operator table; None where the table has no such operator, or not in this form."""
    key = f"{app.domain}::{app.op}" if app.domain else app.op
    spec = None if _is_newer(app, opset) else find_spec(key)
    if spec is None:
        return None
    attributes = split_fill(app.attributes) if key == "ConstantOfShape" else app.attributes
    if not all(_same_kind(value, spec.attributes.get(name)) for name, value in attributes.items()):
        return None
    try:
        names = _names(scope, app)
        node = add_node(
            scope.graph, key, app.inputs, attributes, num_outputs=len(app.outputs), names=names, source=source
        )
    except TFGraphError:
        if not app.domain:
            check_application(app, opset)
        return None
    if len(node.outputs) != len(app.outputs):
        scope.graph.erase(node)
        return None
    for name, value in zip(app.outputs, node.outputs, strict=True):
        value.type = refined(value.type, scope.declared.get(name, NOTHING), value.name)
    return node


def _same_kind(value: Attribute, default: object) -> bool:
    """Whether an attribute is a number, a text or a sequence as its default is; what has no default can be anything."""
    kinds = ((int, float), (str,), (tuple,))
    expected = next((kind for kind in kinds if isinstance(default, kind)), None)
    return expected is None or isinstance(value, expected)


def _is_newer(app: Application, opset: int) -> bool:
    """Whether the application uses what came after the IR's opset: of the operators in the table, only this one can."""
    if app.op != "Attention" or app.domain or opset <= OPSET:
        return False
    windows = [name for name in ("left_window_size", "right_window_size") if app.attributes.get(name) == -1]
    for name in windows:
        del app.attributes[name]  # no window, which is what older opsets mean
    return "left_window_size" in app.attributes or "right_window_size" in app.attributes


def _opaque(scope: Scope, app: Application, opset: int, source: Source | None) -> Node:
    """A node that passes through: under its own name, or as carried where the table holds another form of it."""
    key = f"{app.domain}::{app.op}" if app.domain else app.op
    declared: Sequence[Declared] = [scope.declared.get(name, NOTHING) for name in app.outputs]
    attributes = dict(app.attributes)
    omitted = tuple(index for index, name in enumerate(app.outputs) if not name)
    if omitted:
        attributes[OMITTED] = omitted
    return scope.graph.add(
        app.op,
        app.inputs,
        attributes,
        types=opaque_types(app, declared, opset),
        names=_names(scope, app),
        domain=app.domain if find_spec(key) is None else carried_domain(app.domain),
        source=source,
    )


def _names(scope: Scope, app: Application) -> list[str]:
    first = scope.value_name(next(name for name in app.outputs if name))
    return [
        scope.value_name(name) if name else scope.made_up_name(f"{first}.{index}")
        for index, name in enumerate(app.outputs)
    ]


class _Builder:
    """What upgrade rules add before an application, named after its first output."""

    def __init__(self, scope: Scope, app: Application) -> None:
        self._scope = scope
        self._app = app
        self._base = scope.value_name(next(name for name in app.outputs if name))

    def constant(self, array: Any, name: str) -> Value:
        """A constant."""
        return add_array(self._scope.graph, array, self._scope.made_up_name(f"{self._base}.{name}"))

    def emit(
        self, op: str, inputs: Sequence[Value | None], attributes: Mapping[str, Attribute] | None = None, *, name: str
    ) -> Value:
        """The result of a node in the form of the IR."""
        wanted = self._scope.made_up_name(f"{self._base}.{name}")
        try:
            if find_spec(op) is None:
                inner = Application(op, "", list(inputs), [wanted], dict(attributes or {}), self._app.label)
                return _opaque(self._scope, inner, OPSET, None).output
            return add_node(self._scope.graph, op, inputs, attributes, names=[wanted]).output
        except TFGraphError as error:
            raise OnnxError(f"{self._app.label}: {error}") from None
