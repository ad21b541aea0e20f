"""Candidates in processes of their own, which stand still while it is not their turn.

Each has its own pool of threads, which spins for a while after a run in the hope of the next one. A process that is
stopped spins no more: so none slows down whichever comes next. Where the system cannot stop a process, it is left a
moment to fall asleep. What happens inside is in `worker.py`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

from tfgraph.bench.peers.interface import Job, PeerUnavailable
from tfgraph.bench.peers.table import Candidate
from tfgraph.bench.peers.worker import ERROR

LIMIT: Final = 1800.0
"""Seconds that one command may take."""

_SOURCE_ROOT: Final = Path(__file__).resolve().parents[3]
_CAN_STOP: Final = hasattr(signal, "SIGSTOP")
_SETTLING: Final = 0.3  # longer than the pools of OpenMP spin
_LOG: Final = "worker.log"


class Client:
    """One candidate, running in a process of its own.

    Args:
        candidate: which.
        job: what it runs.
        limit: seconds that a command may take.
    """

    def __init__(self, candidate: Candidate, job: Job, limit: float = LIMIT) -> None:
        self.candidate = candidate
        self.job = job
        self._limit = limit
        self._log = job.folder / _LOG
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tfgraph.bench.peers.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=_environment(job.threads),
            )
        self._late = False
        self._send({"module": candidate.module, "job": job.as_dict()})

    def __enter__(self) -> Client:
        """The client; on the way out the process ends."""
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Let the process do a command of `worker.Worker`, and stop it again; what it answers.

        Raises:
            PeerUnavailable: it cannot, it died, or it took longer than it may.
        """
        if self._process.poll() is not None:
            raise PeerUnavailable(self._end())
        self._continue()
        timer = threading.Timer(self._limit, self._give_up)
        timer.start()
        try:
            self._send({"do": command, **arguments})
            line = self._stream(self._process.stdout).readline()
        finally:
            timer.cancel()
        if not line:
            raise PeerUnavailable(self._end())
        answer: dict[str, Any] = json.loads(line)
        if ERROR in answer:
            raise PeerUnavailable(answer[ERROR])
        self._stop()
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            try:
                self._stream(stream).close()
            except OSError:  # what was left to send has no reader
                continue

    def _send(self, line: Mapping[str, Any]) -> None:
        stream = self._stream(self._process.stdin)
        try:
            stream.write(json.dumps(line) + "\n")
            stream.flush()
        except OSError:  # it died, which reading its answer tells
            return

    def _continue(self) -> None:
        if _CAN_STOP and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)

    def _stop(self) -> None:
        if _CAN_STOP:
            self._process.send_signal(signal.SIGSTOP)
        else:
            time.sleep(_SETTLING)

    def _give_up(self) -> None:
        self._late = True
        self._process.kill()

    def _end(self) -> str:
        """How the process ended, for people."""
        code = self._process.wait()
        if self._late:
            return f"it took more than {self._limit:g} seconds and was stopped"
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"its process ended {how}: {said[-1] if said else 'nothing was said'}"

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        if stream is None:
            raise PeerUnavailable("the process of a candidate has no streams")
        return stream


def _environment(threads: int) -> dict[str, str]:
    """Where tfgraph is, how many threads pools may have, and that nothing is to be fetched or reported."""
    paths = [str(_SOURCE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]  # tfgraph may not be installed
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(threads),
        "RAYON_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
