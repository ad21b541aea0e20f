"""Copies and exports in turns, on a model so small that the numbers mean nothing: what is measured, and its limits."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph as tg
from tfgraph.bench.sharded_checkpoint import write_llama_checkpoint
from tfgraph.bench.write import Settings, WriteReport, measure_write
from tfgraph.errors import ExportError, InputError
from tfgraph.ir.dtypes import DType
from tfgraph.models.llama import LlamaConfig

TINY = LlamaConfig(61, 32, 2, 4, 64, 48, num_key_value_heads=2)


@pytest.fixture(scope="module")
def report(tmp_path_factory: Any) -> WriteReport:
    """One run of it all."""
    folder = tmp_path_factory.mktemp("bench")
    report = measure_write(Settings(TINY, rounds=2, folder=folder))
    assert not list(folder.iterdir())
    return report


def test_copies_and_exports_are_as_many_as_rounds(report: WriteReport) -> None:
    assert len(report.copies) == len(report.exports) == 2
    assert all(0 < copied <= flushed for copied, flushed in report.copies)
    for each in report.exports:
        assert list(each["phases"]) == ["load", "trace", "passes", "write"]
        assert sum(each["phases"].values()) == pytest.approx(each["seconds"])
    assert report.speed == report.copy_seconds / report.export_seconds


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_that_of_the_whole_process(report: WriteReport) -> None:
    assert report.memory is not None
    assert 40_000_000 < report.memory < 500_000_000


def test_the_report_is_json(report: WriteReport) -> None:
    described = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert described["benchmark"] == "write"
    assert described["bytes"] > 2 * 61 * 32


def test_limits(report: WriteReport) -> None:
    def of(seconds: float, peak: int | None) -> list[str]:
        run = {"seconds": seconds, "peak_memory": peak}
        return WriteReport(report.settings, {}, None, 10**9, [(6.0, 7.0)], [run]).exceeded()

    assert of(10.0, 10**9) == of(10.0, None) == []
    assert of(10.1, 10**9) == ["speed of the export: 0.59 of that of copying, and the limit is 0.6"]
    assert of(1.0, 2 * 10**9) == ["bytes of memory of the export: 2e+09, and the limit is 1e+09"]


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.FLOAT32])
def test_the_checkpoint_is_one_that_loads_and_runs(dtype: DType, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    shards = write_llama_checkpoint(
        tmp_path, TINY, dtype, shard_bytes=20_000, on_progress=lambda *call: told.append(call)
    )
    assert len(shards) > 1
    assert told[-1][0] == told[-1][1] == told[0][1]
    from safetensors.numpy import load_file

    weights = {name: array for shard in shards for name, array in load_file(shard).items()}
    assert sum(array.nbytes for array in weights.values()) == told[-1][1]
    for array in weights.values():
        assert array.dtype == dtype.numpy()
        assert 0.005 < np.std(array.astype(np.float32)) < 0.04
    pretrained = tg.load(tmp_path, dtype=str(dtype))
    assert pretrained.task == "text-generation"
    assert pretrained.config.head_size == 8
    tg.compile(pretrained)


def test_the_same_seed_gives_the_same_checkpoint(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder = tmp_path / name
        folder.mkdir()
        contents.append([path.read_bytes() for path in write_llama_checkpoint(folder, TINY, seed=seed)])
    assert contents[0] == contents[1] != contents[2]


def test_what_cannot_be_measured_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    with pytest.raises(InputError, match="cannot measure 0 rounds"):
        Settings(TINY, rounds=0)
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ExportError, match=r"cannot measure in .*: [\d,]+ bytes needed, 10 left"):
        measure_write(Settings(TINY, rounds=1, folder=tmp_path))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ExportError, match=r"cannot write a checkpoint into .*: No such file"):
        write_llama_checkpoint(tmp_path / "absent", TINY)
