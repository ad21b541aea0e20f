"""Random inputs that a graph can run on: indices stay inside their tables, masks keep at least one position a row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfgraph.errors import InputError
from tfgraph.ir.constant import Array
from tfgraph.ir.dims import Dim, Shape, substitute, symbols_of
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Value
from tfgraph.ir.types import ContainerType

_CARRIES_INDICES = frozenset({"Cast", "Reshape", "Unsqueeze", "Squeeze", "Identity", "Expand", "Flatten"})
_DEFAULT_SIZES = (2, 5, 3, 7, 4, 6)
_CAPACITY = 16
_WRITERS = {"TensorScatter": (0, (2,)), "com.microsoft::GroupQueryAttention": (3, (5, 6))}
"""Operators that write into a cache: which operand it is, and which say from where on."""
_COUNTS_ON = frozenset({"Add", "Sub", "ReduceMax", *_CARRIES_INDICES})


def free_symbols(graph: Graph) -> list[str]:
    """The names of the sizes that the graph's inputs leave open, in order of appearance."""
    names: dict[str, None] = {}
    for value in graph.inputs.values():
        for dim in value.type.known_shape or ():
            names.update(dict.fromkeys(symbols_of(dim)))
    return list(names)


def sizes_by_part(graphs: Mapping[str, Graph], sizes: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """For each graph of a model the `sizes` that are its own.

    A name that none of them has is given to all, for whoever takes them to refuse.
    """
    own = {part: set(free_symbols(graph)) for part, graph in graphs.items()}
    known = set[str]().union(*own.values())
    return {
        part: {name: size for name, size in sizes.items() if name in names or name not in known}
        for part, names in own.items()
    }


def default_sizes(graph: Graph) -> dict[str, int]:
    """A small size for each open one; no two neighbours are equal, so that mixed-up axes show."""
    names = free_symbols(graph)
    sizes = {name: _DEFAULT_SIZES[index % len(_DEFAULT_SIZES)] for index, name in enumerate(names)}
    for node in graph:
        cache = node.input(_WRITERS[node.key][0]) if node.key in _WRITERS else None
        if cache is not None and cache.producer is None and (cache.type.known_shape or ())[2:3]:
            sizes.update(dict.fromkeys(symbols_of(cache.shape[2]), _CAPACITY))
    return sizes


def random_inputs(graph: Graph, sizes: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, Array]:
    """An array for each input of `graph`.

    Floats come from a standard normal distribution. Integers that index a table are valid for it; other integers, and
    booleans, are 0 or 1, with the first position of the last axis 1. The positions at which a cache is
    written into are 0: with others, kernels take several tokens of one row only.

    Raises:
        InputError: an input is no tensor, has an unknown rank, or a size that `sizes` does not settle.
    """
    settled = {**default_sizes(graph), **(sizes or {})}
    generator = np.random.default_rng(seed)
    return {name: _random(value, settled, generator) for name, value in graph.inputs.items()}


def _random(value: Value, sizes: Mapping[str, int], generator: np.random.Generator) -> Array:
    shape = _fixed(value, sizes)
    if value.dtype.is_float:
        return generator.standard_normal(shape, np.float32).astype(value.dtype.numpy())
    if value.dtype is DType.STRING:
        raise InputError(f"input '{value.name}' is text: random inputs are numbers only; give the inputs yourself")
    bound = _table_size(value)
    if bound is not None:
        return generator.integers(0, bound, shape).astype(value.dtype.numpy())
    array = generator.integers(0, 2, shape)
    if _is_write_position(value):
        array[...] = 0
    elif array.ndim:
        array[..., :1] = 1
    return array.astype(value.dtype.numpy())


def _fixed(value: Value, sizes: Mapping[str, int]) -> tuple[int, ...]:
    if isinstance(value.type, ContainerType):
        raise InputError(
            f"input '{value.name}' is {value.type}: random inputs are tensors only; give the inputs yourself"
        )
    shape: Shape | None = value.type.known_shape
    if shape is None:
        raise InputError(f"the rank of input '{value.name}' is not known: give the inputs yourself")
    given: dict[str, Dim] = dict(sizes)
    fixed = [substitute(dim, given) for dim in shape]
    if not all(isinstance(dim, int) for dim in fixed):
        raise InputError(f"input '{value.name}' has shape {list(shape)}: give a size for each name")
    return tuple(dim for dim in fixed if isinstance(dim, int))


def _table_size(value: Value) -> int | None:
    """The smallest table that the elements of `value` index, or None where they index none."""
    bounds = []
    waiting, seen = [value], {value}
    while waiting:
        indices = waiting.pop()
        for user in indices.users:
            if user.key in _CARRIES_INDICES and user.input(0) is indices:
                waiting += [result for result in user.outputs if result not in seen]
                seen.update(user.outputs)
            elif user.key == "Gather" and user.input(1) is indices:
                axis = user.attributes.get("axis", 0)
                size = user.required(0).shape[axis if isinstance(axis, int) else 0]
                if isinstance(size, int):
                    bounds.append(size)
    return min(bounds) if bounds else None


def _is_write_position(value: Value) -> bool:
    """Whether `value` says where a cache is written into."""
    waiting, seen = [value], {value}
    while waiting:
        found = waiting.pop()
        for user in found.users:
            if user.key in _WRITERS and any(user.input(index) is found for index in _WRITERS[user.key][1]):
                return True
            if user.key in _COUNTS_ON and user.input(0) is found:
                waiting += [result for result in user.outputs if result not in seen]
                seen.update(user.outputs)
    return False
