"""`tfgraph.optimize_onnx` on weights outside the file: read where they lie, and written beside the result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import tfgraph as tg
from tfgraph.errors import OnnxError
from tfgraph.ir.constant import Array

F = TensorProto.FLOAT


def chain_file(path: Path, size: int, count: int, data: str = "weights.bin") -> list[Array]:
    """`x @ w0 @ w1 ...`, GELU after each, its weights in the file `data` beside it; return the weights."""
    generator = np.random.default_rng(0)
    arrays, nodes, tensors, x = [], [], [], "x"
    with (path.parent / data).open("wb") as file:
        for index in range(count):
            array = generator.standard_normal((size, size), dtype=np.float32) / size**0.5
            tensor = TensorProto(name=f"w{index}", data_type=F, dims=array.shape, data_location=TensorProto.EXTERNAL)
            for key, value in (("location", data), ("offset", file.tell()), ("length", array.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            file.write(array.tobytes())
            arrays.append(array)
            tensors.append(tensor)
            nodes += [
                make_node("MatMul", [x, f"w{index}"], [f"m{index}"]),
                make_node("Div", [f"m{index}", "root"], [f"d{index}"]),
                make_node("Erf", [f"d{index}"], [f"e{index}"]),
                make_node("Add", [f"e{index}", "one"], [f"a{index}"]),
                make_node("Mul", [f"m{index}", f"a{index}"], [f"p{index}"]),
                make_node("Mul", [f"p{index}", "half"], [f"y{index}"]),
            ]
            x = f"y{index}"
    numbers = {"root": 2**0.5, "one": 1.0, "half": 0.5}
    tensors += [onnx.numpy_helper.from_array(np.array(number, np.float32), name) for name, number in numbers.items()]
    graph = make_graph(
        nodes,
        "chain",
        [make_tensor_value_info("x", F, ["batch", size])],
        [make_tensor_value_info(x, F, ["batch", size])],
        tensors,
    )
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), path)
    return arrays


def weights_of(path: Path) -> dict[str, Array]:
    model = onnx.load(path)
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_small_weights_beside_the_file_move_into_it(tmp_path):
    (tmp_path / "out").mkdir()
    arrays = chain_file(tmp_path / "in.onnx", 8, 3)
    report = tg.optimize_onnx(tmp_path / "in.onnx", tmp_path / "out" / "out.onnx")
    assert report.proof.verdict == "equal" and report.fused["Gelu"] == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["out.onnx"]
    found = weights_of(tmp_path / "out" / "out.onnx")
    for index, array in enumerate(arrays):
        np.testing.assert_array_equal(found[f"w{index}"], array)


def test_the_file_itself_may_be_replaced(tmp_path):
    arrays = chain_file(tmp_path / "model.onnx", 8, 2, data="model.onnx.data")
    assert tg.optimize_onnx(tmp_path / "model.onnx", tmp_path / "model.onnx").proof.verdict == "equal"
    np.testing.assert_array_equal(weights_of(tmp_path / "model.onnx")["w1"], arrays[1])


@pytest.mark.parametrize(
    ("size", "message"), [(0, "w0"), (8 * 8 * 4 - 1, "w0"), (8 * 8 * 4, "w1")], ids=["empty", "short", "one of two"]
)
def test_data_that_ends_early_is_refused_and_the_old_file_stays(tmp_path, size, message):
    chain_file(tmp_path / "in.onnx", 8, 2)
    os.truncate(tmp_path / "weights.bin", size)
    (tmp_path / "out.onnx").write_bytes(b"old")
    with pytest.raises(OnnxError, match=message):
        tg.optimize_onnx(tmp_path / "in.onnx", tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == b"old"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("inside", [False, True], ids=["beside", "inside"])
def test_200_megabytes_are_never_held_twice(tmp_path, inside):
    """Beside the file the weights are read a part at a time; inside, they are what reading the message takes."""
    (tmp_path / "out").mkdir()
    arrays = chain_file(tmp_path / "in.onnx", 1024, 50)
    if inside:
        onnx.save(onnx.load(tmp_path / "in.onnx"), tmp_path / "in.onnx")
        (tmp_path / "weights.bin").unlink()
    code = """
import sys
import onnx_ir, tfgraph as tg
import tfgraph.backends.onnx.write, tfgraph.compiler
from tfgraph.bench.machine import forget_peak_memory, peak_memory
tg.optimize_onnx(sys.argv[3], sys.argv[4], verify=False)
forget_peak_memory()
before = peak_memory()
tg.optimize_onnx(sys.argv[1], sys.argv[2], verify=False)
print(peak_memory() - before)
"""
    chain_file(tmp_path / "warm.onnx", 8, 1, data="warm.bin")
    paths = [
        tmp_path / "in.onnx",
        tmp_path / "out" / "out.onnx",
        tmp_path / "warm.onnx",
        tmp_path / "out" / "warm.onnx",
    ]
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < (500 if inside else 60) * 2**20
    assert (tmp_path / "out" / "out.onnx.data").stat().st_size >= 200 * 2**20
    found = weights_of(tmp_path / "out" / "out.onnx")
    for index in (0, 49):
        np.testing.assert_array_equal(found[f"w{index}"], arrays[index])
    again = tmp_path / "again"
    again.mkdir()
    tg.optimize_onnx(tmp_path / "out" / "out.onnx", again / "out.onnx", verify=False)
    for name in ("out.onnx", "out.onnx.data"):
        assert (again / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
