"""Runs that pass a cache on: what a model gives as `present.…` it takes as `past_key_values.…` in its next run.

The cache stays in ONNX Runtime's memory between runs: nothing is copied to Python and back. What the runs are for is
not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tfgraph.backends.interface import TensorSpec, check_inputs
from tfgraph.backends.onnxruntime.errors import runtime_errors_as
from tfgraph.backends.onnxruntime.values import from_ort_value, to_ort_value
from tfgraph.errors import InputError, TargetError
from tfgraph.ir.constant import Array

PAST: Final = "past_key_values."
PRESENT: Final = "present."
_LENGTH_AXIS: Final = 2  # of [batch, kv_heads, past, head_dim]


class GrowingCache:
    """A session's cache of keys and values, one [batch, kv_heads, past, head_dim] each, longer after each run.

    What else is the same in every run, such as what a decoder attends to, can be held. Made by `Session.growing_cache`.
    Empty, with no rows, until `reset`.
    """

    def __init__(
        self, session: Any, input_specs: Mapping[str, TensorSpec], output_specs: Mapping[str, TensorSpec]
    ) -> None:
        self._session = session
        self._specs = {name: spec for name, spec in input_specs.items() if name.startswith(PAST)}
        self._others = {name: spec for name, spec in input_specs.items() if name not in self._specs}
        self._results = {name: spec for name, spec in output_specs.items() if not name.startswith(PRESENT)}
        self._presents = {name: PRESENT + name.removeprefix(PAST) for name in self._specs}
        lacking = [present for present in self._presents.values() if present not in output_specs]
        if not self._specs or lacking:
            what = f"gives no '{lacking[0]}'" if lacking else f"takes no '{PAST}0.key'"
            raise InputError(f"the model {what}, so that it has no cache to pass on")
        self._outputs = [*self._results, *self._presents.values()]
        self._values: dict[str, Any] = {}
        self._held: dict[str, Any] = {}

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self._shape()[0]) if self._values else 0

    @property
    def length(self) -> int:
        """Number of positions that each row holds, padding included."""
        return int(self._shape()[_LENGTH_AXIS]) if self._values else 0

    def reset(self, rows: int) -> None:
        """Forget everything, and keep so many rows of length 0."""
        values = {}
        for name, spec in self._specs.items():
            shape = [dim if isinstance(dim, int) else 0 for dim in spec.shape or ()]
            values[name] = to_ort_value(np.zeros([rows, *shape[1:]], spec.dtype.numpy()), spec.dtype)
        self._values = values

    def hold(self, inputs: Mapping[str, Any]) -> None:
        """Give `inputs` to every run from now on, beside its own: checked and converted once, instead of those before.

        Raises:
            InputError: an input is unknown, or has a wrong dtype or shape.
        """
        specs = {name: spec for name, spec in self._others.items() if name in inputs}
        arrays, _ = check_inputs(specs if len(specs) == len(inputs) else self._others, inputs)
        self._held = {name: to_ort_value(array, specs[name].dtype) for name, array in arrays.items()}

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Run the model on `inputs`, arrays by name without the cache and what is held, and keep the cache it gives.

        Returns the other outputs by name.

        Raises:
            InputError: an input is missing or unknown, or has a wrong dtype or shape.
            TargetError: ONNX Runtime failed while it ran; the cache is as it was.
        """
        specs = {name: spec for name, spec in self._others.items() if name not in self._held}
        arrays, _ = check_inputs(specs, inputs)
        own = {name: to_ort_value(array, specs[name].dtype) for name, array in arrays.items()}
        feeds = {**own, **self._held, **self._values}
        with runtime_errors_as(TargetError, "ONNX Runtime failed while it ran the model"):
            found = dict(zip(self._outputs, self._session.run_with_ort_values(self._outputs, feeds), strict=True))
        self._values = {name: found[present] for name, present in self._presents.items()}
        return {name: from_ort_value(found[name], spec.dtype) for name, spec in self._results.items()}

    def select(self, rows: NDArray[np.int64]) -> None:
        """Let row i become what row `rows[i]` was."""
        self._edit(lambda array: array[rows])

    def keep(self, length: int) -> None:
        """Forget all positions but the first `length`."""
        if length < self.length:
            self._edit(lambda array: array[:, :, :length])

    def _edit(self, change: Any) -> None:
        values = {}
        for name, spec in self._specs.items():
            array = np.ascontiguousarray(change(from_ort_value(self._values[name], spec.dtype)))
            values[name] = to_ort_value(array, spec.dtype)
        self._values = values  # at once: stopped in between, the cache is as it was

    def _shape(self) -> Any:
        return next(iter(self._values.values())).shape()
