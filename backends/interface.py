"""The inputs and outputs of something that runs, and checking what a caller gives before it runs.

Every session has `inputs` and `outputs` of these, and reports a wrong input in the same words, whatever would run it.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from tfgraph.errors import DTypeError, InputError
from tfgraph.ir.constant import Array
from tfgraph.ir.dim_text import format_dim
from tfgraph.ir.dims import Dim, Expr, Symbol, substitute, symbols_of
from tfgraph.ir.dtypes import DType, as_dtype


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The declared type of an input or output.

    `shape` has None for a size that can be anything, and is None itself where not even the rank is declared. What is no
    tensor has in `containers` what its tensors are in, the outermost first: `("optional", "sequence")`.
    """

    name: str
    dtype: DType
    shape: tuple[Dim | None, ...] | None
    containers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self._contained(f'{self.dtype}{self.shape_text}')}"

    @property
    def dtype_text(self) -> str:
        """The element type, in the containers if there are any: `sequence<float32>`."""
        return self._contained(str(self.dtype))

    def _contained(self, text: str) -> str:
        return f"{''.join(f'{container}<' for container in self.containers)}{text}{'>' * len(self.containers)}"

    def element(self, index: int) -> TensorSpec:
        """The specification of an element of a sequence."""
        return replace(self, name=f"{self.name}[{index}]", containers=self.containers[1:])

    @property
    def shape_text(self) -> str:
        """The shape as `[batch, seq, 64]`."""
        if self.shape is None:
            return "[...]"
        return f"[{', '.join('?' if dim is None else format_dim(dim) for dim in self.shape)}]"


def check_inputs(
    specs: Mapping[str, TensorSpec], given: Mapping[str, Any], may_be_empty: Iterable[str] = ()
) -> tuple[dict[str, Array], dict[str, int]]:
    """The inputs of a run as arrays, in the order of `specs`, and the sizes that they give to symbols.

    Arrays must have the declared dtype: nothing is cast silently. Python numbers and lists have none, and take it if
    they fit. An axis may have size 0 only if its symbol is in `may_be_empty` or starts with `past`, as the length of a
    cache. A sequence is a list of arrays, and an optional value that is missing is None.

    Raises:
        InputError: an input is missing or unknown, has a wrong dtype, rank or size, or gives a symbol another size than
            an input before it.
    """
    _check_names(specs, given)
    arrays = {name: _as_given(spec, given[name]) for name, spec in specs.items()}
    shapes = {name: array.shape for name, array in arrays.items() if isinstance(array, np.ndarray)}
    return arrays, check_shapes(specs, shapes, may_be_empty)


def _check_names(specs: Mapping[str, TensorSpec], given: Mapping[str, Any]) -> None:
    if given.keys() == specs.keys():
        return
    expected = ", ".join(str(spec) for spec in specs.values()) or "none"
    for name in given:
        if name not in specs:
            near = difflib.get_close_matches(str(name), specs, n=1)
            hint = f": did you mean '{near[0]}'?" if near else "."
            raise InputError(f"the model has no input '{name}'{hint} Its inputs are: {expected}")
    missing = [name for name in specs if name not in given]
    names = ", ".join(f"'{name}'" for name in missing)
    raise InputError(f"missing input{'s' if len(missing) > 1 else ''} {names}: the model takes {expected}")


def _as_given(spec: TensorSpec, given: Any) -> Any:
    """`given` as an array; as a list of them for a sequence, and as None for an optional value that is missing."""
    match spec.containers:
        case ():
            return _as_array(spec, given)
        case ("optional", *rest):
            return None if given is None else _as_given(replace(spec, containers=tuple(rest)), given)
    if not isinstance(given, list | tuple):
        raise InputError(f"input '{spec.name}' is {type(given).__name__}: expected a list of arrays for {spec}")
    return [_as_given(spec.element(index), item) for index, item in enumerate(given)]


def _as_array(spec: TensorSpec, given: Any) -> Array:
    """`given` as an array of the declared dtype, in memory order; not copied if it is one already."""
    if type(given) is np.ndarray and given.dtype == spec.dtype.numpy() and spec.dtype is not DType.STRING:
        return given if given.flags.c_contiguous else np.ascontiguousarray(given)
    typed = hasattr(given, "dtype") or isinstance(given, np.ndarray)
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"input '{spec.name}' is no array: {error}") from None
    if array.dtype.kind == "O" and spec.dtype is not DType.STRING:
        raise InputError(
            f"input '{spec.name}' is {type(given).__name__} of mixed or ragged elements: expected numbers, in rows of "
            f"one length, for {spec}"
        )
    found = _dtype_of(spec, array)
    if found is not spec.dtype:
        array = _convert(spec, array, found) if not typed else _refuse_dtype(spec, found)
    if spec.dtype is DType.STRING:
        return array.astype(object)
    return np.require(array, dtype=spec.dtype.numpy(), requirements="C")


def _dtype_of(spec: TensorSpec, array: Array) -> DType:
    try:
        return as_dtype(array.dtype)
    except DTypeError:
        raise InputError(f"input '{spec.name}' is an array of {array.dtype}, and {spec.dtype} is expected") from None


def _refuse_dtype(spec: TensorSpec, found: DType) -> Array:
    wanted = f'"{spec.dtype}"' if is_numpy_s_own(spec.dtype) else f"ml_dtypes.{spec.dtype}"
    wanted = "object" if spec.dtype is DType.STRING else wanted
    advice = f"convert it: {spec.name}.astype({wanted})"
    raise InputError(f"input '{spec.name}' is {found}, and {spec.dtype} is expected: {advice}")


def is_numpy_s_own(dtype: DType) -> bool:
    """Whether numpy has the element type by itself, and not from `ml_dtypes`."""
    return dtype.numpy().isbuiltin == 1


def _convert(spec: TensorSpec, array: Array, found: DType) -> Array:
    """Numbers without a dtype of their own, in the declared one, if that changes none of them."""
    if array.size == 0:
        return array.astype(spec.dtype.numpy())
    loses = spec.dtype is DType.STRING or found is DType.STRING or (found.is_float and not spec.dtype.is_float)
    if not loses and not spec.dtype.is_float:
        with np.errstate(all="ignore"):
            loses = bool(np.any(array.astype(spec.dtype.numpy()).astype(array.dtype) != array))
    if loses:
        raise InputError(f"input '{spec.name}' has elements that are no {spec.dtype}, as {spec} expects")
    return array.astype(spec.dtype.numpy())


def check_shapes(
    specs: Mapping[str, TensorSpec], shapes: Mapping[str, Sequence[int]], may_be_empty: Iterable[str] = ()
) -> dict[str, int]:
    """The sizes that shapes give to the symbols of declared ones.

    Raises:
        InputError: a rank or a size differs from what is declared, or from what an earlier input gave, or is 0.
    """
    sizes: dict[str, int] = {}
    first: dict[str, str] = {}
    derived: list[tuple[str, int, Expr, int]] = []
    allowed = frozenset(may_be_empty)
    for name, shape in shapes.items():
        declared = specs[name].shape
        if declared is None:
            continue
        if len(shape) != len(declared):
            raise InputError(
                f"input '{name}' has shape {list(shape)}, of rank {len(shape)}: expected rank {len(declared)}, "
                f"{specs[name].shape_text}"
            )
        for axis, (size, dim) in enumerate(zip(shape, declared, strict=True)):
            symbol = _symbol_of(dim)
            if size == 0 and dim != 0 and not _may_be_empty(dim, allowed):
                raise InputError(f"input '{name}' has shape {list(shape)}: axis {axis} is empty, expected 1 or more")
            if isinstance(dim, int) and size != dim:
                raise InputError(
                    f"input '{name}' has shape {list(shape)}: axis {axis} is {size}, expected {dim} "
                    f"({specs[name].shape_text})"
                )
            if symbol is not None and sizes.setdefault(symbol, size) != size:
                raise InputError(
                    f"input '{name}' has {symbol}={size} (axis {axis} of {list(shape)}) where '{first[symbol]}' has "
                    f"{symbol}={sizes[symbol]}: both must be the same"
                )
            if symbol is not None:
                first.setdefault(symbol, name)
            elif isinstance(dim, Expr):
                derived.append((name, axis, dim, size))
    for name, axis, expression, size in derived:
        expected = substitute(expression, sizes)
        if isinstance(expected, int) and expected != size:
            raise InputError(
                f"input '{name}' has shape {list(shapes[name])}: axis {axis} is {size}, expected {expression} = "
                f"{expected} with {', '.join(f'{symbol}={value}' for symbol, value in sizes.items())}"
            )
    return sizes


def _symbol_of(dim: Dim | None) -> str | None:
    """The name of the symbol that `dim` is, None for anything else."""
    match dim:
        case Expr(terms=(((Symbol(name=name),), 1),)):
            return str(name)
    return None


def _may_be_empty(dim: Dim | None, allowed: frozenset[str]) -> bool:
    """Whether a size of 0 is let through: it is undeclared, arithmetic that may be 0, or the length of a cache."""
    name = _symbol_of(dim)
    return name is None or name in allowed or name.startswith("past")


def output_names(specs: Mapping[str, TensorSpec], wanted: Sequence[str] | None) -> list[str]:
    """The names of the outputs to compute: those wanted, or all.

    Raises:
        InputError: the model has no such output.
    """
    if wanted is None:
        return list(specs)
    for name in wanted:
        if name not in specs:
            near = difflib.get_close_matches(str(name), specs, n=1)
            hint = f": did you mean '{near[0]}'?" if near else "."
            raise InputError(f"the model has no output '{name}'{hint} Its outputs are: {', '.join(specs) or 'none'}")
    return list(wanted)


def example_inputs(specs: Mapping[str, TensorSpec], sizes: Mapping[str, int]) -> dict[str, Array]:
    """Inputs of zeros, with the given sizes of symbols (1 where none is given); sequences and optional ones are empty.

    Raises:
        InputError: a symbol that no input has, or a size below 0.
    """
    known = {name for spec in specs.values() for dim in spec.shape or () if dim is not None for name in symbols_of(dim)}
    for name, size in sizes.items():
        if name not in known or size < 0:
            names = ", ".join(sorted(known)) or "none, all are fixed"
            raise InputError(f"no size {name}={size} can be given: expected sizes of 0 or more for {names}")
    filled: dict[str, Dim] = {name: sizes.get(name, 1) for name in known}
    arrays: dict[str, Any] = {}
    for name, spec in specs.items():
        if spec.containers:
            arrays[name] = [] if spec.containers[0] == "sequence" else None
            continue
        shape = [1 if dim is None else substitute(dim, filled) for dim in spec.shape or ()]
        fill = "" if spec.dtype is DType.STRING else 0
        arrays[name] = np.full([dim if isinstance(dim, int) else 1 for dim in shape], fill, dtype=spec.dtype.numpy())
    return arrays


class RunsArrays(ABC):
    """What every session has: its inputs and outputs by name, runs over arrays, and runs over zeros.

    A subclass fills `_inputs` and `_outputs` and defines `run`.
    """

    _inputs: dict[str, TensorSpec]
    _outputs: dict[str, TensorSpec]

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """The inputs by name, in the model's order."""
        return MappingProxyType(self._inputs)

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """The outputs by name, in the model's order."""
        return MappingProxyType(self._outputs)

    @abstractmethod
    def run(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The results by name, for arrays by name."""

    def example_inputs(self, sizes: Mapping[str, int] | None = None) -> dict[str, Array]:
        """Inputs of zeros, with the sizes given for symbols (1 where none is given).

        Raises:
            InputError: a symbol that no input has, or a size below 0.
        """
        return example_inputs(self._inputs, sizes or {})

    def warm_up(self, sizes: Mapping[str, int] | None = None, *, runs: int = 1) -> None:
        """Run on zeros, so that the first real run does not pay for allocations and, on a GPU, for compiling kernels.

        Raises:
            InputError: as `example_inputs` does.
        """
        inputs = self.example_inputs(sizes)
        for _ in range(runs):
            self.run(inputs)
