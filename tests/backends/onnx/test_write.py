"""Writing files: external data, bounded memory, all or nothing, the same bytes every time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tfgraph.backends.onnx import write
from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.write import save_model, to_bytes
from tfgraph.backends.onnxruntime.capabilities import CPU
from tfgraph.errors import CheckpointError, ExportError
from tfgraph.ir.build import add_node
from tfgraph.ir.constant import AbsentConstant, Derived
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph

SIZE = 128  # a weight of 64 KB


def chain(fill: float = 1.0, layers: int = 3, size: int = SIZE, fail_at: int | None = None, error: Any = None) -> Graph:
    """x @ w0 @ w1 …, every weight a constant matrix; reading weight `fail_at` raises `error`."""

    def weight(index: int) -> np.ndarray:
        if index == fail_at:
            raise error
        return np.full((size, size), fill + index, np.float32)

    graph = Graph("chain")
    value = graph.add_input("x", DType.FLOAT32, (1, size))
    for index in range(layers):
        handle = Derived(lambda index=index: weight(index), [], ("full", fill, index), DType.FLOAT32, (size, size))
        matrix = graph.add_constant(handle, f"layer.{index}.weight")
        value = add_node(graph, "MatMul", [value, matrix]).output
    graph.set_output("y", value)
    return graph


def save(graph: Graph, path: Path, **options: Any) -> None:
    save_model(to_onnx_ir(graph, CPU), path, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_weights_are_embedded_or_beside_the_file(tmp_path: Path) -> None:
    save(chain(), tmp_path / "small.onnx")
    save(chain(), tmp_path / "big.onnx", external_data=True)
    assert sorted(contents(tmp_path)) == ["big.onnx", "big.onnx.data", "small.onnx"]
    assert (tmp_path / "big.onnx").stat().st_size < 4096
    assert (tmp_path / "small.onnx").read_bytes() == to_bytes(to_onnx_ir(chain(), CPU))
    for name in ("small.onnx", "big.onnx"):
        onnx.checker.check_model(str(tmp_path / name), full_check=True)
        weights = [value.constant.numpy() for value in from_onnx(tmp_path / name).constants if value.constant]
        np.testing.assert_array_equal([weight[0, 0] for weight in weights], [1, 2, 3])


def test_big_weights_go_beside_the_file_by_themselves(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(write, "_EMBEDDED_LIMIT", 100_000)
    save(chain(layers=1), tmp_path / "small.onnx")
    save(chain(layers=2), tmp_path / "big.onnx")
    assert sorted(contents(tmp_path)) == ["big.onnx", "big.onnx.data", "small.onnx"]


def test_small_tensors_stay_in_the_file_where_shape_inference_finds_them(tmp_path: Path) -> None:
    graph = chain(layers=1)
    save(graph, tmp_path / "m.onnx", external_data=True)
    small = chain(layers=1, size=8)
    save(small, tmp_path / "s.onnx", external_data=True)
    assert sorted(contents(tmp_path)) == ["m.onnx", "m.onnx.data", "s.onnx"]


@pytest.mark.parametrize("external", [True, False])
def test_the_same_graph_gives_the_same_files(external: bool, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save(chain(), tmp_path / folder / "m.onnx", external_data=external)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_progress_is_reported_in_bytes(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    save(chain(), tmp_path / "m.onnx", external_data=True, on_progress=lambda *call: calls.append(call))
    total = 3 * SIZE * SIZE * 4
    assert calls == [(0, total), (total // 3, total), (2 * total // 3, total), (total, total)]


STOPS = [KeyboardInterrupt(), CheckpointError("gone"), MemoryError(), OSError(errno.ENOSPC, "No space left on device")]


@pytest.mark.parametrize("external", [True, False])
@pytest.mark.parametrize("error", STOPS, ids=lambda error: type(error).__name__)
def test_an_export_interrupted_half_way_leaves_the_old_files(
    error: BaseException, external: bool, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    save(chain(), path, external_data=True)
    before = contents(tmp_path)
    expected = ExportError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        save(chain(fill=5, fail_at=1, error=error), path, external_data=external)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("external", [True, False])
def test_an_export_interrupted_half_way_leaves_an_empty_folder_empty(external: bool, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        save(chain(fail_at=1, error=KeyboardInterrupt()), tmp_path / "m.onnx", external_data=external)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")], ids=repr)
@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("old", ["external", "embedded", "none"])
def test_files_take_their_places_together_or_not_at_all(
    error: BaseException, failing: int, old: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """The `failing`-th rename fails: the old data aside, the new data to its place, the new model to its place."""
    path = tmp_path / "m.onnx"
    if old != "none":
        save(chain(), path, external_data=old == "external")
    before = contents(tmp_path)
    calls = 0
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        nonlocal calls
        calls += tmp_path in (Path(source).parent, Path(target).parent)  # not those of the tensor writer
        if calls == failing:
            raise error
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    if failing > (3 if old == "external" else 2):
        save(chain(fill=5), path, external_data=True)
        assert sorted(contents(tmp_path)) == ["m.onnx", "m.onnx.data"]
        return
    with pytest.raises((KeyboardInterrupt, ExportError)):
        save(chain(fill=5), path, external_data=True)
    assert contents(tmp_path) == before


def test_a_replaced_file_takes_its_data_with_it(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    save(chain(), path, external_data=True)
    save(chain(), path, external_data=False)
    assert list(contents(tmp_path)) == ["m.onnx"]


def test_data_that_the_replaced_file_does_not_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    save(chain(), path, external_data=False)
    (tmp_path / "m.onnx.data").write_bytes(b"somebody's")
    save(chain(fill=5), path, external_data=False)
    assert (tmp_path / "m.onnx.data").read_bytes() == b"somebody's"
    path.write_bytes(b"no model at all")
    save(chain(), path, external_data=False)
    assert (tmp_path / "m.onnx.data").read_bytes() == b"somebody's"


def test_a_model_can_be_written_over_the_file_that_its_weights_come_from(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    save(chain(), path, external_data=True)
    before = contents(tmp_path)
    save(from_onnx(path), path, external_data=True)
    assert contents(tmp_path)["m.onnx.data"] == before["m.onnx.data"]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot write .*missing/m\.onnx: No such file or directory"):
        save(chain(), tmp_path / "missing" / "m.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ExportError, match=r"cannot write .*folder\.onnx: it is a folder"):
        save(chain(), tmp_path / "folder.onnx")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="Not a directory"):
        save(chain(), tmp_path / "file" / "m.onnx")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_an_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ExportError, match="Permission denied"):
        save(chain(), tmp_path / "m.onnx")


def test_more_than_a_message_can_hold_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    graph = chain(layers=3, size=16384, fail_at=0, error=RuntimeError("read"))
    with pytest.raises(
        ExportError, match="holds at most 2 GB, and the weights are 3221225472 bytes: use external data"
    ):
        save(graph, tmp_path / "m.onnx", external_data=False)
    with pytest.raises(ExportError, match="save it to a file with external data"):
        to_bytes(to_onnx_ir(graph, CPU))
    assert contents(tmp_path) == {}


def test_weights_without_values_are_named(tmp_path: Path) -> None:
    graph = chain(layers=1)
    weight = graph.add_constant(AbsentConstant(DType.FLOAT32, (SIZE, SIZE)), "head.weight")
    graph.set_output("z", add_node(graph, "MatMul", [graph.outputs["y"], weight]).output)
    with pytest.raises(CheckpointError, match=r"1 of 2 weights have no values \('head.weight'\): load a"):
        save(graph, tmp_path / "m.onnx")
    assert contents(tmp_path) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory that Linux records")
def test_writing_takes_the_memory_of_one_weight(tmp_path: Path) -> None:
    """32 weights of 16 MB: the peak rises by less than 4 of them."""
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_write import chain, save, Path
save(chain(layers=1, size=64), Path({str(tmp_path)!r}) / "warm.onnx", external_data=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save(chain(layers=32, size=2048), Path({str(tmp_path)!r}) / "m.onnx")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64
    assert (tmp_path / "m.onnx.data").stat().st_size == 32 * 2048 * 2048 * 4
