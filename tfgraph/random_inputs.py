"""Random inputs that a graph can run on: indices stay inside their tables, masks keep at least one position a row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfgraph.errors import InputError
from tfgraph.ir.constant import Array
from tfgraph.ir.dims import Dim, Shape, substitute, symbols_of
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Value

_CARRIES_INDICES = frozenset({"Cast", "Reshape", "Unsqueeze", "Squeeze", "Identity", "Expand", "Flatten"})
_DEFAULT_SIZES = (2, 5, 3, 7, 4, 6)


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
    return {name: _DEFAULT_SIZES[index % len(_DEFAULT_SIZES)] for index, name in enumerate(names)}


def random_inputs(graph: Graph, sizes: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, Array]:
    """An array for each input of `graph`.

    Floats come from a standard normal distribution. Integers that index a table are valid for it; other integers, and
    booleans, are 0 or 1, with the first position of the last axis 1.

    Raises:
        InputError: an input has an unknown rank, or a size that `sizes` does not settle.
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
    if array.ndim:
        array[..., :1] = 1
    return array.astype(value.dtype.numpy())


def _fixed(value: Value, sizes: Mapping[str, int]) -> tuple[int, ...]:
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
