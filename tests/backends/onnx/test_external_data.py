"""Weights beside the model: their places, their bytes, how far the writing is, and what happens when it is stopped."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tfgraph.backends.onnx import data_file, external_data, open_ahead
from tfgraph.backends.onnx.data_file import DataFile
from tfgraph.backends.onnx.external_data import place, referring_to, size_of, write_data
from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.write import save_model
from tfgraph.backends.onnxruntime.capabilities import CPU
from tfgraph.errors import CheckpointError, ExportError
from tfgraph.ir.build import add_node
from tfgraph.ir.constant import ArrayConstant, Constant, Derived, FileConstant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.ir.transforms import cast, concatenated, transposed


def model_of(*constants: Constant) -> Any:
    """A model that returns its weights."""
    graph = Graph("weights")
    for index, constant in enumerate(constants):
        value = graph.add_constant(constant, f"weight.{index}")
        graph.set_output(f"out.{index}", add_node(graph, "Identity", [value]).output)
    return to_onnx_ir(graph, CPU)


def on_disk(folder: Path, shape: tuple[int, ...], dtype: DType = DType.FLOAT32) -> FileConstant:
    elements = np.random.default_rng(0).standard_normal(shape).astype(dtype.numpy())
    path = folder / f"{dtype}-{'x'.join(map(str, shape))}.bin"
    path.write_bytes(elements.tobytes())
    return FileConstant(path, 0, dtype, shape)


def written(model: Any, folder: Path, **options: Any) -> list[np.ndarray]:
    """The weights of the model as another reader finds them in its files."""
    save_model(model, folder / "m.onnx", external_data=True, **options)
    proto = onnx.load(folder / "m.onnx")
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    return [tensors[f"weight.{index}"] for index in range(len(tensors))]


def test_every_kind_of_weight_is_written_as_it_reads(tmp_path: Path) -> None:
    matrix, half = on_disk(tmp_path, (300, 200)), on_disk(tmp_path, (256, 128), DType.FLOAT16)
    constants = [
        matrix,
        transposed(matrix, (1, 0)),
        transposed(cast(matrix, "float16"), (1, 0)),
        transposed(half, (1, 0)),
        concatenated([transposed(half, (1, 0)), transposed(half, (1, 0))], 1),
        ArrayConstant(np.arange(5000).reshape(50, 4, 25)),
        ArrayConstant(np.arange(3000) % 2 == 0),
        ArrayConstant(np.arange(4).astype(np.float32)),
        Derived(lambda: np.full((40, 40), 7, np.float64), [], ("sevens",), DType.FLOAT64, (40, 40)),
    ]
    for found, constant in zip(written(model_of(*constants), tmp_path), constants, strict=True):
        np.testing.assert_array_equal(found, constant.numpy())
        assert found.dtype == constant.numpy().dtype


def test_four_bits_are_packed_two_in_a_byte(tmp_path: Path) -> None:
    packed = np.arange(2048, dtype=np.uint32).astype(np.uint8)
    (tmp_path / "nibbles").write_bytes(packed.tobytes())
    save_model(model_of(FileConstant(tmp_path / "nibbles", 0, DType.UINT4, (64, 64))), tmp_path / "m.onnx",
               external_data=True)  # fmt: skip
    assert (tmp_path / "m.onnx.data").read_bytes() == packed.tobytes()


def test_places_are_aligned_shared_and_only_for_what_is_large(tmp_path: Path) -> None:
    small, odd = ArrayConstant(np.zeros(256, np.float32)), on_disk(tmp_path, (333,))
    large, names = on_disk(tmp_path, (700, 500)), ArrayConstant(np.array(["text"] * 500, object), "string")
    models = [model_of(small, odd, large, names), model_of(large, odd)]
    placed = place(models)
    assert [(each.offset, each.tensor.nbytes, len(each.values)) for each in placed] == [
        (0, 1332, 2),
        (4096, 1400000, 2),
    ]
    assert size_of(placed) == 4096 + 1400000
    assert size_of([]) == 0


def test_models_refer_to_the_file_only_for_a_while(tmp_path: Path) -> None:
    model = model_of(on_disk(tmp_path, (33, 44)))
    value = model.graph.initializers["weight.0"]
    before = value.const_value
    with referring_to(place([model]), "some.data"):
        assert (value.const_value.location, value.const_value.offset, value.const_value.length) == (
            "some.data",
            0,
            5808,
        )
        assert value.const_value.shape == [33, 44]
    assert value.const_value is before


def test_a_row_longer_than_a_panel_is_written_in_parts(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(external_data, "PANEL_BYTES", 1000)
    matrix = on_disk(tmp_path, (5, 777))
    calls: list[tuple[int, int]] = []
    found = written(model_of(matrix), tmp_path, on_progress=lambda *call: calls.append(call))
    np.testing.assert_array_equal(found[0], matrix.numpy())
    assert len(calls) == 1 + 5 * 4


@pytest.mark.parametrize("turned", [False, True])
def test_progress_advances_within_a_weight(turned: bool, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(external_data, "PANEL_BYTES", 2**16)
    matrix = on_disk(tmp_path, (1024, 256))
    calls: list[tuple[int, int]] = []
    model = model_of(transposed(matrix, (1, 0)) if turned else matrix)
    save_model(model, tmp_path / "m.onnx", external_data=True, on_progress=lambda *call: calls.append(call))
    total = matrix.nbytes
    assert calls == [(done, total) for done in range(0, total + 1, 2**16)]


@pytest.mark.parametrize("panel", [1, 5, 9])
def test_an_interrupt_while_panels_are_written_leaves_the_older_file(
    panel: int, tmp_path: Path, monkeypatch: Any
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    save_model(model_of(ArrayConstant(np.zeros(999, np.float32))), out / "m.onnx", external_data=True)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(external_data, "PANEL_BYTES", 2**16)
    threads = threading.active_count()
    calls = 0

    def interrupt(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == panel:
            signal.raise_signal(signal.SIGINT)

    model = model_of(transposed(on_disk(tmp_path, (512, 256)), (1, 0)), on_disk(tmp_path, (99, 256)))
    with pytest.raises(KeyboardInterrupt):
        save_model(model, out / "m.onnx", external_data=True, on_progress=interrupt)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert threading.active_count() == threads


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: Any) -> None:
    model = model_of(on_disk(tmp_path, (64, 64)))
    usage = shutil.disk_usage(tmp_path)._replace(free=16383)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ExportError, match="the weights take 16,384 bytes, and the disk has 16,383 left"):
        save_model(model, out / "m.onnx", external_data=True)
    assert not list(out.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_disk_that_fills_up_is_told_where_the_panel_is_given_up() -> None:
    given: list[int] = []

    def write(panels: int) -> None:
        with DataFile(Path("/dev/full"), 10**6, given.append) as file:
            for index in range(panels):
                file.write(file.panel(1000), 1000, 1000 * index)

    with pytest.raises(OSError, match="No space left") as caught:
        write(100)
    assert caught.value.errno == errno.ENOSPC
    assert len(given) == 2
    with pytest.raises(OSError, match="No space left"):
        write(1)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no such advice")
@pytest.mark.parametrize("keep", [True, False])
def test_pages_of_large_files_are_given_up_behind_the_writing(keep: bool, tmp_path: Path, monkeypatch: Any) -> None:
    advised: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _file, start, count, _advice: advised.append((start, count)))
    monkeypatch.setattr(data_file, "_STRETCH_BYTES", 100)
    monkeypatch.setattr(data_file, "KEPT_BYTES", 1000 if keep else 10)
    with DataFile(tmp_path / "data", 500, lambda _count: None) as file:
        for index in range(5):
            panel = file.panel(100)
            panel[:100] = index
            file.write(panel, 100, 100 * index)
    started, given_up = [0, 100, 200, 300, 400], [0, 100, 200]
    assert sorted(advised) == [(start, 100) for start in sorted(started if keep else started + given_up)]
    assert (tmp_path / "data").read_bytes() == b"".join(bytes([index]) * 100 for index in range(5))


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system has no direct writing")
@pytest.mark.parametrize("refused", [None, "opening", "writing"])
def test_large_files_are_written_directly_where_the_system_takes_it(
    refused: str | None, tmp_path: Path, monkeypatch: Any
) -> None:
    """Panels of whole pages in whole pages; what is not goes the usual way, and so does all if direct writing fails."""
    monkeypatch.setattr(data_file, "KEPT_BYTES", 10)
    direct: list[int] = []
    real_open, real_write = os.open, os.pwrite

    def open_file(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if refused == "opening" and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_open(path, flags & ~os.O_DIRECT, *rest, **options)  # the disk of the tests may not take it

    def write(file: int, content: memoryview, offset: int) -> int:
        direct.append(offset)
        if refused == "writing":
            raise OSError(errno.EINVAL, "Invalid argument")
        assert np.frombuffer(content, np.uint8).ctypes.data % 4096 == 0
        return real_write(file, content[: len(content) // 2], offset)

    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(os, "pwrite", write)
    pieces = [(0, 8192), (8192, 100), (12288, 4096), (16384, 5000)]
    with DataFile(tmp_path / "data", 21384, lambda _count: None) as file:
        for index, (offset, count) in enumerate(pieces):
            panel = file.panel(count)
            panel[:count] = index + 1
            file.write(panel, count, offset)
    assert direct == {None: [0, 12288], "opening": [], "writing": [0]}[refused]
    content = (tmp_path / "data").read_bytes()
    assert content == b"\1" * 8192 + b"\2" * 100 + bytes(3996) + b"\3" * 4096 + b"\4" * 5000


def test_files_that_are_not_kept_hold_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(data_file, "KEPT_BYTES", 10)
    matrix, vector = on_disk(tmp_path, (1024, 512)), on_disk(tmp_path, (1000,))
    found = written(model_of(transposed(matrix, (1, 0)), vector, matrix), tmp_path)
    for array, expected in zip(found, (matrix.numpy().T, vector.numpy(), matrix.numpy()), strict=True):
        np.testing.assert_array_equal(array, expected)


class Watched(Constant):
    """A weight that says when it is read."""

    def __init__(self, name: str, read: list[str], size: int = 1000) -> None:
        super().__init__(DType.FLOAT32, (size,))
        self.name, self.seen, self.done = name, read, threading.Event()

    def numpy(self) -> np.ndarray:
        self.seen.append(self.name)
        self.done.set()
        if self.name == "broken":
            raise CheckpointError("broken")
        return np.zeros(self.shape, np.float32)


def test_the_next_weight_is_read_while_one_is_in_use() -> None:
    read: list[str] = []
    constants = [Watched(name, read) for name in "abc"]
    with open_ahead.open_ahead(constants) as matrices:
        next(matrices)
        assert constants[1].done.wait(10)
        assert read == ["a", "b"]
        assert len(list(matrices)) == 2
    assert read == ["a", "b", "c"]


def test_weights_too_large_for_each_other_are_read_one_at_a_time(monkeypatch: Any) -> None:
    monkeypatch.setattr(open_ahead, "_MOST_BYTES", 7999)
    read: list[str] = []
    constants = [Watched(name, read) for name in "ab"]
    with open_ahead.open_ahead(constants) as matrices:
        next(matrices)
        assert not constants[1].done.wait(0.2)
        next(matrices)
    assert read == ["a", "b"]


def test_what_is_still_being_opened_is_closed_as_well(tmp_path: Path) -> None:
    """Leaving at once, while the second file is opened: nothing of it stays open."""
    constants = [transposed(on_disk(tmp_path, (size, 64)), (1, 0)) for size in (30, 40)]
    for _ in range(20):
        with open_ahead.open_ahead(constants) as matrices:
            matrix = next(matrices)
        assert matrix.shape == (64, 30)
    if sys.platform == "linux":
        names = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        assert not [name for name in names if name.startswith(str(tmp_path))]


def test_a_weight_that_cannot_be_read_stops_where_it_is_wanted() -> None:
    with open_ahead.open_ahead([Watched("a", []), Watched("broken", [])]) as matrices:
        assert next(matrices).shape == (1000, 1)
        with pytest.raises(CheckpointError, match="broken"):
            next(matrices)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the files that Linux says are open")
def test_no_file_stays_open(tmp_path: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    def divide(count: int) -> None:
        raise ZeroDivisionError(count)

    constants = [transposed(on_disk(tmp_path, (size, 64)), (1, 0)) for size in (30, 40, 50)]
    placed = place([model_of(*constants)])
    before = count()
    write_data(placed, tmp_path / "data", lambda _count: None)
    assert count() == before
    with pytest.raises(ZeroDivisionError):
        write_data(placed, tmp_path / "data", divide)
    assert count() == before


def test_what_was_written_reads_back(tmp_path: Path) -> None:
    constant = transposed(on_disk(tmp_path, (64, 96)), (1, 0))
    save_model(model_of(constant), tmp_path / "m.onnx", external_data=True)
    [value] = from_onnx(tmp_path / "m.onnx").constants
    assert value.constant is not None
    np.testing.assert_array_equal(value.constant.numpy(), constant.numpy())
