"""Tensors of files: every element type in every encoding, external data and where it may lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node, make_tensor

from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.tensors import DataFolder, read_sparse_tensor, read_tensor
from tfgraph.errors import CheckpointError, OnnxError
from tfgraph.ir.constant import ArrayConstant, FileConstant
from tfgraph.ir.dtypes import DType

NOWHERE = DataFolder(None)
NUMERIC = [dtype for dtype in DType if dtype is not DType.STRING]


def values(dtype: DType) -> np.ndarray:
    if dtype is DType.BOOL:
        return np.array([[True, False, True]])
    low = 0 if dtype.value.startswith("u") else -2
    return np.array([[low, 1, 1 if 0 < dtype.bits < 4 else 5]]).astype(dtype.numpy())


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
@pytest.mark.parametrize("raw", [True, False])
def test_every_element_type_reads_back(dtype: DType, raw: bool) -> None:
    array = values(dtype)
    if raw:
        proto = onnx.numpy_helper.from_array(array)
        assert proto.HasField("raw_data")
    else:
        proto = make_tensor("", dtype.onnx_code, array.shape, array.astype(np.float64).reshape(-1).tolist())
        assert not proto.HasField("raw_data")
    constant = read_tensor(proto, NOWHERE)
    assert (constant.dtype, constant.shape) == (dtype, (1, 3))
    np.testing.assert_array_equal(constant.numpy(), array)
    assert constant.numpy().dtype == dtype.numpy()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
@pytest.mark.parametrize("raw", [True, False])
def test_scalars_and_empty_tensors(shape: tuple[int, ...], raw: bool) -> None:
    array = np.ones(shape, np.float32)
    data: Any = array.tobytes() if raw else array.reshape(-1).tolist()
    constant = read_tensor(make_tensor("t", TensorProto.FLOAT, shape, data, raw=raw), NOWHERE)
    assert constant.shape == shape
    assert constant.numpy().shape == shape


def test_strings_that_are_not_utf_8_survive() -> None:
    constant = read_tensor(make_tensor("t", TensorProto.STRING, [2], [b"ok", b"\xff\xfe"]), NOWHERE)
    assert [text.encode("utf-8", "surrogateescape") for text in constant.numpy()] == [b"ok", b"\xff\xfe"]


def broken(**fields: Any) -> TensorProto:
    proto = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[2])
    for name, value in fields.items():
        if isinstance(value, list):
            field = getattr(proto, name)
            del field[:]
            field.extend(value)
        else:
            setattr(proto, name, value)
    return proto


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (broken(raw_data=b"1234567"), "of float32[2] has 7 bytes of data where 8 were expected"),
        (broken(raw_data=b"", dims=[2**40, 2**40]), "too large"),
        (broken(float_data=[1.0]), "has 1 elements in `float_data`, expected 2"),
        (broken(dims=[-2]), "has the shape [-2]: expected sizes of 0 or more"),
        (broken(data_type=0), "the element type UNDEFINED, which tfgraph does not read"),
        (broken(data_type=77), "the element type number 77"),
        (broken(data_type=TensorProto.STRING, raw_data=b"ab"), "strings as raw bytes"),
        (broken(data_type=TensorProto.UINT8, int32_data=[1, 300]), "has elements that are no uint8"),
        (broken(data_type=TensorProto.INT64, dims=[0, 2**62, 8]), "too large"),
        (broken(raw_data=b"", dims=[0, 2**62, 8]), "too large"),
    ],
    ids=str,
)
def test_damaged_tensors(proto: TensorProto, message: str) -> None:
    with pytest.raises(OnnxError) as error:
        read_tensor(proto, NOWHERE)
    assert message in str(error.value)


def test_sparse_tensors() -> None:
    def sparse(indices: Any, shape: list[int]) -> onnx.SparseTensorProto:
        return onnx.helper.make_sparse_tensor(
            onnx.numpy_helper.from_array(np.array([5, 7], np.float16), "t"),
            onnx.numpy_helper.from_array(np.array(indices), "i"),
            shape,
        )

    expected = np.array([[0, 5, 0], [0, 0, 7]], np.float16)
    np.testing.assert_array_equal(read_sparse_tensor(sparse([1, 5], [2, 3]), NOWHERE).numpy(), expected)
    np.testing.assert_array_equal(read_sparse_tensor(sparse([[0, 1], [1, 2]], [2, 3]), NOWHERE).numpy(), expected)
    for indices, shape, message in [
        ([1, 6], [2, 3], "has an index outside it"),
        ([[0, 1], [1, 3]], [2, 3], "has an index outside it"),
        ([[-1, 1], [1, 2]], [2, 3], "has an index outside it"),
        ([1, 2, 3], [2, 3], "2 values and indices of shape [3]"),
        ([1, 2], [2**30, 2**30], "too large to be made dense"),
    ]:
        with pytest.raises(OnnxError) as error:
            read_sparse_tensor(sparse(indices, shape), NOWHERE)
        assert message in str(error.value)


@pytest.fixture
def external(tmp_path: Path, make_model: Any) -> Any:
    """A function that writes a model whose weight is external, with changed entries, and gives its path."""

    def write(array: np.ndarray | None = None, **entries: str) -> Path:
        weight = np.arange(2048, dtype=np.float32) if array is None else array
        model = make_model(
            [make_node("Add", ["x", "w"], ["y"])],
            {"x": (onnx.helper.np_dtype_to_tensor_dtype(weight.dtype), weight.shape)},
            ["y"],
        )
        (tmp_path / "w.bin").write_bytes(b"pad!" + weight.tobytes())
        tensor = TensorProto(name="w", data_type=model.graph.input[0].type.tensor_type.elem_type, dims=weight.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "w.bin", "offset": "4", "length": str(weight.nbytes), **entries}.items():
            tensor.external_data.add(key=key, value=value)
        model.graph.initializer.append(tensor)
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        return tmp_path / "model.onnx"

    return write


def test_external_data_stays_on_disk(external: Any) -> None:
    (value,) = from_onnx(external()).constants
    assert isinstance(value.constant, FileConstant)
    assert value.constant.path.name == "w.bin"
    np.testing.assert_array_equal(value.constant.numpy(), np.arange(2048, dtype=np.float32))


def test_small_external_tensors_are_read_at_once(external: Any) -> None:
    (value,) = from_onnx(external(np.arange(3))).constants
    assert isinstance(value.constant, ArrayConstant)
    assert value.content == (0, 1, 2)


def test_a_model_without_a_folder_needs_one(external: Any, tmp_path: Path) -> None:
    data = external().read_bytes()
    with pytest.raises(OnnxError, match="give the path of its file, or `data_folder`"):
        from_onnx(data)
    (value,) = from_onnx(data, data_folder=tmp_path).constants
    assert value.constant is not None
    assert value.constant.numpy()[1] == 1


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "/etc/passwd"}, "an absolute path"),
        ({"location": "C:\\weights.bin"}, "an absolute path"),
        ({"location": "\\\\server\\weights"}, "an absolute path"),
        ({"location": "../w.bin"}, "outside the model's folder: refused"),
        ({"location": "sub/../../w.bin"}, "outside the model's folder: refused"),
        ({"location": "missing.bin"}, "copy it beside the model"),
        ({"location": ""}, "which does not say where"),
        ({"location": "w\0.bin"}, "which does not say where"),
        ({"location": "."}, "there is no file"),
        ({"offset": "8"}, "ends early: the tensor 'w' takes bytes 8 to 8200, and the file has 8196"),
        ({"offset": "-4"}, "has the offset '-4': expected a number of bytes"),
        ({"offset": "9" * 30}, "expected a number of bytes"),
        ({"length": "8"}, "takes 8192 bytes, and the model says"),
        ({"length": "many"}, "the length 'many'"),
    ],
)
def test_external_data_that_may_not_be_read(entries: dict[str, str], message: str, external: Any) -> None:
    with pytest.raises(OnnxError) as error:
        from_onnx(external(**entries))
    assert message in str(error.value)


def test_a_link_out_of_the_folder_is_refused(external: Any, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    path = external()
    (folder / "model.onnx").write_bytes(path.read_bytes())
    (folder / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(OnnxError, match="outside the model's folder"):
        from_onnx(folder / "model.onnx")


def test_a_link_to_where_the_model_itself_is_linked_is_followed(external: Any, tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"  # the layout of the cache of a model hub
    folder.mkdir()
    (folder / "model.onnx").symlink_to(external())
    (folder / "w.bin").symlink_to(tmp_path / "w.bin")
    (value,) = from_onnx(folder / "model.onnx").constants
    assert value.constant is not None
    assert value.constant.numpy()[-1] == 2047


def test_data_that_vanishes_after_the_import_is_reported(external: Any, tmp_path: Path) -> None:
    (value,) = from_onnx(external()).constants
    (tmp_path / "w.bin").write_bytes(b"short")
    assert value.constant is not None
    with pytest.raises(CheckpointError, match="ends early"):
        value.constant.numpy()


def test_external_int4_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes([0xF1, 0x8]) * 2500)
    proto = TensorProto(name="w", data_type=TensorProto.INT4, dims=[9999], data_location=TensorProto.EXTERNAL)
    proto.external_data.add(key="location", value="w.bin")
    constant = read_tensor(proto, DataFolder.at(tmp_path))
    np.testing.assert_array_equal(constant.numpy()[:4], np.array([1, -1, -8, 0], ml_dtypes.int4))
