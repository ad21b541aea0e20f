"""Models small enough that whole benchmarks run in seconds, and peers that are no models at all."""

from __future__ import annotations

import os

import pytest

from tfgraph.bench.peers import table
from tfgraph.bench.peers.interface import DECODE, ENCODER, TEXTS
from tfgraph.bench.peers.table import Candidate
from tfgraph.models.bert import BertConfig
from tfgraph.models.gpt2 import GPT2Config

STUBS = """
import os, time
from pathlib import Path
import numpy as np
from tfgraph.bench.peers.interface import PeerUnavailable


def convert(job):
    if job.precision == "absent":
        raise PeerUnavailable("nothing is installed: pip install something")
    if job.precision == "broken":
        raise ValueError("a first line\\nand a second")
    (job.folder / "converted").write_text(job.precision)


def load(job):
    assert job.work in ("encoder", "decode", "texts")
    if job.precision == "killed":
        os.kill(os.getpid(), 9)
    print("a library that prints")
    assert (job.folder / "converted").read_text() == job.precision
    return Stub(0.5 if job.precision.startswith("int8") else 0.0)


class Stub:
    def __init__(self, noise):
        self.noise = noise

    def __call__(self, inputs):
        time.sleep(0.001)
        ids = inputs["input_ids"].astype(np.float32)
        turned = np.arange(4, dtype=np.float32) * self.noise * (ids[..., None] % 3)
        return np.stack([ids + 1, ids % 5, ids % 7, ids % 2], axis=-1) + turned

    def generate(self, prompt, count):
        for step in range(count):
            time.sleep(0.001)
            yield (sum(prompt) + step) % 61

    def score(self, ids):
        logits = np.zeros((len(ids), 61), np.float32)
        logits[np.arange(len(ids) - 1), ids[1:]] = 2.0 - self.noise
        return logits
"""

WORKS = frozenset({ENCODER, DECODE, TEXTS})


@pytest.fixture(scope="session")
def tiny() -> BertConfig:
    """Two layers of 32 features."""
    return BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=16,
    )


@pytest.fixture(scope="session")
def tiny_gpt2() -> GPT2Config:
    """Two layers of 32 features."""
    return GPT2Config.from_dict(
        {"model_type": "gpt2", "vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32}, "the test"
    )


@pytest.fixture(scope="session")
def stub_module(tmp_path_factory) -> str:
    """The name of a module that is a peer, importable by processes that tests start."""
    folder = tmp_path_factory.mktemp("stubs")
    (folder / "stub_peers").mkdir()
    (folder / "stub_peers" / "__init__.py").write_text("")
    (folder / "stub_peers" / "stub.py").write_text(STUBS)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), before]))
    return "stub_peers.stub"


@pytest.fixture
def stubs(monkeypatch, stub_module):
    """`stubs("fp32", "int8")`: the candidates become `stub`s of these precisions, and a reference "torch"."""

    def choose(*precisions: str, ours: bool = False) -> None:
        rows = [Candidate("stub", precision, stub_module, WORKS) for precision in precisions]
        rows.insert(0, Candidate("torch", "fp32", stub_module, WORKS))
        if ours:
            rows.insert(0, Candidate("tfgraph", "fp32", stub_module, WORKS))
        monkeypatch.setattr(table, "TABLE", tuple(rows))

    return choose
