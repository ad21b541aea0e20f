"""`Module`, `Parameter` and `Buffer`: how a model is declared.

A module only declares: it holds settings, parameters and other modules as plain attributes, and says in `forward` what
it computes. Parameters are found by walking the attributes, and named by their path (`encoder.layers.3.norm1.weight`).
Nothing here remembers a trace, so that tracing twice gives the same graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from tfgraph.dsl.initial import SCALE, InitialConstant, initial_array
from tfgraph.dsl.tensor import Operable, Tensor
from tfgraph.dsl.trace import Trace, current_trace
from tfgraph.errors import CheckpointError, ShapeError, TraceError
from tfgraph.ir.constant import AbsentConstant, ArrayConstant, Constant
from tfgraph.ir.dim_text import format_shape
from tfgraph.ir.dtypes import DType, as_dtype


class Parameter(Operable):
    """A weight: a dtype, a shape, and a handle to its elements, which may be absent.

    `initial` says what it starts from: `"normal"`, `"zeros"` or `"ones"`. A weight that is still absent when its model
    is traced has these numbers in the graph, the same ones each time (`initial.py`).
    """

    __slots__ = ("data", "initial")

    def __init__(self, shape: Sequence[int], dtype: object = "float32", initial: str = "normal") -> None:
        for size in shape:
            if not isinstance(size, int) or size < 0:
                raise ShapeError(f"a parameter of shape {list(shape)} cannot be: {size!r} is not a fixed size")
        self.data: Constant = AbsentConstant(as_dtype(dtype), shape)
        self.initial = initial

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.data.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.data.shape

    def in_trace(self, trace: Trace) -> Tensor:
        return trace.parameter(self)

    def in_graph(self, path: str) -> Constant:
        """What the graph holds for the parameter at `path`: its elements, or the ones that it starts from."""
        return self.data if self.data.has_data else InitialConstant(path, self.dtype, self.shape, self.initial)

    def __repr__(self) -> str:
        return f"Parameter({self.dtype}{list(self.shape)}{'' if self.data.has_data else ', absent'})"


class Buffer(Operable):
    """A constant that follows from the settings of a module, such as a table of sines: no weight, in no state dict."""

    __slots__ = ("data",)

    def __init__(self, data: Constant) -> None:
        self.data = data

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.data.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.data.shape

    def in_trace(self, trace: Trace) -> Tensor:
        return trace.parameter(self)

    def in_graph(self, path: str) -> Constant:
        """What the graph holds for the buffer."""
        return self.data

    def __repr__(self) -> str:
        return f"Buffer({self.dtype}{list(self.shape)})"


class Module:
    """A part of a model. Subclasses declare parts in `__init__` and compute in `forward`."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; tensors in, tensors out."""
        raise TraceError(f"{type(self).__name__} has no forward(): define what it computes")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with current_trace().inside(self):
            return self.forward(*args, **kwargs)

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one, with their attribute names."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list | tuple | dict) and _holds_modules(value):
                kind = type(value).__name__
                raise TraceError(
                    f"{type(self).__name__}.{name} is a {kind} of modules, whose parameters would not be found: "
                    "make it a ModuleList"
                )

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, depth first, each with its path; a shared one appears at each of its paths."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths; a shared one appears once, at its first path."""
        seen: set[int] = set()
        for path, parameter in self.all_parameter_paths():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield path, parameter

    def all_parameter_paths(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with all their paths: a shared one appears at each."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield f"{prefix}.{name}" if prefix else name, value

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """All buffers with all their paths: a shared one appears at each."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Buffer):
                    yield f"{prefix}.{name}" if prefix else name, value

    def num_parameters(self) -> int:
        """Number of weights, shared ones counted once."""
        return sum(parameter.data.size for _, parameter in self.named_parameters())

    def state_dict(self) -> dict[str, Constant]:
        """The handles of all weights by path; a shared weight appears once."""
        return {path: parameter.data for path, parameter in self.named_parameters()}

    def load_state_dict(self, weights: Mapping[str, Constant | np.ndarray[Any, Any]]) -> None:
        """Take the weights of `weights`, by path. All are checked before any is taken.

        Raises:
            CheckpointError: a weight is missing, unknown, or of another shape; all such are listed.
        """
        parameters = dict(self.named_parameters())
        handles = {
            path: given if isinstance(given, Constant) else ArrayConstant(given) for path, given in weights.items()
        }
        problems = [f"missing: {path}" for path in parameters if path not in handles]
        problems += [f"unknown: {path}" for path in handles if path not in parameters]
        for path, parameter in parameters.items():
            if path in handles and handles[path].shape != parameter.shape:
                found, wanted = format_shape(handles[path].shape), format_shape(parameter.shape)
                problems.append(f"{path}: has shape {found}, and the model needs {wanted}")
        if problems:
            shown = "\n  ".join(problems[:12])
            more = f"\n  and {len(problems) - 12} more" if len(problems) > 12 else ""
            raise CheckpointError(f"these weights do not fit {type(self).__name__}:\n  {shown}{more}")
        for path, parameter in parameters.items():
            parameter.data = _with_dtype(handles[path], parameter.dtype)

    def init_weights(self, seed: int = 0, scale: float = SCALE) -> None:
        """Fill every absent weight: normal ones from N(0, scale^2), in the order of the paths; the rest as declared."""
        generator = np.random.default_rng(seed)
        for _, parameter in self.named_parameters():
            if parameter.data.has_data:
                continue
            array = initial_array(parameter.shape, parameter.initial, generator, scale)
            parameter.data = ArrayConstant(array, parameter.dtype)

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={type(child).__name__}" for name, child in self.children())
        return f"{type(self).__name__}({inner})"


def _holds_modules(value: list[Any] | tuple[Any, ...] | dict[Any, Any]) -> bool:
    return any(isinstance(part, Module) for part in (value.values() if isinstance(value, dict) else value))


def _with_dtype(constant: Constant, dtype: DType) -> Constant:
    from tfgraph.ir.transforms import cast

    return cast(constant, dtype)


M = TypeVar("M", bound=Module)


class ModuleList(Module, Generic[M]):
    """A list of modules, named by their positions."""

    def __init__(self, modules: Iterable[M] = ()) -> None:
        self.modules: list[M] = list(modules)

    def children(self) -> Iterator[tuple[str, Module]]:
        """The members, named `0`, `1`, …"""
        for index, module in enumerate(self.modules):
            yield str(index), module

    def append(self, module: M) -> None:
        """Add a member at the end."""
        self.modules.append(module)

    def __iter__(self) -> Iterator[M]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)

    def __getitem__(self, index: int) -> M:
        return self.modules[index]
