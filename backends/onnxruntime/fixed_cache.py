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

Bind = Callable[[Mapping[str, Any], Mapping[str, Array]], Binding]


class FixedCache:
    """A session's cache of keys and values, one buffer [batch, kv_heads, capacity, head_dim] each.

    Made by `Session.fixed_cache`. Which positions of a row are in use is the caller's to know. Empty, with no rows,
    until `reset`.
    """

    def __init__(
        self, bind: Bind, input_specs: Mapping[str, TensorSpec], output_specs: Mapping[str, TensorSpec]
    ) -> None:
        self._bind = bind
        self._specs = {name: spec for name, spec in input_specs.items() if name.startswith(PAST)}
        first = next(iter(self._specs.values()), None)
        capacity = None if first is None or first.shape is None else first.shape[_CAPACITY_AXIS]
        lacking = [name for name in map(_present, self._specs) if name not in output_specs]
        if lacking or not isinstance(capacity, int):
            found = f"gives no '{lacking[0]}'" if lacking else f"takes no '{PAST}0.key' of a fixed length"
            raise InputError(f"the model {found}, so that it has no cache to write into")
        self.capacity: int = capacity
        self._buffers: dict[str, Array] = {}
        self._binding: Binding | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self._buffers.values()))) if self._buffers else 0

    def reset(self, rows: int) -> None:
        """Hold so many rows of zeros; buffers of that many are used again.

        Zeros, since what a model masks it still multiplies by 0: a NaN that an earlier run left there would stay one.
        """
        if self.rows != rows:
            self._replace(
                {name: np.zeros(self._shape(spec, rows), spec.dtype.numpy()) for name, spec in self._specs.items()}
            )
        else:
            for buffer in self._buffers.values():
                buffer.fill(0)

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
        return {name: array for name, array in results.items() if not name.startswith(PRESENT)}

    def select(self, rows: NDArray[np.int64]) -> None:
        """Let row i become what row `rows[i]` was."""
        chosen = {name: np.ascontiguousarray(buffer[rows]) for name, buffer in self._buffers.items()}
        if len(rows) != self.rows:
            self._replace(chosen)
        else:
            for name, buffer in self._buffers.items():
                buffer[...] = chosen[name]

    def _replace(self, buffers: dict[str, Array]) -> None:
        self._buffers, self._binding = buffers, None

    def _shape(self, spec: TensorSpec, rows: int) -> tuple[int, ...]:
        return (rows, *(dim for dim in (spec.shape or ())[1:] if isinstance(dim, int)))


def _fit(bound: Mapping[str, Array], inputs: Mapping[str, Any], cache: Mapping[str, TensorSpec]) -> bool:
    """Whether `inputs` are all that is bound besides the cache, and of the shapes that are bound."""
    return len(inputs) + len(cache) == len(bound) and all(
        name in bound and np.shape(array) == bound[name].shape for name, array in inputs.items()
    )


def _present(past: str) -> str:
    return PRESENT + past.removeprefix(PAST)
