"""Running one measurement of `scale_worker.py` in a process of its own, so that it finds nothing that another left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tfgraph.errors import TFGraphError

_SOURCE_ROOT: Final = Path(__file__).resolve().parents[2]


def measure_alone(*arguments: str) -> dict[str, Any]:
    """What a worker process with these arguments reports.

    Raises:
        TFGraphError: it failed; the message is the last thing that it said.
    """
    command = [sys.executable, "-m", "tfgraph.bench.scale_worker", *arguments]
    paths = [str(_SOURCE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]  # tfgraph may not be installed
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if finished.returncode != 0:
        said = finished.stderr.strip().splitlines()
        raise TFGraphError(
            f"measuring '{arguments[0]}' ended with exit code {finished.returncode}: "
            f"{said[-1] if said else 'nothing was said'}"
        )
    measured: dict[str, Any] = json.loads(finished.stdout)
    return measured
