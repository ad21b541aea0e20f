"""Runs over fixed buffers: no copy of the inputs, results written in place.

A cache that the model reads and writes may be one buffer, bound as the past and as the present, where the operator
allows it (`GroupQueryAttention`, `TensorScatter`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfgraph.backends.interface import TensorSpec, check_inputs, check_shapes
from tfgraph.backends.onnxruntime.errors import runtime_errors_as
from tfgraph.backends.onnxruntime.values import from_ort_value, to_ort_value
from tfgraph.errors import InputError, TargetError
from tfgraph.ir.constant import Array
from tfgraph.ir.dims import substitute
from tfgraph.ir.dtypes import DType


class Binding:
    """Inputs and outputs of a session tied to buffers; made by `Session.bind`.

    Write into `inputs[name]` (with `[...] =`, or `update`), call `run`, and read what it returns. An input array in C
    order and of the right dtype is used as it is; anything else is copied once. Outputs whose sizes follow from the
    inputs' have a buffer too; other outputs are made afresh by each run.
    """

    def __init__(
        self,
        session: Any,
        input_specs: Mapping[str, TensorSpec],
        output_specs: Mapping[str, TensorSpec],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Array],
        may_be_empty: frozenset[str],
    ) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._output_specs = output_specs
        self._fixed: dict[str, Array] = {}
        self.inputs, sizes = check_inputs(input_specs, inputs, may_be_empty)
        self._values = {name: to_ort_value(array, input_specs[name].dtype) for name, array in self.inputs.items()}
        unknown = [name for name in outputs if name not in output_specs]
        if unknown:
            raise InputError(f"the model has no output '{unknown[0]}': its outputs are {', '.join(output_specs)}")
        for name, spec in output_specs.items():
            buffer = outputs.get(name)
            if buffer is None:
                shape = _known_shape(spec, sizes)
                buffer = None if shape is None else np.zeros(shape, dtype=spec.dtype.numpy())
            else:
                _check_buffer(spec, buffer, sizes)
            if buffer is not None:
                self._fixed[name] = buffer
        with runtime_errors_as(TargetError, "ONNX Runtime cannot bind the buffers"):
            for name, value in self._values.items():
                self._binding.bind_ortvalue_input(name, value)
            for name, buffer in self._fixed.items():
                self._values[f"output {name}"] = value = to_ort_value(buffer, output_specs[name].dtype)
                self._binding.bind_ortvalue_output(name, value)

    def update(self, name: str, array: Any) -> None:
        """Copy new numbers into the buffer of an input.

        Raises:
            InputError: the model has no such input, or the shape or dtype is another one.
        """
        if name not in self.inputs:
            raise InputError(f"the model has no input '{name}': its inputs are {', '.join(self.inputs)}")
        buffer = self.inputs[name]
        given = np.asarray(array)
        if given.shape != buffer.shape or not np.can_cast(given.dtype, buffer.dtype, "same_kind"):
            raise InputError(
                f"input '{name}' is bound to {buffer.dtype}{list(buffer.shape)}, and {given.dtype}{list(given.shape)} "
                "was given: bind again for other shapes"
            )
        buffer[...] = given

    def run(self) -> dict[str, Array]:
        """Run the model on what the buffers hold, and return the outputs: the buffers themselves where they are fixed.

        Raises:
            TargetError: ONNX Runtime failed while it ran.
        """
        with runtime_errors_as(TargetError, "ONNX Runtime failed while it ran the model"):
            if len(self._fixed) == len(self._output_specs):
                self._session.run_with_iobinding(self._binding)
                return dict(self._fixed)
            for name in self._output_specs:
                if name not in self._fixed:  # else the result of the last run is taken for a buffer of its size
                    self._binding.bind_output(name, "cpu")
            self._session.run_with_iobinding(self._binding)
            results = zip(self._output_specs.values(), self._binding.get_outputs(), strict=True)
            return {
                spec.name: self._fixed[spec.name] if spec.name in self._fixed else from_ort_value(value, spec.dtype)
                for spec, value in results
            }


def _known_shape(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    """The shape of an output where it follows from the inputs', else None."""
    if spec.shape is None or spec.dtype is DType.STRING:
        return None
    dims = [None if dim is None else substitute(dim, sizes) for dim in spec.shape]
    known = tuple(dim for dim in dims if isinstance(dim, int))
    return known if len(known) == len(dims) else None


def _check_buffer(spec: TensorSpec, buffer: Array, sizes: Mapping[str, int]) -> None:
    expected = _known_shape(spec, sizes)
    if buffer.dtype != spec.dtype.numpy() or not buffer.flags["C_CONTIGUOUS"] or not buffer.flags["WRITEABLE"]:
        raise InputError(
            f"the buffer of output '{spec.name}' is {buffer.dtype}{list(buffer.shape)}: expected a writeable array of "
            f"{spec.dtype} in C order"
        )
    if expected is not None and buffer.shape != expected:
        raise InputError(
            f"the buffer of output '{spec.name}' has shape {list(buffer.shape)}, expected {list(expected)}"
        )
    if expected is None:
        check_shapes({spec.name: spec}, {spec.name: buffer.shape})
