"""The process in which one candidate is converted or run: it reads commands as lines of JSON, and answers in kind.

The first line says which module and job. What libraries print goes to the standard error, so that answers stay alone.
The other end is `client.py`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from tfgraph.bench.machine import peak_memory
from tfgraph.bench.peers.interface import TEXTS, Job, Peer
from tfgraph.errors import TFGraphError
from tfgraph.ir.constant import Array

ERROR: Final = "error"
_SET_PARENT_DEATH_SIGNAL: Final = 1
_FAILURES: Final = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ImportError, OSError, MemoryError)


class Worker:
    """Runs the commands for one candidate.

    Args:
        peer: its module.
        job: what it is to run.
    """

    def __init__(self, peer: Callable[[], Peer], job: Job) -> None:
        self._peer = peer
        self._job = job
        self._model: Any = None
        self._inputs: dict[str, Array] = {}
        self._texts: list[str] = []

    def convert(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        """Write what the candidate runs."""
        start = time.perf_counter()
        self._peer().convert(self._job)
        return {"seconds": time.perf_counter() - start}

    def load(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        """Import the candidate's library and load the model."""
        start = time.perf_counter()
        model: Any = self._peer().load(self._job)
        if self._job.work == TEXTS and not hasattr(model, "embed"):
            from tfgraph.bench.peers.embedding import SortedEmbedder

            model = SortedEmbedder(model, self._job.checkpoint)
        self._model = model
        return {"seconds": time.perf_counter() - start}

    def hold(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the inputs, or the texts, in the file `inputs` for the runs to come."""
        path = Path(command["inputs"])
        if path.suffix == ".json":
            self._texts = json.loads(path.read_text(encoding="utf-8"))
        else:
            with np.load(path) as held:
                self._inputs = dict(held)
        return {}

    def run(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Run once on what is held; the result goes into the file `output`, if one is named."""
        cpu, start = time.process_time(), time.perf_counter()
        result = self._model.embed(self._texts) if self._job.work == TEXTS else self._model(self._inputs)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        if command.get("output"):
            np.save(command["output"], result)
        return {"seconds": seconds, "cpu_seconds": cpu}

    def generate(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Continue the tokens `prompt` by `count` others: the seconds to the first, and from there to the last."""
        cpu, start = time.process_time(), time.perf_counter()
        steps = self._model.generate(command["prompt"], command["count"])
        tokens = [next(steps)]
        first, first_cpu = time.perf_counter(), time.process_time()
        tokens.extend(steps)
        end, end_cpu = time.perf_counter(), time.process_time()
        return {
            "tokens": tokens,
            "first": first - start,
            "first_cpu": first_cpu - cpu,
            "seconds": end - first,
            "cpu_seconds": end_cpu - first_cpu,
        }

    def score(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Write the logits after each token of each of the texts `rows` into the file `output`: [N, S, V]."""
        np.save(command["output"], np.stack([self._model.score(row) for row in command["rows"]]))
        return {}

    def memory(self, _command: Mapping[str, Any]) -> dict[str, Any]:
        """The most memory that the process has had resident."""
        return {"bytes": peak_memory()}


def answer_to(worker: Worker, command: Mapping[str, Any]) -> dict[str, Any]:
    """What the worker answers to a command, or the one line that says why it cannot."""
    try:
        answer: dict[str, Any] = getattr(worker, command["do"])(command)
        return answer
    except TFGraphError as error:
        return {ERROR: str(error)}
    except _FAILURES as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        return {ERROR: f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__}


def serve(commands: IO[str], answers: IO[str]) -> None:
    """Answer commands until there are no more."""
    from tfgraph.bench.peers.table import module_named

    first = json.loads(commands.readline())
    worker = Worker(lambda: module_named(first["module"]), Job.from_dict(first["job"]))
    for line in commands:
        answers.write(json.dumps(answer_to(worker, json.loads(line))) + "\n")
        answers.flush()


def _end_with_parent() -> None:
    """Let the system end this process when the one that started it ends, however that happens.

    A stopped process does not notice by itself that nobody will ask it any more. Where the system has no such call, it
    notices when it next runs. See the Linux manual, prctl(2).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def main() -> None:
    """Serve on the standard streams; what is printed meanwhile goes to the standard error."""
    _end_with_parent()
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin, answers)
        answers.flush()
    os._exit(0)  # libraries that end badly when the interpreter does are no part of what is measured


if __name__ == "__main__":
    main()
