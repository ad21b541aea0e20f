"""A model loaded in OpenVINO, with the surface of a session of ONNX Runtime: one can stand for the other.

ONNX Runtime's OpenVINO provider, a plug-in, lists no device on processors of other makers than Intel; OpenVINO's own
runtime runs on all of them, and is what is used here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tfgraph.backends.interface import RunsArrays, check_inputs, output_names
from tfgraph.backends.onnx.interface import specs_of_file
from tfgraph.backends.openvino.availability import DEVICE, PRECISIONS, core, why_unusable
from tfgraph.backends.threads import choose_threads
from tfgraph.errors import OnnxError, TargetError
from tfgraph.ir.constant import Array


class Session(RunsArrays):
    """A model loaded in OpenVINO.

    Args:
        model: the bytes of an ONNX file, or its path (needed where the weights are in external data).
        precision: what matrix products are computed in: "fp32", or "bf16", which rounds their operands to bfloat16 and
            adds up in float32. Inputs, outputs and weights stay as they are in the file.
        num_threads: threads; None for as many as `tfgraph.backends.threads` finds best.
        cache: a folder for the compiled model, so that the next session starts at once.

    Raises:
        TargetError: OpenVINO is not installed, or the processor lacks the precision; the message says what to do.
        OnnxError: OpenVINO cannot load the model.
    """

    def __init__(
        self,
        model: bytes | str | os.PathLike[str],
        *,
        precision: str = "fp32",
        num_threads: int | None = None,
        cache: Path | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise TargetError(f"OpenVINO runs models in {' or '.join(PRECISIONS)}, not in {precision!r}")
        reason = why_unusable(precision)
        if reason is not None:
            raise TargetError(f"the model cannot be run by OpenVINO in {precision}: {reason}")
        label = "the model" if isinstance(model, bytes) else os.fspath(model)
        self.provider = "openvino"
        self.precision = precision
        self._inputs, self._outputs = specs_of_file(model)
        threads = choose_threads().count if num_threads is None else num_threads
        if threads < 1:
            raise TargetError(f"a session cannot run with {threads} threads: expected 1 or more")
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if cache is not None:
            config["CACHE_DIR"] = os.fspath(cache)
        try:
            source = core().read_model(model) if isinstance(model, bytes) else os.fspath(model)
            compiled = core().compile_model(source, DEVICE, config)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise OnnxError(f"OpenVINO cannot load {label}: {_message(error)}") from None
        self._taken = frozenset(name for port in compiled.inputs for name in port.get_names())
        self._ports = {name: compiled.output(name) for name in self._outputs}

    def run(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the model.

        Args:
            inputs: an array (or nested lists) for each input, of the declared dtype and shape.
            outputs: names of the outputs to return; all by default.

        Raises:
            InputError: an input or output name is wrong, or an input has a wrong dtype or shape.
            TargetError: OpenVINO failed while it ran.
        """
        names = output_names(self._outputs, outputs)
        arrays, _ = check_inputs(self._inputs, inputs)
        try:
            # an input that nothing reads is not in the compiled model
            found = self._request.infer({name: array for name, array in arrays.items() if name in self._taken})
        except RuntimeError as error:
            raise TargetError(f"OpenVINO failed while it ran the model: {_message(error)}") from None
        # results lie in buffers of the request, which the next run overwrites
        return {name: found[self._ports[name]].copy() for name in names}

    def growing_cache(self) -> NoReturn:
        """Refused: ONNX Runtime alone keeps a cache of keys and values between runs.

        Raises:
            TargetError: always.
        """
        raise TargetError(
            "OpenVINO sessions keep no cache of keys and values, and generate no text: export the model for the "
            'target "cpu"'
        )

    fixed_cache = growing_cache


def _message(error: Exception) -> str:
    """What OpenVINO says, without the places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (told or lines or ["no reason given"])[0]
