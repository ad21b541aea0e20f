"""Runs with a cache of fixed length, which the model writes into in place: one buffer is its past and its present.

For models whose cache grows with each run, see `cache.py`. What the runs are for is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfgraph.backends.interface import TensorSpec
from tfgraph.backends.onnxruntime.binding import Binding
from tfgraph.backends.onnxruntime.cache import PAST, PRESENT
from tfgraph.errors import InputError
from tfgraph.ir.constant import Array

_CAPACITY_AXIS = 2  # of [batch, kv_heads, capacity, head_dim]
_SHORTEST = 256  # positions that a cache of any length begins with

Bind = Callable[[Mapping[str, Any], Mapping[str, Array]], Binding]


class FixedCache:
    """A session's cache of keys and values, one buffer [batch, kv_heads, capacity, head_dim] each.

    Made by `Session.fixed_cache`. Which positions of a row are in use is the caller's to know. Empty, with no rows,
    until `reset`.

    Attributes:
        capacity: the positions that the model's cache has; None where it takes any number: `make_room` says how many.
    """

    def __init__(
        self, bind: Bind, input_specs: Mapping[str, TensorSpec], output_specs: Mapping[str, TensorSpec]
    ) -> None:
        self._bind = bind
        self._specs = {name: spec for name, spec in input_specs.items() if name.startswith(PAST)}
        lacking = [name for name in map(_present, self._specs) if name not in output_specs]
        lengths = {_length(spec) for spec in self._specs.values()}
        grows = any(_length(output_specs[name]) not in lengths for name in map(_present, self._specs) if not lacking)
        if lacking or grows or lengths in (set(), {None}):
            found = f"gives no '{lacking[0]}'" if lacking else f"takes no '{PAST}0.key' of a fixed length"
            raise InputError(f"the model {found}, so that it has no cache to write into")
        [length] = lengths if len(lengths) == 1 else [None]
        self.capacity: int | None = length if isinstance(length, int) else None
        self._results = [name for name in output_specs if not name.startswith(PRESENT)]
        self._buffers: dict[str, Array] = {}
        self._binding: Binding | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self._first()) if self._buffers else 0

    @property
    def length(self) -> int:
        """Number of positions that the buffers have."""
        return int(self._first().shape[_CAPACITY_AXIS]) if self._buffers else self.capacity or 0

    def reset(self, rows: int) -> None:
        """Hold so many rows of zeros; buffers of that many are used again.

        Zeros, since what a model masks it still multiplies by 0: a NaN that an earlier run left there would stay one.
        """
        if self.rows != rows:
            length = self.length or _SHORTEST
            self._replace(
                {name: np.zeros(_shape(spec, rows, length), spec.dtype.numpy()) for name, spec in self._specs.items()}
            )
        else:
            for buffer in self._buffers.values():
                buffer.fill(0)

    def make_room(self, positions: int) -> None:
        """Have at least so many positions, by buffers twice as long, or longer, that begin with what is held.

        Raises:
            InputError: the model's cache has fewer.
        """
        if positions <= self.length:
            return
        if self.capacity is not None:
            raise InputError(f"the model's cache has {self.capacity} positions, and {positions} are asked for")
        length = max(positions, 2 * self.length)
        longer = {}
        for name, buffer in self._buffers.items():
            longer[name] = np.zeros(_shape(self._specs[name], len(buffer), length), buffer.dtype)
            longer[name][:, :, : buffer.shape[_CAPACITY_AXIS]] = buffer
        self._replace(longer)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Run the model on `inputs`, arrays by name without the cache, which it writes into.

        Returns the other outputs by name; the next run may write over them.

        Raises:
            InputError: an input is missing or unknown, or has a wrong dtype or shape.
            TargetError: ONNX Runtime failed while it ran.
        """
        bound = self._binding
        if bound is not None and _fit(bound.inputs, inputs, self._specs):
            for name, array in inputs.items():
                bound.update(name, array)
        else:
            owned = {name: np.array(array) for name, array in inputs.items()}  # written over by the next run
            presents = {_present(name): buffer for name, buffer in self._buffers.items()}
            bound = self._binding = self._bind({**owned, **self._buffers}, presents)
        results = bound.run()
        return {name: results[name] for name in self._results}

    def run_row(self, row: int, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """The same for one row alone: `inputs` have a batch of 1, and its part of the buffers is written into."""
        own = {name: buffer[row : row + 1] for name, buffer in self._buffers.items()}
        bound = self._bind({**inputs, **own}, {_present(name): buffer for name, buffer in own.items()})
        results = bound.run()
        return {name: results[name] for name in self._results}

    def select(self, rows: NDArray[np.int64], positions: int | None = None) -> None:
        """Let row i become what row `rows[i]` was, in its first `positions`; in all of them if not given."""
        same = len(rows) == self.rows
        if same and np.array_equal(rows, np.arange(len(rows))):
            return
        used = slice(positions)
        chosen = {name: buffer[:, :, used][rows] for name, buffer in self._buffers.items()}
        if not same:
            length = self.length
            self._replace(
                {
                    name: np.zeros(_shape(self._specs[name], len(rows), length), buffer.dtype)
                    for name, buffer in self._buffers.items()
                }
            )
        for name, buffer in self._buffers.items():
            buffer[:, :, used] = chosen[name]

    def _first(self) -> Array:
        return next(iter(self._buffers.values()))

    def _replace(self, buffers: dict[str, Array]) -> None:
        self._buffers, self._binding = buffers, None


def _length(spec: TensorSpec) -> Any:
    """The size of a cache's axis of positions: a number or a symbol; None where it is not known."""
    return None if spec.shape is None or len(spec.shape) <= _CAPACITY_AXIS else spec.shape[_CAPACITY_AXIS]


def _shape(spec: TensorSpec, rows: int, length: int) -> tuple[int, ...]:
    dims = [rows, *(spec.shape or ())[1:]]
    dims[_CAPACITY_AXIS] = length
    return tuple(dim for dim in dims if isinstance(dim, int))


def _fit(bound: Mapping[str, Array], inputs: Mapping[str, Any], cache: Mapping[str, TensorSpec]) -> bool:
    """Whether `inputs` are all that is bound besides the cache, and of the shapes that are bound."""
    return len(inputs) + len(cache) == len(bound) and all(
        name in bound and np.shape(array) == bound[name].shape for name, array in inputs.items()
    )


def _present(past: str) -> str:
    return PRESENT + past.removeprefix(PAST)
