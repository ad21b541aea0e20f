"""The peer openvino-genai, for decoders: OpenVINO's pipeline for texts over the same stateful model.

It answers texts or tokens, and gives no logits: how good its answers are is measured by OpenVINO itself, whose model it
runs.
"""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tfgraph.bench.peers import openvino_decoder
from tfgraph.bench.peers.interface import Decoder, Job, failures_as, quiet, require
from tfgraph.bench.peers.openvino_decoder import MODEL
from tfgraph.bench.peers.openvino_encoder import INSTALL, compile_for_cpu
from tfgraph.checkpoints.folder import CONFIG_FILE
from tfgraph.ir.constant import Array

_HINTS: Final = {"fp32": "f32", "bf16": "bf16"}


def convert(job: Job) -> None:
    """Write the model, and the tokenizer in OpenVINO's form; raises `PeerUnavailable`."""
    require("openvino", "openvino_genai", "openvino_tokenizers", "transformers", install=INSTALL)
    openvino_decoder.convert(job)
    if not (job.folder / MODEL).is_file():
        for suffix in (".xml", ".bin"):
            (job.folder / MODEL).with_suffix(suffix).symlink_to((job.shared / MODEL).with_suffix(suffix))
    with failures_as("openvino-tokenizers cannot convert the tokenizer"), quiet():
        import openvino
        from openvino_tokenizers import convert_tokenizer
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(job.checkpoint)
        parts = convert_tokenizer(tokenizer, with_detokenizer=True)
        for name, part in zip(("openvino_tokenizer.xml", "openvino_detokenizer.xml"), parts, strict=True):
            openvino.save_model(part, job.folder / name)
    shutil.copyfile(job.checkpoint / CONFIG_FILE, job.folder / CONFIG_FILE)


def load(job: Job) -> Decoder:
    """The pipeline; raises `PeerUnavailable`."""
    require("openvino_genai", install=INSTALL)
    import openvino_genai

    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": job.threads, "PERFORMANCE_HINT": "LATENCY"}
    if job.precision in _HINTS:
        settings["INFERENCE_PRECISION_HINT"] = _HINTS[job.precision]
    with failures_as("openvino-genai cannot load the model"):
        return GenaiPipeline(openvino_genai.LLMPipeline(str(job.folder), "CPU", settings), job)


class GenaiPipeline:
    """A pipeline of openvino-genai; see `interface.Decoder`."""

    def __init__(self, pipeline: Any, job: Job) -> None:
        self._pipeline = pipeline
        self._job = job

    def generate(self, prompt: Sequence[int], count: int) -> Iterator[int]:
        """See `interface.Decoder`; the pipeline runs in a thread and hands each token over as it comes."""
        import openvino
        import openvino_genai

        settings = openvino_genai.GenerationConfig()
        settings.max_new_tokens = settings.min_new_tokens = count
        settings.ignore_eos, settings.do_sample = True, False
        given = openvino.Tensor(np.array([list(prompt)], np.int64))
        tokens: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()

        class Handing(openvino_genai.StreamerBase):  # type: ignore[misc]
            """Gets each token as soon as it is chosen."""

            def write(self, token: Any) -> Any:
                for each in token if isinstance(token, list) else [token]:
                    tokens.put(int(each))
                return openvino_genai.StreamingStatus.RUNNING

            def end(self) -> None:
                tokens.put(None)

        def run() -> None:
            try:
                self._pipeline.generate(given, settings, Handing())
            except RuntimeError as error:
                tokens.put(error)

        worker = threading.Thread(target=run)
        worker.start()
        while (token := tokens.get()) is not None:
            if isinstance(token, BaseException):
                raise token
            yield token
        worker.join()

    def score(self, ids: Sequence[int]) -> Array:
        """See `interface.Decoder`: by OpenVINO, from the same file."""
        hint = _HINTS.get(self._job.precision, "f32")
        path = Path(self._job.folder / MODEL)
        compiled = compile_for_cpu(path, hint, self._job.threads)
        return openvino_decoder.OpenVinoDecoder(compiled).score(ids)
