"""Candidates in processes of their own: what they answer, how they stand still, and how one that fails is told."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from tfgraph.bench.peers.client import Client
from tfgraph.bench.peers.interface import DECODE, ENCODER, Job, PeerUnavailable
from tfgraph.bench.peers.table import Candidate


def job(folder: Path, precision: str = "fp32", work: str = ENCODER) -> Job:
    return Job(work, precision, folder, folder, folder, folder, threads=1)


@pytest.fixture
def start(stub_module, tmp_path):
    """`start("fp32")`: a process with a stub of that precision."""
    started = []

    def begin(precision="fp32", work=ENCODER, limit=60.0):
        candidate = Candidate("stub", precision, stub_module, frozenset({work}))
        client = Client(candidate, job(tmp_path, precision, work), limit)
        started.append(client)
        return client

    yield begin
    for client in started:
        client.close()


def test_it_converts_loads_holds_inputs_and_runs_what_it_prints_is_in_nobodys_way(start, tmp_path):
    client = start()
    client.ask("convert")
    assert client.ask("load")["seconds"] > 0
    np.savez(tmp_path / "inputs.npz", input_ids=np.array([[1, 2], [3, 4]]))
    client.ask("hold", inputs=str(tmp_path / "inputs.npz"))
    answer = client.ask("run", output=str(tmp_path / "out.npy"))
    assert answer["seconds"] >= 0.001
    assert np.load(tmp_path / "out.npy").shape == (2, 2, 4)
    assert client.ask("memory")["bytes"] > 1e6
    assert "a library that prints" in (tmp_path / "worker.log").read_text()


def test_it_generates_and_scores(start, tmp_path):
    client = start(work=DECODE)
    client.ask("convert")
    client.ask("load")
    answer = client.ask("generate", prompt=[1, 2], count=4)
    assert answer["tokens"] == [3, 4, 5, 6]
    assert answer["seconds"] >= 0.003
    assert answer["first"] >= 0.001
    client.ask("score", rows=[[1, 2, 3], [4, 5, 6]], output=str(tmp_path / "logits.npy"))
    assert np.load(tmp_path / "logits.npy").shape == (2, 3, 61)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="processes cannot be stopped here")
def test_between_two_turns_it_stands_still(start):
    client = start()
    client.ask("convert")
    state = Path(f"/proc/{client._process.pid}/stat")
    if not state.is_file():
        pytest.skip("the system does not tell what processes do")
    deadline = time.monotonic() + 5
    while state.read_text().rpartition(")")[2].split()[0] != "T" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert state.read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("absent", "^nothing is installed: pip install something$"),
        ("broken", "^ValueError: a first line$"),
        ("killed", "^its process ended by signal SIGKILL: nothing was said$"),
    ],
)
def test_what_fails_is_one_line(start, precision, message):
    client = start(precision)

    def use():
        client.ask("convert")
        client.ask("load")

    with pytest.raises(PeerUnavailable, match=message):
        use()


def test_a_command_that_takes_too_long_is_ended(start):
    client = start(limit=5.0)
    client.ask("convert")
    client.ask("load")
    with pytest.raises(PeerUnavailable, match=r"^it took more than 5 seconds and was stopped$"):
        client.ask("generate", prompt=[1], count=100_000)


def test_a_process_that_has_ended_cannot_be_asked(start):
    client = start()
    client.close()
    with pytest.raises(PeerUnavailable, match=r"^its process ended by signal SIGKILL"):
        client.ask("convert")


def test_a_job_survives_the_way_to_another_process(tmp_path):
    given = Job(ENCODER, "int8", tmp_path, tmp_path, tmp_path, tmp_path, 3, texts=tmp_path / "texts")
    assert Job.from_dict(given.as_dict()) == given
