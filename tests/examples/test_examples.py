"""Every example runs, and prints what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
SLOW = {"03_generate_text.py"}
PROMISES = {
    "01_embed_sentences.py": [
        "Fused: 6 attention, 13 norms, 6 GELU",
        "What is the economy doing?",
        "Inflation slowed for the third month in a row.",
        "1 text of 128 tokens",
    ],
    "02_transformer_blocks.py": [
        "survey's encoder           1                    1",
        "paper's encoder            1                    2",
        "survey's decoder           2                    1",
        "paper's decoder            2                    3",
        "survey's encoder   correlation with its input: 0.000",
        "paper              50 probabilities at each position",
        "weights   0.7311, 0.2689   0.5071, 0.4929",
        "result    0.6689, 0.7689   0.6986, 0.7986",
    ],
    "03_generate_text.py": [
        "Exported SmolLM2-135M-Instruct.Q4_1, 134.5 million parameters",
        " 30 x com.microsoft::GroupQueryAttention",
        "The capital of France is Paris.",
        "' Paris' 77%",
        "compiler",
        "The capital of Japan is Tokyo.",
        "2.268 nats a token, perplexity 9.66",
    ],
}


@cache
def run(path: Path) -> str:
    """What the example prints, run by a new interpreter; once, however many tests look at it."""
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if path.name in SLOW else ()) for path in EXAMPLES],
    ids=lambda path: path.name,
)
def test_example(path):
    shown = run(path)
    assert "\x1b" not in shown
    for promise in PROMISES[path.name]:
        assert promise in shown


def test_sentences_about_the_query_come_first():
    rows = re.findall(r"^ *-?\d\.\d{3}  +(.*\.) *$", run(EXAMPLES[0]), re.MULTILINE)
    assert len(rows) == 12
    assert {row.split()[0] for row in rows[:3]} == {"Inflation", "The", "Shares"}
    assert "central bank" in " ".join(rows[:3])


def test_every_example_has_its_promises():
    assert [path.name for path in EXAMPLES] == list(PROMISES)
