"""What fuzzed files have in common: ways to damage a file, and what `optimize_onnx` may do with one."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import hypothesis.strategies as st
import onnx

import tfgraph as tg
from tfgraph.errors import TFGraphError

SECONDS = 5.0
KILOBYTES = 500_000


def attempt(data: bytes, folder: Path, old: bytes = b"what was there before") -> str | None:
    """Optimise `data` over an older file: None where that works, the message where it is refused."""
    source, out = folder / "in.onnx", folder / "out.onnx"
    source.write_bytes(data)
    out.write_bytes(old)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    message = None
    try:
        tg.optimize_onnx(source, out)
    except TFGraphError as error:
        message = str(error)
    assert time.perf_counter() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < KILOBYTES
    if message is None:
        onnx.load(out)
    else:
        assert out.read_bytes() == old
    assert {path.name for path in folder.iterdir()} <= {"in.onnx", "out.onnx", "out.onnx.data"}
    out.unlink()
    return message


def refuse_cut_short(sample: bytes, folder: Path) -> None:
    """Every seventh length of `sample` is refused."""
    for length in range(0, len(sample), 7):
        assert attempt(sample[:length], folder) is not None


@st.composite
def flipped_bytes(draw: st.DrawFn, sample: bytes) -> bytes:
    """`sample` with one to four of its bytes replaced."""
    damaged = bytearray(sample)
    for _ in range(draw(st.integers(1, 4))):
        damaged[draw(st.integers(0, len(damaged) - 1))] = draw(st.integers(0, 255))
    return bytes(damaged)
