"""Tracing: running a `forward` once on stand-in tensors, and recording what it does as a graph.

A `Trace` owns the graph under construction, knows where in the module tree the running code is (names, scopes), and at
which line of the user's model (sources, error messages). One trace is current at a time, per thread of execution.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfgraph.errors import DTypeError, ShapeError, TraceError
from tfgraph.ir.build import add_node
from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.dim_text import as_dim, format_shape
from tfgraph.ir.dims import Expr, Shape
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.graph import Attribute, Graph, Source, Value

if TYPE_CHECKING:
    from tfgraph.dsl.module import Buffer, Module, Parameter
    from tfgraph.dsl.tensor import Tensor

_CURRENT: ContextVar[Trace | None] = ContextVar("current_trace", default=None)
_PACKAGE = Path(__file__).resolve().parents[1]
_OWN_FOLDERS = (str(_PACKAGE / "dsl"), str(_PACKAGE / "ir"), str(Path(np.__file__).parent))


@dataclass(frozen=True)
class TensorSpec:
    """What an input is declared as: an element type and a shape of integers, names, or expressions."""

    dtype: DType
    shape: Shape

    def __str__(self) -> str:
        return f"{self.dtype}{format_shape(self.shape)}"


def spec(dtype: object, shape: Sequence[int | str | Expr]) -> TensorSpec:
    """Declare an input: `spec("float32", ["batch", "seq", 64])`, `spec("int64", ["batch", "past + seq"])`.

    Raises:
        DTypeError: no such element type.
        ShapeError: a negative size, or a text that is not a dimension.
    """
    if isinstance(shape, str):
        raise ShapeError(f"cannot declare an input of shape {shape!r}: expected a list of sizes and names")
    dims = []
    for given in shape:
        if isinstance(given, np.integer):
            given = int(given)
        if isinstance(given, bool) or not isinstance(given, int | str | Expr):
            expected = "expected an integer, a name, or arithmetic over names"
            raise ShapeError(f"cannot declare an input of shape {list(shape)}: {given!r} is no size; {expected}")
        try:
            dim = as_dim(given)
        except ValueError as error:
            raise ShapeError(f"cannot declare an input of shape {list(shape)}: {error}") from None
        if isinstance(dim, int) and dim < 0:
            raise ShapeError(f"cannot declare an input of shape {list(shape)}: {dim} is not a size; name it instead")
        dims.append(dim)
    return TensorSpec(as_dtype(dtype), tuple(dims))


class Placeholder(float):
    """A number that a pattern leaves open; see `tfgraph.passes.pattern`.

    A definition takes it for an attribute, as it would any number. The trace of the pattern turns it into a free value;
    an operator recorded as one node keeps it as its attribute.
    """

    name: str

    def __new__(cls, name: str) -> Placeholder:
        number = super().__new__(cls, 0.0123456789)  # equal to no operator's default
        number.name = name
        return number


class Trace:
    """The recording of one run of a model.

    Composite operators are written out as the primitives of their definitions; with `keep_composites`, each is recorded
    as one node.
    """

    def __init__(self, graph: Graph, *, keep_composites: bool = False) -> None:
        self.graph = graph
        self.keep_composites = keep_composites
        self.placeholders: dict[str, Tensor] = {}
        self.free_sizes = False  # in patterns: a symbol need not be the size of an input
        self._scopes: list[str] = [""]
        self._paths: dict[int, str] = {}
        self._parameters: dict[int, tuple[Parameter | Buffer, Tensor]] = {}  # the first keeps its id from being reused
        self._scalars: dict[tuple[object, ...], Tensor] = {}

    @property
    def scope(self) -> str:
        """The path of the module that is running, such as `encoder.layers.3.attention`."""
        return self._scopes[-1]

    # -- recording -----------------------------------------------------------------------------------------------------

    def emit(
        self,
        key: str,
        inputs: Sequence[Tensor | None],
        attributes: Mapping[str, Attribute] | None = None,
        outputs: int = 1,
    ) -> tuple[Tensor, ...]:
        """Record an application of an operator and return its results.

        Raises:
            ShapeError, DTypeError: the application makes no sense; the message opens with the user's line.
            TraceError: an operand belongs to another trace.
        """
        from tfgraph.dsl.tensor import Tensor

        source = user_source()
        values = [None if tensor is None else self._own(tensor) for tensor in inputs]
        try:
            node = add_node(self.graph, key, values, attributes, num_outputs=outputs, scope=self.scope, source=source)
        except (ShapeError, DTypeError) as error:
            raise type(error)(self.locate(str(error))) from None
        return tuple(Tensor(value, self) for value in node.outputs)

    def locate(self, message: str) -> str:
        """`message` with the user's line and the running module before it; what has them already stays as it is."""
        source = user_source()
        where = f"{source}: " if source else ""
        if where and message.startswith(where):
            return message
        return f"{where}in '{self.scope}': {message}" if self.scope else f"{where}{message}"

    def scalar(self, number: float | int | bool, dtype: DType) -> Tensor:
        """A constant of rank 0, one an element type and value; for a placeholder, the free value that stands for it."""
        if isinstance(number, Placeholder) and number.name in self.placeholders:
            return self.placeholders[number.name]
        key = (dtype, repr(number))
        if key not in self._scalars:
            self._scalars[key] = self.constant(np.asarray(number, dtype.numpy()), f"{dtype}_{number}")
        return self._scalars[key]

    def ints(self, numbers: Sequence[int]) -> Tensor:
        """A constant int64 tensor of rank 1, such as axes or a static shape."""
        key = ("ints", *numbers)
        if key not in self._scalars:
            text = "_".join(str(number) for number in numbers) or "empty"
            self._scalars[key] = self.constant(np.asarray(numbers, np.int64), f"ints_{text}")
        return self._scalars[key]

    def constant(self, array: Any, name: str | None = None) -> Tensor:
        """A constant from an array."""
        from tfgraph.dsl.tensor import Tensor

        wanted = name or (f"{self.scope}.constant" if self.scope else "constant")
        return Tensor(self.graph.add_constant(ArrayConstant(array), wanted), self)

    def parameter(self, parameter: Parameter | Buffer) -> Tensor:
        """The value of a module's parameter or buffer, the same one each time it is used."""
        from tfgraph.dsl.tensor import Tensor

        if id(parameter) not in self._parameters:
            kind = type(parameter).__name__.lower()
            name = self._paths.get(id(parameter)) or (f"{self.scope}.{kind}" if self.scope else kind)
            value = self.graph.add_constant(parameter.in_graph(name), name)
            self._parameters[id(parameter)] = parameter, Tensor(value, self)
        return self._parameters[id(parameter)][1]

    def _own(self, tensor: Tensor) -> Value:
        if tensor.trace is not self:
            raise TraceError(
                f"%{tensor.value.name} belongs to another trace: a tensor cannot outlive the `forward` that made it"
            )
        return tensor.value

    # -- where we are --------------------------------------------------------------------------------------------------

    def name_module(self, root: Module) -> None:
        """Learn the paths of all parameters, buffers and modules of `root`; the first path of a shared one counts."""
        for path, parameter in root.named_parameters():
            self._paths.setdefault(id(parameter), path)
        for path, buffer in root.named_buffers():
            self._paths.setdefault(id(buffer), path)
        for path, module in root.named_modules():
            self._paths.setdefault(id(module), path)

    @contextmanager
    def inside(self, module: Module) -> Iterator[None]:
        """Run code as part of `module`."""
        path = self._paths.get(id(module))
        if path is None:  # made inside a forward: named after its class
            path = f"{self.scope}.{type(module).__name__}" if self.scope else type(module).__name__
        self._scopes.append(path)
        try:
            yield
        finally:
            self._scopes.pop()


def current_trace() -> Trace:
    """The trace that is recording.

    Raises:
        TraceError: none is: tensors exist only inside a `forward`.
    """
    trace = _CURRENT.get()
    if trace is None:
        raise TraceError(
            "no trace is recording: call the model through tfgraph.trace(model, name=tfgraph.spec(...), ...), "
            "or compile it and call the result with arrays"
        )
    return trace


def in_pattern() -> bool:
    """Whether the trace that is recording, if any, is a pattern's, whose symbols need not be sizes of inputs."""
    trace = _CURRENT.get()
    return trace is not None and trace.free_sizes


@contextmanager
def recording(trace: Trace) -> Iterator[Trace]:
    """Make `trace` the current one."""
    token = _CURRENT.set(trace)
    try:
        yield trace
    finally:
        _CURRENT.reset(token)


def user_source() -> Source | None:
    """The innermost line of running code that is not the language itself: the user's model, or one of ours."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_OWN_FOLDERS) and "contextlib" not in file and not file.startswith("<frozen"):
            path = Path(file)
            return Source(f"{path.parent.name}/{path.name}" if path.parent.name else path.name, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def trace(model: Module | Callable[..., Any], *, name: str | None = None, **inputs: Any) -> Graph:
    """Run `model` once on stand-in tensors and return what it did as a graph.

    The keyword arguments declare the inputs and are passed to `forward` by name. An input may be a tuple, list or dict
    of specs, such as the key and value of a cache: its parts are named `past_key_value.0`, `past_key_value.1`.

    A tensor that `forward` returns becomes the output `output`; a tuple becomes `output_0`, `output_1`, …; a dict keeps
    its names; what is nested in them is named `output_1.0`, …. None in a tuple or dict is left out.

    Raises:
        TraceError: an argument that `forward` does not take, or a result that is not tensors.
        ShapeError, DTypeError: the model makes no sense for these inputs; the message opens with the user's line.
    """
    from tfgraph.dsl.module import Module

    label = str(name or (type(model).__name__ if isinstance(model, Module) else getattr(model, "__name__", "model")))
    graph = Graph(label)
    recorder = Trace(graph)
    if isinstance(model, Module):
        recorder.name_module(model)
    arguments = {}
    for argument, declared in inputs.items():
        arguments[argument] = _declare(recorder, argument, declared)
    _check_arguments(model, arguments, label)
    with recording(recorder):
        result = model(**arguments)
    for output, tensor in name_results(result, label).items():
        graph.set_output(output, tensor.value)
    return graph


def _declare(recorder: Trace, name: str, declared: Any) -> Any:
    """The stand-in for one input: a tensor, or a tuple or dict of them."""
    from tfgraph.dsl.tensor import Tensor

    if isinstance(declared, TensorSpec):
        return Tensor(recorder.graph.add_input(name, declared.dtype, declared.shape), recorder)
    if isinstance(declared, tuple | list):
        return tuple(_declare(recorder, f"{name}.{index}", part) for index, part in enumerate(declared))
    if isinstance(declared, Mapping):
        return {key: _declare(recorder, f"{name}.{key}", part) for key, part in declared.items()}
    raise TraceError(f"input '{name}' is {declared!r}: declare it with tfgraph.spec(dtype, shape)")


def name_results(result: Any, label: str) -> dict[str, Tensor]:
    """The tensors that a `forward` returned, by output name; see `trace`."""
    if isinstance(result, Mapping):
        parts = {str(key): value for key, value in result.items()}
    elif isinstance(result, tuple | list):
        parts = {f"output_{index}": value for index, value in enumerate(result)}
    else:
        parts = {"output": result}
    named: dict[str, Tensor] = {}
    for name, part in parts.items():
        _name_parts(named, name, part, label)
    if not named:
        raise TraceError(f"{label} returned nothing: expected a tensor, a tuple or a dict of tensors")
    return named


def _name_parts(named: dict[str, Tensor], name: str, result: Any, label: str) -> None:
    from tfgraph.dsl.tensor import Tensor

    if isinstance(result, Tensor):
        named[name] = result
    elif isinstance(result, tuple | list):
        for index, part in enumerate(result):
            _name_parts(named, f"{name}.{index}", part, label)
    elif isinstance(result, Mapping):
        for key, part in result.items():
            _name_parts(named, f"{name}.{key}", part, label)
    elif result is not None:
        raise TraceError(f"{label} returned {type(result).__name__} as '{name}': expected a tensor")


def _check_arguments(model: Any, arguments: Mapping[str, Any], label: str) -> None:
    import inspect

    signature = inspect.signature(getattr(model, "forward", model))
    try:
        signature.bind(**arguments)
    except TypeError as error:
        given = ", ".join(arguments) or "none"
        raise TraceError(f"cannot call {label}{signature} with inputs {given}: {error}") from None
