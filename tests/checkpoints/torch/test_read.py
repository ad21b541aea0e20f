"""Reading what torch wrote: every dtype and every kind of view, in both forms, equal to what torch itself reads."""

import argparse
import collections
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.checkpoints.torch import Attributes, flatten_tensors, read_torch, read_torch_object
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import ArrayConstant, Derived, FileConstant, constant_key
from tfgraph.ir.dtypes import DType, as_dtype

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.bool,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
]
FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def _save(value, path, zipped=True):
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def _bytes(tensor):
    return tensor.detach().flatten().clone(memory_format=torch.contiguous_format).view(torch.uint8).numpy().tobytes()


def _check(constant, tensor):
    assert constant.shape == tuple(tensor.shape)
    assert constant.dtype is as_dtype(tensor.dtype)
    array = constant.numpy()
    assert array.shape == tuple(tensor.shape)
    assert array.dtype == constant.dtype.numpy()
    assert array.tobytes() == _bytes(tensor)


@FORMS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(tmp_path, zipped, dtype):
    numbers = torch.arange(-3, 9).reshape(3, 4).abs() % 2 if dtype is torch.bool else torch.arange(12).reshape(3, 4)
    tensor = numbers.to(dtype)
    weights = read_torch(_save({"w": tensor}, tmp_path / "w.bin", zipped))
    assert isinstance(weights["w"], FileConstant)
    _check(weights["w"], tensor)


VIEWS = {
    "whole": lambda base: base,
    "transposed": lambda base: base.t(),
    "rows": lambda base: base[2:4],
    "a row": lambda base: base[1],
    "columns": lambda base: base[:, 1:4],
    "a column": lambda base: base[:, 2],
    "every other": lambda base: base[::2, ::3],
    "transposed columns": lambda base: base[:, 1:3].t(),
    "three axes": lambda base: base.reshape(2, 3, 4).permute(2, 0, 1),
    "inner axes swapped": lambda base: base.reshape(2, 3, 4).permute(0, 2, 1),
    "new axes": lambda base: base[None, :, None],
    "transposed new axes": lambda base: base.t()[:, None],
    "expanded": lambda base: base[:, :1].expand(6, 5),
    "diagonal": lambda base: base.diagonal(),
    "overlapping": lambda base: base.flatten().unfold(0, 5, 2),
    "scalar": lambda base: base[3, 2],
    "empty": lambda base: base[6:],
    "empty columns": lambda base: base[:, 2:2],
    "parameter": lambda base: torch.nn.Parameter(base.float()),
}


@FORMS
@pytest.mark.parametrize("view", VIEWS)
def test_every_view(tmp_path, zipped, view):
    base = torch.arange(24, dtype=torch.float32).reshape(6, 4)
    tensor = VIEWS[view](base)
    _check(read_torch(_save({"w": tensor}, tmp_path / "w.bin", zipped))["w"], tensor)


@pytest.mark.parametrize("view", ["whole", "rows", "a row", "new axes", "scalar", "parameter"])
def test_a_view_that_is_one_run_stays_in_the_file(tmp_path, view):
    tensor = VIEWS[view](torch.arange(24, dtype=torch.float32).reshape(6, 4))
    assert isinstance(read_torch(_save({"w": tensor}, tmp_path / "w.bin"))["w"], FileConstant)


def test_a_permuted_view_is_a_transposed_handle(tmp_path):
    tensor = torch.zeros(2, 3, 4).permute(2, 0, 1)
    constant = read_torch(_save({"w": tensor}, tmp_path / "w.bin"))["w"]
    assert isinstance(constant, Derived)
    assert constant.key == ("transposed", (2, 0, 1))
    assert isinstance(constant.bases[0], FileConstant)


@settings(max_examples=40)
@given(data=st.data())
def test_any_strides(tmp_path_factory, data):
    shape = data.draw(st.lists(st.integers(0, 4), max_size=4))
    strides = data.draw(st.lists(st.integers(0, 6), min_size=len(shape), max_size=len(shape)))
    offset = data.draw(st.integers(0, 3))
    span = 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True)) if 0 not in shape else 0
    base = torch.arange(offset + span, dtype=torch.int32)
    tensor = torch.as_strided(base, shape, strides, offset)
    path = tmp_path_factory.mktemp("strides") / "w.pt"
    _check(read_torch(_save({"w": tensor}, path, data.draw(st.booleans())))["w"], tensor)


@FORMS
def test_tied_weights_are_one_constant(tmp_path, zipped):
    shared = torch.ones(4, 3)
    state = {"wte": shared, "head": shared, "first": shared[:2], "again": shared[:2], "other": torch.ones(4, 3)}
    weights = read_torch(_save(state, tmp_path / "w.bin", zipped))
    assert weights["wte"] is weights["head"]
    assert weights["first"] is weights["again"]
    assert weights["wte"] is not weights["first"]
    assert constant_key(weights["wte"]) != constant_key(weights["other"])


@FORMS
def test_state_dict_of_a_module(tmp_path, zipped):
    torch.manual_seed(0)
    module = torch.nn.TransformerEncoderLayer(8, 2, 16).eval()
    state = module.state_dict()
    weights = read_torch(_save(state, tmp_path / "w.bin", zipped))
    assert list(weights) == list(state)
    for name, tensor in state.items():
        _check(weights[name], tensor)


@FORMS
def test_nested_dicts_are_flattened_and_only_tensors_are_taken(tmp_path, zipped):
    state = {
        "checkpoint_version": 3.0,
        "model": {"language_model": collections.OrderedDict(weight=torch.ones(2)), "list": [torch.zeros(1), None]},
        "optimizer": {"state": {0: {"step": torch.tensor(7)}}},
        "iteration": 10,
        "empty": {},
    }
    weights = read_torch(_save(state, tmp_path / "w.pt", zipped))
    assert list(weights) == ["model.language_model.weight", "model.list.0", "optimizer.state.0.step"]
    assert weights["optimizer.state.0.step"].numpy() == 7
    read = read_torch_object(tmp_path / "w.pt")
    assert read["checkpoint_version"] == 3.0
    assert list(flatten_tensors(read["model"], "here")) == ["language_model.weight", "list.0"]


@FORMS
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_everything_around_the_tensors_is_inert(tmp_path, zipped, protocol):
    tensor, parameter = torch.arange(3.0), torch.nn.Parameter(torch.arange(2.0))
    tensor.note, parameter.partition_dim = "attributes of tensors are dropped", 1
    value = {
        "args": argparse.Namespace(layers=2, dtype=torch.bfloat16, device=torch.device("cuda", 0), lr=1e-3, none=None),
        "tensor": tensor,
        "parameter": parameter,
        "storage": torch.arange(3.0).untyped_storage(),
        "size": torch.Size([2, 3]),
        "set": {5},
        "frozen": frozenset([6]),
        "counter": collections.Counter("aab"),
        "default": collections.defaultdict(dict, a=1),
        "defaults": [collections.defaultdict(kind) for kind in (list, int, float, str, bool, tuple, set)],
        "classes": [int, dict],
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">f8"),
        "number": np.float64(2.5),
        "flag": np.bool_(True),
        "bytes": b"\x00\xff",
        "integers": [0, -1, 255, 2**40, -(2**40), 2**200],
        "text": "ünï",
        "truth": (True, False, None),
    }
    torch.save(value, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)

    read = read_torch_object(tmp_path / "w.pt")

    assert isinstance(read, dict)
    assert isinstance(read["args"], Attributes)
    assert read["args"].type_name == "argparse.Namespace"
    assert dict(read["args"]) == {
        "layers": 2,
        "dtype": "torch.bfloat16",
        "device": "cuda:0",
        "lr": 1e-3,
        "none": None,
    }
    for name in ("tensor", "parameter"):
        _check(read[name], value[name])
    assert read["storage"].numpy().tobytes() == np.arange(3, dtype=np.float32).tobytes()
    assert (read["size"], read["set"], read["frozen"]) == ((2, 3), [5], [6] if protocol < 4 else (6,))
    assert (read["counter"], read["default"]) == ({"a": 2, "b": 1}, {"a": 1})
    assert read["defaults"] == [{}] * 7
    assert [name.rpartition(".")[2] for name in read["classes"]] == (
        ["long", "dict"] if protocol == 2 else ["int", "dict"]
    )
    for name in ("array", "fortran", "big"):
        assert isinstance(read[name], ArrayConstant)
        np.testing.assert_array_equal(read[name].numpy(), value[name])
    for name in ("number", "flag", "bytes", "integers", "text", "truth"):
        assert read[name] == value[name]
        assert type(read[name]) in (float, bool, bytes, list, str, tuple)


@pytest.mark.parametrize("protocol", [0, 1])
def test_old_protocols(tmp_path, protocol, files):
    value = {
        "a": [1, -2.5, "x\n", 2**70, True, None],
        3: ((), (1,), {}),
        "b": [{"c": "ü"}, [], {"d": [0]}, (1, 2, 3, 4)],
    }
    value["again"] = value["b"]
    read = read_torch_object(files.zip_file(tmp_path / "w.pt", files.pickled(value, protocol)))
    assert read == value
    assert read["again"] is read["b"]


def test_text_of_python_2(tmp_path, files):
    content = (
        b"\x80\x02}q\x00(U\x01aq\x01U\x02\xfczT\x01\x00\x00\x00bccollections\nOrderedDict\n]]((U\x01ck\x05eae\x85Ru."
    )
    content = content.replace(b"((U\x01ck\x05eae", b"(U\x01cK\x05ea")
    read = read_torch_object(files.zip_file(tmp_path / "w.pt", content))
    assert read == {"a": "üz", "b": {"c": 5}}


def test_objects_of_megatron_are_their_attributes(tmp_path, files, monkeypatch):
    for name in ("megatron", "megatron.model"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    module = type(sys)("megatron.model.enums")
    kind = type("ModelType", (), {"__module__": module.__name__, "__init__": lambda self, value: None})
    module.ModelType = kind
    scaler = type("LossScaler", (), {"__module__": module.__name__, "__init__": lambda self: None})
    module.LossScaler = scaler
    monkeypatch.setitem(sys.modules, module.__name__, module)
    instance = scaler()
    instance.cur_scale = 2.0
    path = files.zip_file(tmp_path / "w.pt", {"kind": files.Call(kind, 1), "scaler": instance})

    read = read_torch_object(path)

    assert (read["kind"].type_name, read["kind"].arguments) == ("megatron.model.enums.ModelType", (1,))
    assert (read["scaler"].type_name, dict(read["scaler"])) == ("megatron.model.enums.LossScaler", {"cur_scale": 2.0})


def test_shared_values_stay_shared(tmp_path):
    inner = {"a": [1]}
    read = read_torch_object(_save({"x": inner, "y": inner}, tmp_path / "w.pt"))
    assert read["x"] is read["y"]


@FORMS
def test_tensors_that_were_on_a_gpu(tmp_path, zipped, files):
    storage = files.Storage("0", 2, location="cuda:1", rest=() if zipped else (None,))
    value, data = {"w": files.Tensor(storage, [2], [1])}, np.array([1.5, -2], np.float32)
    if zipped:
        path = files.zip_file(tmp_path / "w.pt", value, [data.tobytes()])
    else:
        path = files.legacy_file(tmp_path / "w.pt", value, {"0": data.tobytes()})
    np.testing.assert_array_equal(read_torch(path)["w"].numpy(), data)
    _check(read_torch(path)["w"], torch.load(path, map_location="cpu", weights_only=True)["w"])


def _packed_again(path, target, method=zipfile.ZIP_STORED, change=lambda name, content: content):
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", method) as copy:
        for name in source.namelist():
            copy.writestr(name, change(name, source.read(name)))
    return target


def test_deflated_entries_are_read_lazily(tmp_path):
    base = torch.arange(800_000, dtype=torch.float32).reshape(1000, 800)  # 3.2 MB: more than one chunk
    state = {"all": base, "rows": base[300:900], "t": base.t(), "column": base[:, 7], "half": base[:3].half()}
    path = _packed_again(_save(state, tmp_path / "a.bin"), tmp_path / "b.bin", zipfile.ZIP_DEFLATED)
    weights = read_torch(path)
    assert not isinstance(weights["all"], ArrayConstant)
    for name, tensor in state.items():
        _check(weights[name], tensor)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"cannot read the weights in .*b\.bin"):
        weights["all"].numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8], ids=str)
def test_big_endian_files(tmp_path, dtype):
    state = {"w": torch.arange(12).reshape(3, 4).to(dtype), "t": torch.arange(1000, 1012).reshape(3, 4).to(dtype).t()}

    def swapped(name, content):
        if name.endswith("/byteorder"):
            return b"big"
        kind = f"u{dtype.itemsize}"
        return np.frombuffer(content, kind).byteswap().tobytes() if "/data/" in name else content

    path = _packed_again(_save(state, tmp_path / "a.bin"), tmp_path / "b.bin", change=swapped)
    weights, expected = read_torch(path), torch.load(path, weights_only=True)
    for name in state:
        _check(weights[name], expected[name])
        _check(weights[name], state[name])


def test_no_tensor_is_read(tmp_path, files):
    nbytes = 40 * 2**30  # more than memory; the file is a hole and takes no disk
    tensor = files.Tensor(files.Storage("0", nbytes // 4), [10, 2**30], [2**30, 1])
    tail = files.Tensor(files.Storage("1", 2), [2], [1])
    entries = [
        files.Entry("archive/data.pkl", files.pickled({"w": tensor, "tail": tail})),
        files.Entry("archive/data/0", hole=nbytes),
        files.Entry("archive/data/1", np.array([3, 4], np.float32).tobytes()),
    ]
    weights = read_torch(files.write_zip(tmp_path / "w.bin", entries))
    assert weights["w"].shape == (10, 2**30)
    np.testing.assert_array_equal(weights["tail"].numpy(), [3, 4])  # beyond 4 GB


def test_weights_stay_readable_when_the_working_directory_changes(tmp_path, monkeypatch):
    _save({"w": torch.ones(2)}, tmp_path / "w.bin")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    constant = read_torch("w.bin")["w"]
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(constant.numpy(), np.ones(2, np.float32))


def test_torch_is_not_imported(tmp_path):
    path = _save({"w": torch.ones(2)}, tmp_path / "w.bin")
    code = (
        "import sys; from tfgraph.checkpoints.torch import read_torch\n"
        f"assert read_torch({str(path)!r})['w'].numpy().sum() == 2\n"
        "assert 'torch' not in sys.modules and 'pickle' not in vars(sys.modules['tfgraph.checkpoints.torch.read'])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


@pytest.mark.parametrize("value, found", [(torch.ones(2), "a tensor"), ([torch.ones(2)], "a list"), (3, "a int")])
def test_something_else_than_a_dict(tmp_path, value, found):
    path = _save(value, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=rf"w\.pt holds {found}; expected a dict of tensors"):
        read_torch(path)
    read_torch_object(path)


def test_a_dict_without_tensors(tmp_path):
    with pytest.raises(CheckpointError, match="holds no tensors"):
        read_torch(_save({"epoch": 3}, tmp_path / "w.pt"))


def test_two_tensors_of_one_name(tmp_path):
    a = torch.ones(2)
    path = _save({"a": {"b": a}, "a.b": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"two tensors that are both called 'a\.b'"):
        read_torch(path)
    assert list(read_torch(_save({"a": {"b": a}, "a.b": a}, path))) == ["a.b"]


def test_a_published_checkpoint():
    spec = importlib.util.find_spec("mgm")
    if spec is None or spec.origin is None:
        pytest.skip("pip install --no-deps microformer-mgm==0.5.8")
    path = Path(spec.origin).parent / "resources" / "general_model" / "pytorch_model.bin"
    weights, expected = read_torch(path), torch.load(path, map_location="cpu", weights_only=True)
    assert list(weights) == list(expected)
    for name, tensor in expected.items():
        _check(weights[name], tensor)
    assert weights["lm_head.weight"] is weights["transformer.wte.weight"]
    assert weights["transformer.wte.weight"].dtype is DType.FLOAT32
    with pytest.raises(CheckpointError, match=r"asks for transformers\.training_args\.TrainingArguments"):
        read_torch_object(path.with_name("training_args.bin"))
