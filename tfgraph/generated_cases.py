"""Inputs that two forms of a model are compared on: sizes that vary, and padding masks of every kind.

Random arrays are made in `random_inputs.py`; running and comparing is in `proof.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from tfgraph.errors import InputError
from tfgraph.ir.constant import Array
from tfgraph.ir.dims import Dim, product, substitute
from tfgraph.ir.graph import Graph, Value
from tfgraph.random_inputs import free_symbols, random_inputs

MASKS: Final = ("full", "left", "right", "holes")
"""Kinds of padding: none, at the start of each text, at its end, anywhere."""

_ROWS: Final = ((2, 5, 3, 7, 4, 6), (1, 9, 2, 8, 3, 5), (3, 2, 4, 6, 5, 7), (1, 1, 1, 1, 1, 1))
_HIDDEN: Final = -10_000.0  # what a float mask that is added to scores holds for padding
_MOST_GUESSES: Final = 60
_MOST_ELEMENTS: Final = 2**24  # of all inputs together


@dataclass(frozen=True)
class Case:
    """One run: the arrays, the sizes that settle their shapes, the kind of padding, and the inputs that mark it."""

    inputs: dict[str, Array]
    sizes: Mapping[str, int]
    mask: str
    masks: tuple[Array, ...] = ()

    def text_positions(self, shape: tuple[int, ...]) -> tuple[Array, int] | None:
        """Where a result of that shape is no padding, as booleans over its first axis and the axis that is given too.

        None where no mask says so. A mask that also covers earlier positions (of a cache) counts with its end.
        """
        lengths = {array.shape[1] for array in self.inputs.values() if array.ndim == 2 and array.dtype.kind in "biu"}
        for axis in (2, 1) if len(shape) == 4 else (1,):
            for mask in self.masks:
                if mask.ndim == 2 and len(shape) > axis and shape[axis] in lengths and shape[0] == mask.shape[0]:
                    return mask[:, mask.shape[1] - shape[axis] :] != 0, axis
        return None

    def __str__(self) -> str:
        shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in self.inputs.items())
        return f"{shapes or 'no inputs'}{'' if self.mask == 'none' else f', padding: {self.mask}'}"


def mask_inputs(graph: Graph) -> list[str]:
    """The inputs that hold masks: told by the name, else booleans of at least one axis."""
    return [name for name, value in graph.inputs.items() if _is_mask(name, value)]


def make_cases(graph: Graph, sizes: Mapping[str, int], seed: int = 0) -> Iterator[Case]:
    """Inputs of these sizes, once for each kind of padding; once only where no input holds a mask.

    Raises:
        InputError: an input is of an unknown rank, or holds text, or is too large to be tried.
    """
    _check_extent(graph, sizes)
    masks = mask_inputs(graph)
    for index, kind in enumerate(MASKS if masks else ("none",)):
        generator = np.random.default_rng((seed, index))
        inputs = random_inputs(graph, sizes, seed * len(MASKS) + index)
        for name in masks:
            inputs[name] = _masked(inputs[name], kind, generator)
        yield Case(inputs, dict(sizes), kind, tuple(inputs[name] for name in masks))


def guess_sizes(graph: Graph, row: int) -> Iterator[dict[str, int]]:
    """Sizes for what the graph's inputs leave open, the likeliest first: a model may not run with all of them.

    Small ones of which no two neighbours are equal, so that axes that were mixed up show. Exporters name the sizes of
    each input apart, and tell not which must be equal, or the sum of two others: so guesses take the sizes of each axis
    of integer inputs to be equal, or of all inputs, and then each size in turn, a mask's first, to be a sum.
    """
    names = free_symbols(graph)
    numbers = _ROWS[row % len(_ROWS)]
    plain = {name: numbers[index % len(numbers)] for index, name in enumerate(names)}
    aligned = _aligned(graph, numbers, integers_only=True)
    all_aligned = _aligned(graph, numbers, integers_only=False)
    guesses = [aligned, plain, all_aligned, *_sums(all_aligned, _mask_lengths(graph)), *_sums(all_aligned, names)]
    guesses += [*_sums(plain, names), dict.fromkeys(names, numbers[0])]
    seen: list[dict[str, int]] = []
    for guess in guesses:
        if guess not in seen:
            seen.append(guess)
    yield from seen[:_MOST_GUESSES]


def _mask_lengths(graph: Graph) -> list[str]:
    """The names of the last axes of masks: with a cache, those are sums."""
    open_names = set(free_symbols(graph))
    last = (str((graph.inputs[name].type.known_shape or (0,))[-1]) for name in mask_inputs(graph))
    return [name for name in last if name in open_names]


def _sums(base: Mapping[str, int], names: Iterable[str]) -> list[dict[str, int]]:
    """`base` with one of `names` as the sum of two different other sizes; each size counts once."""
    values = sorted(set(base.values()))
    return [{**base, name: first + second} for name in names for first, second in combinations(values, 2)]


def _check_extent(graph: Graph, sizes: Mapping[str, int]) -> None:
    settled: dict[str, Dim] = dict(sizes)
    total = 0
    for name, value in graph.inputs.items():
        elements = substitute(product(value.type.known_shape or ()), settled)
        total += elements if isinstance(elements, int) else 0
        if total > _MOST_ELEMENTS:
            raise InputError(f"with the input '{name}' there are {total} elements: expected at most {_MOST_ELEMENTS}")


def _is_mask(name: str, value: Value) -> bool:
    shape = value.type.known_shape
    return bool(shape) and ("mask" in name.lower() or str(value.dtype) == "bool")


def _masked(array: Array, kind: str, generator: np.random.Generator) -> Array:
    """A mask of the shape of `array` with padding of that kind along the last axis; each row keeps one position."""
    length = array.shape[-1]
    rows = max(1, array.size // max(1, length))
    kept = np.ones((rows, length), bool)
    for row in range(rows):
        count = (row + 1) % length if length else 0  # so many positions are padding
        if kind == "left":
            kept[row, :count] = False
        elif kind == "right":
            kept[row, length - count :] = False
        elif kind == "holes" and length:
            kept[row] = generator.random(length) < 0.6
            kept[row, generator.integers(length)] = True
    kept = kept.reshape(array.shape)
    if array.dtype.kind not in "biu" and array.ndim > 3:
        return np.where(kept, 0.0, _HIDDEN).astype(array.dtype)
    return kept.astype(array.dtype)


def _aligned(graph: Graph, numbers: tuple[int, ...], integers_only: bool) -> dict[str, int]:
    """Sizes by the axis at which a name first stands: equal for inputs of one rank."""
    chosen: dict[str, int] = {}
    by_axis: dict[tuple[int, int], int] = {}
    for value in graph.inputs.values():
        shape = value.type.known_shape or ()
        for axis, dim in enumerate(shape):
            name = str(dim)
            if isinstance(dim, int) or name not in free_symbols(graph) or name in chosen:
                continue
            alike = value.dtype.is_integer or not integers_only
            key = (len(shape), axis) if alike else (0, len(chosen))
            if axis == 0 and len(shape) > 1:
                key = (1, 0)  # the batch
            by_axis.setdefault(key, numbers[len(by_axis) % len(numbers)])
            chosen[name] = by_axis[key]
    for name in free_symbols(graph):
        chosen.setdefault(name, numbers[len(chosen) % len(numbers)])
    return chosen
