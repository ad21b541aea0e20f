"""Reading the table of contents of safetensors files: what the package wrote, and every way to break the format."""

import json
import os
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from tfgraph.checkpoints.safetensors import read_safetensors
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import FileConstant
from tfgraph.ir.dtypes import DType


def _file(path: Path, header: object, data: bytes = b"", *, length: int | None = None) -> Path:
    """A file made by hand, so that it can be wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def _tensor(dtype: object, shape: object, begin: object, end: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _error(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_safetensors(path)
    message = str(caught.value)
    assert str(path) in message
    return message


def test_reads_what_the_package_wrote(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "encoder.weight": rng.standard_normal((3, 5)).astype(np.float32),
        "half": rng.standard_normal(7).astype(np.float16),
        "brain": rng.standard_normal((2, 2)).astype(ml_dtypes.bfloat16),
        "double": rng.standard_normal((1, 1, 4)),
        "ids": np.arange(6).reshape(2, 3),
        "mask": np.array([True, False, True]),
        "bytes": np.arange(5, dtype=np.uint8),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "ünï": np.array([-1], np.int16),
    }
    path = tmp_path / "model.safetensors"
    save_file(arrays, path, metadata={"format": "pt"})

    read = read_safetensors(path)

    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert isinstance(read[name], FileConstant)
        assert read[name].shape == array.shape
        assert read[name].dtype.numpy() == array.dtype
        np.testing.assert_array_equal(read[name].numpy(), array)


@pytest.mark.parametrize(
    "code, dtype",
    [
        ("F64", DType.FLOAT64),
        ("F32", DType.FLOAT32),
        ("F16", DType.FLOAT16),
        ("BF16", DType.BFLOAT16),
        ("F8_E4M3", DType.FLOAT8_E4M3FN),
        ("F8_E5M2", DType.FLOAT8_E5M2),
        ("F8_E4M3FNUZ", DType.FLOAT8_E4M3FNUZ),
        ("F8_E5M2FNUZ", DType.FLOAT8_E5M2FNUZ),
        ("I64", DType.INT64),
        ("I32", DType.INT32),
        ("I16", DType.INT16),
        ("I8", DType.INT8),
        ("U8", DType.UINT8),
        ("U16", DType.UINT16),
        ("U32", DType.UINT32),
        ("U64", DType.UINT64),
        ("BOOL", DType.BOOL),
    ],
)
def test_every_dtype_reads_as_the_package_reads_it(tmp_path, code, dtype):
    nbytes = 6 * dtype.bits // 8
    data = bytes(number % 2 for number in range(nbytes))
    path = _file(tmp_path / "w.safetensors", {"w": _tensor(code, [2, 3], 0, nbytes)}, data)

    constant = read_safetensors(path)["w"]

    assert (constant.dtype, constant.shape, constant.nbytes) == (dtype, (2, 3), nbytes)
    assert constant.numpy().tobytes() == data
    with safe_open(path, "np") as file:
        assert file.get_slice("w").get_dtype() == code


def test_no_tensor_is_read(tmp_path):
    path = tmp_path / "sparse.safetensors"
    nbytes = 40 * 2**30  # more than memory; the file is a hole and takes no disk
    _file(path, {"w": _tensor("F32", [10, 2**30], 0, nbytes)})
    os.truncate(path, path.stat().st_size + nbytes)

    assert read_safetensors(path)["w"].shape == (10, 2**30)


def test_weights_stay_readable_when_the_working_directory_changes(tmp_path, monkeypatch):
    save_file({"w": np.ones(2, np.float32)}, tmp_path / "w.safetensors")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    constant = read_safetensors("w.safetensors")["w"]
    monkeypatch.chdir(tmp_path / "elsewhere")

    np.testing.assert_array_equal(constant.numpy(), np.ones(2, np.float32))


def test_header_may_be_empty_or_padded(tmp_path):
    assert read_safetensors(_file(tmp_path / "none.safetensors", {})) == {}
    assert read_safetensors(_file(tmp_path / "padded.safetensors", b'{"__metadata__": {"a": "b"}}   ')) == {}


@pytest.mark.parametrize("kept", [0, 1, 7])
def test_file_shorter_than_its_first_field(tmp_path, kept):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0"[:kept])
    assert f"has {kept} bytes" in _error(path)
    assert "download it again" in _error(path)


def test_file_cut_inside_its_header(tmp_path):
    path = _file(tmp_path / "w.safetensors", b'{"w":', length=105)
    message = _error(path)
    assert "105 bytes of header expected, 5 found, at least 100 missing" in message
    assert "download it again" in message


def test_file_cut_inside_its_tensors_says_how_much_is_missing(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": np.zeros(4, np.float32), "b": np.zeros(4, np.float32)}, path)
    os.truncate(path, path.stat().st_size - 10)
    message = _error(path)
    assert "from tensor 'b' on" in message
    assert "32 bytes of tensors expected, 22 found, 10 missing" in message
    assert "download it again" in message


def test_absurd_header_length(tmp_path):
    message = _error(_file(tmp_path / "w.safetensors", b"<!DOCTYPE html><html>"[8:], length=0x50_59_54_43_4F_44_21_3C))
    assert "not a safetensors file" in message
    assert "100000000" in message


def test_git_lfs_pointer(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 90868376\n")
    assert "git lfs pull" in _error(path)


@pytest.mark.parametrize(
    "header, found",
    [
        (b"", "header begins with b'', expected b'{'"),
        (b" {}", "header begins with b' '"),
        (b"[1]", "header begins with b'['"),
        (b'{"w": }', "line 1 column 7"),
        (b'{"w\xff": 1}', "can't decode byte 0xff"),
        (b'{"w": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 0]}}', "NaN is not JSON"),
        (b'{"w":' + b"[" * 100_000, "header"),
        (b'{"w": ' + b"9" * 5000 + b"}", "header"),
        (b'{"w": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}, "w": {}}', "'w' appears twice"),
        (b'{"w": {"dtype": "U8", "dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}', "'dtype' appears twice"),
        (b'{"__metadata__": {"a": 1}}', "'__metadata__' must map text to text"),
        (b'{"__metadata__": []}', "'__metadata__' must map text to text"),
        (rb'{"\ud800": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}', "half of a surrogate pair"),
    ],
)
def test_header_that_is_not_the_right_json(tmp_path, header, found):
    assert found in _error(_file(tmp_path / "w.safetensors", header))


@pytest.mark.parametrize(
    "fields, found",
    [
        (3, "expected an object with dtype, shape and data_offsets, found 3"),
        ({"dtype": "F32", "shape": [1]}, "expected an object with dtype, shape and data_offsets"),
        (_tensor("F33", [1], 0, 4), "dtype 'F33' is not one of F64, F32"),
        (_tensor(["F32"], [1], 0, 4), "dtype ['F32'] is not one of"),
        (_tensor("F32", 4, 0, 16), "shape must be a list of integers >= 0, found 4"),
        (_tensor("F32", [-1], 0, 4), "found [-1]"),
        (_tensor("F32", [True], 0, 4), "found [True]"),
        (_tensor("F32", [1.0], 0, 4), "found [1.0]"),
        (_tensor("F32", [2**62, 2**62, 0], 0, 0), "more than 2**63 elements"),
        (_tensor("F32", [1], -4, 0), "data_offsets must be two integers >= 0, found [-4, 0]"),
        (_tensor("F32", [1], 0, 2**64), "data_offsets must be two integers >= 0"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0]}, "data_offsets must be two integers >= 0, found [0]"),
        (_tensor("F32", [1], 8, 4), "data_offsets [8, 4] end before they begin"),
        (_tensor("F32", [2, 3], 0, 20), "span 20 bytes, expected 24 for float32[2, 3]"),
    ],
)
def test_tensor_described_wrongly(tmp_path, fields, found):
    message = _error(_file(tmp_path / "w.safetensors", {"encoder.w": fields}, bytes(64)))
    assert "tensor 'encoder.w'" in message
    assert found in message


@pytest.mark.parametrize(
    "header, data, found",
    [
        (
            {"a": _tensor("U8", [4], 0, 4), "b": _tensor("U8", [4], 2, 6)},
            bytes(6),
            "tensor 'b': begins at byte 2, inside tensor 'a', which ends at byte 4",
        ),
        (
            {"a": _tensor("U8", [4], 0, 4), "b": _tensor("U8", [4], 6, 10)},
            bytes(10),
            "tensor 'b': begins at byte 6, expected 4",
        ),
        ({"a": _tensor("U8", [4], 1, 5)}, bytes(5), "tensor 'a': begins at byte 1, expected 0"),
        ({"a": _tensor("U8", [4], 0, 4)}, bytes(7), "3 bytes that belong to no tensor"),
        ({"a": _tensor("U8", [2**40], 0, 2**40)}, bytes(7), "1099511627769 missing"),
    ],
)
def test_tensors_that_do_not_tile_the_file(tmp_path, header, data, found):
    assert found in _error(_file(tmp_path / "w.safetensors", header, data))


def test_a_message_stays_short_however_long_what_was_found(tmp_path):
    path = _file(tmp_path / "w.safetensors", {"w": _tensor("F32", ["x" * 10_000] * 1000, 0, 4)}, bytes(4))
    assert len(_error(path)) < 2000


def test_path_that_is_no_file(tmp_path):
    assert "does not exist" in _error(tmp_path / "absent.safetensors")
    assert "is not a file" in _error(tmp_path)
    with pytest.raises(CheckpointError, match="null"):
        read_safetensors("a\0b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in _error(tmp_path / "pipe")


@pytest.fixture(scope="module")
def valid_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("valid") / "valid.safetensors"
    arrays = {"a.w": np.ones((2, 3), np.float32), "b": np.arange(4, dtype=np.int64), "c": np.ones(3, np.float16)}
    save_file(arrays, path, metadata={"format": "np"})
    return path.read_bytes()


@settings(derandomize=True, deadline=None, max_examples=400)
@given(data=st.data())
def test_damage_is_refused_or_reads_as_the_package_reads_it(valid_bytes, data):
    damaged = bytearray(valid_bytes)
    header_end = 8 + int.from_bytes(valid_bytes[:8], "little")
    places = st.one_of(st.integers(0, 7), st.integers(8, header_end - 1), st.integers(0, len(damaged) - 1))
    printable = st.sampled_from(b'0123456789-+.eE[]{}":, FIU\\')
    for place, byte in data.draw(st.lists(st.tuples(places, st.one_of(printable, st.integers(0, 255))), max_size=3)):
        damaged[place] = byte
    damaged = damaged[: data.draw(st.one_of(st.just(len(damaged)), st.integers(0, len(damaged))))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.safetensors"
        path.write_bytes(damaged)
        try:
            ours = read_safetensors(path)
        except CheckpointError:
            ours = None
        try:
            theirs = load_file(path)
        except (SafetensorError, KeyError):  # KeyError: a dtype that the package knows and numpy does not
            theirs = None
        assert (ours is None) == (theirs is None)
        for name, array in (theirs or {}).items():
            assert ours[name].numpy().tobytes() == array.tobytes()
            assert ours[name].shape == array.shape
