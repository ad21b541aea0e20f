"""What a report says about where it was made."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tfgraph.bench import machine


def test_the_machine_is_described_in_json():
    described = machine.describe_machine()
    assert described == json.loads(json.dumps(described))
    assert described["cpu"]
    assert described["cores"] == machine.available_cores() >= 1
    assert described["versions"]["numpy"] == np.__version__


def test_only_the_cores_that_the_process_may_use_count():
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system binds no process to cores")
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "from tfgraph.bench.machine import available_cores; print(available_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_a_system_without_a_load_average_has_none(monkeypatch):
    def unknown():
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unknown)
    assert machine.load_average() is None


@pytest.mark.skipif(sys.platform != "linux", reason="peaks cannot be forgotten elsewhere, and an older one may hide it")
def test_peak_memory_rises_with_what_is_touched_and_stays_when_it_is_freed():
    machine.forget_peak_memory()
    before = machine.peak_memory()
    touched = np.ones(60_000_000, np.uint8)
    del touched
    assert 55_000_000 <= machine.peak_memory() - before <= 90_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="peaks cannot be forgotten elsewhere")
def test_a_peak_can_be_forgotten():
    """In a process of its own: what other tests have left running takes and frees memory meanwhile."""
    code = """
import numpy as np
from tfgraph.bench import machine
touched = np.ones(60_000_000, np.uint8)
high = machine.peak_memory()
del touched
machine.forget_peak_memory()
print(high - machine.peak_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 40_000_000


def test_without_a_status_file_the_peak_comes_from_the_usage(monkeypatch, tmp_path):
    pytest.importorskip("resource")
    monkeypatch.setattr(machine, "_STATUS", tmp_path / "absent")
    assert machine.peak_memory() > 10_000_000
