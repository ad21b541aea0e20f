"""The peer OpenVINO, for decoders: a stateful model in float32 or bfloat16, or with weights that NNCF compressed.

int8 weights have a scale a channel, int4 ones a scale and a zero point for each 64; float arithmetic is left to
OpenVINO's choice for those, which is its default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from tfgraph.bench.peers.interface import Decoder, Job, failures_as, quiet, require
from tfgraph.bench.peers.openvino_encoder import INSTALL, compile_for_cpu
from tfgraph.bench.peers.openvino_stateful import write_stateful
from tfgraph.ir.constant import Array

MODEL: Final = "openvino_model.xml"
_HINTS: Final = {"fp32": "f32", "bf16": "bf16"}


def convert(job: Job) -> None:
    """Write the stateful model, once for all candidates, and its weights compressed; raises `PeerUnavailable`."""
    plain = job.shared / MODEL
    if not plain.is_file():
        write_stateful(job, plain)
    if job.precision in ("int8", "int4"):
        require("openvino", "nncf", install=INSTALL)
        with failures_as("NNCF cannot compress the weights"), quiet():
            import nncf
            import openvino

            model = openvino.Core().read_model(plain)
            if job.precision == "int8":
                model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
            else:
                mode = nncf.CompressWeightsMode.INT4_ASYM
                model = nncf.compress_weights(model, mode=mode, group_size=64, ratio=1.0)
            openvino.save_model(model, job.folder / MODEL, compress_to_fp16=False)


def load(job: Job) -> Decoder:
    """The model, compiled for latency on the CPU; raises `PeerUnavailable`."""
    path = job.folder / MODEL
    hint = _HINTS.get(job.precision, _widest())
    return OpenVinoDecoder(compile_for_cpu(path if path.is_file() else job.shared / MODEL, hint, job.threads))


def _widest() -> str:
    """What OpenVINO computes in where nobody says: bfloat16 where the processor has it."""
    require("openvino", install=INSTALL)
    import openvino

    return "bf16" if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


class OpenVinoDecoder:
    """A compiled stateful model; see `interface.Decoder`."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._logits = compiled.output("logits")

    def generate(self, prompt: Sequence[int], count: int) -> Iterator[int]:
        """See `interface.Decoder`."""
        self._request.reset_state()
        ids, past = np.array([list(prompt)], np.int64), 0
        for _ in range(count):
            logits = self._run(ids, past)
            past += ids.shape[1]
            token = int(logits[-1].argmax())
            yield token
            ids = np.array([[token]], np.int64)

    def score(self, ids: Sequence[int]) -> Array:
        """See `interface.Decoder`."""
        self._request.reset_state()
        return np.array(self._run(np.array([list(ids)], np.int64), 0), np.float32)

    def _run(self, ids: Array, past: int) -> Array:
        """The logits after tokens [1, S] that follow `past` others, [S, V]."""
        seq = ids.shape[1]
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones((1, past + seq), np.int64),
            "position_ids": np.arange(past, past + seq)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        logits: Array = self._request.infer(inputs, share_inputs=True, share_outputs=True)[self._logits][0]
        return logits
