"""Files that mean harm: code in a pickle is refused by name and never run, and no claim costs much to refuse."""

import builtins
import collections
import functools
import operator
import os
import pickle
import subprocess
import sys
import time

import pytest
import torch

from tfgraph.checkpoints.torch import read_torch, read_torch_object
from tfgraph.checkpoints.torch.read import MAX_DEPTH
from tfgraph.errors import CheckpointError

FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
MANY = 50_000


def _refused(path, read=read_torch_object):
    """The message of the refusal, which must come soon."""
    start = time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert time.perf_counter() - start < 5  # a fraction of a second on an idle machine
    message = str(caught.value)
    assert str(path) in message
    assert len(message) < 2000
    return message


def _file(files, path, content, zipped):
    return files.zip_file(path, content) if zipped else files.legacy_file(path, content)


@FORMS
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_payload_does_nothing(tmp_path, files, zipped, protocol):
    written = tmp_path / "written"
    payload = files.Call(os.system, f"touch {written}")
    content = files.pickled({"weight": [1.0], "bad": payload}, protocol)
    pickle.loads(content)
    assert written.exists()  # the payload works
    written.unlink()
    path = _file(files, tmp_path / "w.bin", content, zipped)

    message = _refused(path)

    assert not written.exists()
    assert "asks for posix.system" in message
    assert "Nothing of it was run" in message
    assert "safe_serialization=True" in message


@pytest.mark.parametrize(
    "function, name",
    [
        (builtins.eval, "builtins.eval"),
        (builtins.exec, "builtins.exec"),
        (builtins.__import__, "builtins.__import__"),
        (builtins.getattr, "builtins.getattr"),
        (builtins.open, "io.open"),
        (builtins.map, "builtins.map"),
        (os.remove, "posix.remove"),
        (subprocess.Popen, "subprocess.Popen"),
        (functools.partial, "functools.partial"),
        (operator.attrgetter, "operator.attrgetter"),
        (torch.load, "torch.serialization.load"),
        (torch.hub.load, "torch.hub.load"),
        (torch.jit.load, "torch.jit._serialization.load"),
        (torch.storage._load_from_bytes, "torch.storage._load_from_bytes"),
        (torch.nn.Linear, "torch.nn.modules.linear.Linear"),
        (pickle.loads, "_pickle.loads"),
        (sys.exit, "sys.exit"),
    ],
)
def test_every_other_global_is_refused_by_name(tmp_path, files, function, name):
    assert f"asks for {name}," in _refused(files.zip_file(tmp_path / "w.bin", files.pickled(files.Call(function), 4)))
    assert f"asks for {name}," in _refused(files.zip_file(tmp_path / "w.bin", files.pickled([function], 4)))


@pytest.mark.parametrize(
    "content, name",
    [
        (b"\x80\x02cos\nsystem\n.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'true'\no.", "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "builtins.eval"),
        (b"\x80\x04\x8c\x08builtins\x8c\x0ddict.fromkeys\x93.", "builtins.dict.fromkeys"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02cnumpy\nload\n.", "numpy.load"),
        (b"\x80\x02ctfgraph.checkpoints.folder\nos\n.", "tfgraph.checkpoints.folder.os"),
        (b"\x80\x02cmegatron_evil\nx\n.", "megatron_evil.x"),
    ],
)
def test_globals_by_other_opcodes(tmp_path, files, content, name):
    assert f"asks for {name}," in _refused(files.zip_file(tmp_path / "w.bin", content))


def test_a_name_of_a_package_that_is_let_through_imports_nothing(tmp_path, files):
    content = b"\x80\x02cmegatron.this_does_not_exist\nsystem\n(X\x04\x00\x00\x00truetR."
    read = read_torch_object(files.zip_file(tmp_path / "w.bin", content))
    assert (read.type_name, read.arguments) == ("megatron.this_does_not_exist.system", ("true",))
    assert "megatron" not in sys.modules


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02cbuiltins\nlist\n]\x85R.",
        b"\x80\x02ctorch\nTensor\n)\x81.",
        b"\x80\x02ctorch\nFloatStorage\nK\x05\x85R.",
        b"\x80\x02cnumpy\nndarray\n)R.",
    ],
)
def test_a_class_may_be_named_without_being_called(tmp_path, files, content):
    assert "may be named there but not called" in _refused(files.zip_file(tmp_path / "w.bin", content))
    assert isinstance(
        read_torch_object(
            files.zip_file(tmp_path / "w.bin", content.split(b"\n")[0] + b"\n" + content.split(b"\n")[1] + b"\n.")
        ),
        str,
    )


def test_a_plain_pickle_of_tensors(tmp_path):
    path = tmp_path / "w.bin"
    path.write_bytes(pickle.dumps({"w": torch.ones(2)}))
    assert "asks for torch.storage._load_from_bytes," in _refused(path)
    path.write_bytes(pickle.dumps({"w": [1.0]}))
    assert "is a pickle, but not of torch.save" in _refused(path)


@FORMS
def test_a_whole_module(tmp_path, zipped):
    path = tmp_path / "w.pt"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=zipped)
    message = _refused(path)
    assert "whole torch module" in message or "asks for torch.nn.modules.linear.Linear" in message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make, found",
    [
        (lambda: torch.zeros(2, dtype=torch.complex64), "holds elements of torch.ComplexFloatStorage"),
        (lambda: torch.zeros(2, 2).to_sparse(), "holds a sparse tensor"),
        (lambda: torch.zeros(2, 2).to_sparse_csr(), "holds a sparse tensor"),
        (lambda: torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8), "holds a quantised tensor"),
        (lambda: torch.zeros(2, device="meta"), "holds a tensor without elements"),
        (lambda: torch._neg_view(torch.ones(2)), "holds a tensor with a flag"),
    ],
)
def test_tensors_that_are_not_read(tmp_path, make, found):
    torch.save({"w": make()}, tmp_path / "w.pt")
    assert found in _refused(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_a_program(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "w.pt")
    assert "holds a TorchScript program" in _refused(tmp_path / "w.pt")


def test_a_list_that_contains_itself(tmp_path, files):
    loop = [1]
    loop.append({"again": (loop,)})
    assert "holds a list that contains itself" in _refused(files.zip_file(tmp_path / "w.bin", loop))


@pytest.mark.parametrize("opening, closing", [(b"]", b"a"), (b"(", b"t"), (b"}K\x01", b"s"), (b"", b"\x85")])
def test_deep_nesting(tmp_path, files, opening, closing):
    def content(depth):
        return b"\x80\x02" + opening * depth + b"]" + closing * depth + b"."

    message = _refused(files.zip_file(tmp_path / "w.bin", content(MANY)))
    assert f"more than {MAX_DEPTH} levels deep" in message
    read_torch_object(files.zip_file(tmp_path / "w.bin", content(MAX_DEPTH - 1)))
    _refused(files.zip_file(tmp_path / "w.bin", content(MAX_DEPTH + 1)))


def test_depth_that_is_put_together_of_shallow_parts(tmp_path, files):
    parts = []
    for _ in range(5):
        chain = parts[-1] if parts else []
        for _ in range(MAX_DEPTH // 2):
            chain = [chain]
        parts.append(chain)
    assert "levels deep" in _refused(files.zip_file(tmp_path / "w.bin", parts))


def test_a_deep_key(tmp_path, files):
    content = b"\x80\x02}" + b")" + b"\x85" * MANY + b"K\x01s."
    assert "a key of a dict is 'tuple'" in _refused(files.zip_file(tmp_path / "w.bin", content))


def test_keys_whose_hashes_collide(tmp_path, files):
    keys = {index * (2**61 - 1): None for index in range(1, 3)}
    assert "a key of a dict is 'int'" in _refused(files.zip_file(tmp_path / "w.bin", keys))


def test_few_dicts_that_have_very_many_names(tmp_path, files):
    tree = {"w": files.Tensor(files.Storage("0", 1), [], [])}
    for _ in range(40):
        tree = {"a": tree, "b": tree}
    path = files.zip_file(tmp_path / "w.bin", tree, [b"1234"])
    read_torch_object(path)  # as it is shared, it is small
    long = {"x" * 2**20: tree["a"]}
    for content in (tree, long):
        path = files.zip_file(tmp_path / "w.bin", content, [b"1234"])
        assert "names of more than" in _refused(path, read_torch)


def test_text_that_is_copied_over_and_over(tmp_path, files):
    text = b"X" + MANY.to_bytes(4, "little") + b"x" * MANY + b"X\x06\x00\x00\x00latin1\x86q\x00"
    copies = b"h\x01h\x00R" * MANY
    content = b"\x80\x02" + text + b"c_codecs\nencode\nq\x01" + copies + b"."
    assert "copies the same values over and over" in _refused(files.zip_file(tmp_path / "w.bin", content))


def test_pairs_that_are_copied_over_and_over(tmp_path, files):
    pairs = files.pickled([[str(index), None] for index in range(10_000)])[2:-1]
    content = b"\x80\x02" + pairs + b"\x85r\xff\xff\x00\x00ccollections\nOrderedDict\nr\xfe\xff\x00\x00"
    content += b"j\xfe\xff\x00\x00j\xff\xff\x00\x00R" * 20_000 + b"."
    assert "copies the same values over and over" in _refused(files.zip_file(tmp_path / "w.bin", content))


@pytest.mark.parametrize(
    "content, found",
    [
        (b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b"\x8b\x00\x08\x00\x00" + b"\x7f" * 2048 + b"\x86.", "an integer of"),
        (b"\x80\x02L" + b"9" * 10_000 + b"L\n.", "integer"),
        (b"\x80\x02\x8d" + b"\xff" * 7 + b"\x7fabc.", "damaged"),
        (b"\x80\x02T\xff\xff\xff\x7fabc.", "damaged"),
        (b"\x80\x02\x8e" + b"\xff" * 8 + b"abc.", "damaged"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", None),
        (b"\x80\x02Np99999999999\n.", "beyond 2**32"),
        (b"\x80\x04\x95" + b"\xff" * 8 + b"N.", None),
    ],
)
@FORMS
def test_absurd_sizes_in_a_pickle(tmp_path, files, content, found, zipped):
    path = _file(files, tmp_path / "w.bin", content, zipped)
    if found is None:
        assert read_torch_object(path) is None
    else:
        assert found in _refused(path)


def _tensor(files, shape, strides, *, offset=0, elements=6, **storage):
    return files.Tensor(files.Storage("0", elements, **storage), shape, strides, offset)


@pytest.mark.parametrize(
    "make, found",
    [
        (lambda f: _tensor(f, [7], [1]), "reaches 28 bytes into it, and it has 24"),
        (lambda f: _tensor(f, [2], [1], offset=5), "reaches 28 bytes"),
        (lambda f: _tensor(f, [2, 2], [5, 1]), "reaches 28 bytes"),
        (lambda f: _tensor(f, [2], [1], offset=2**60), "reaches"),
        (lambda f: _tensor(f, [2**40], [0]), "repeats its 24 bytes"),
        (lambda f: _tensor(f, [2**62, 2**62], [0, 0]), "too large for any machine"),
        (lambda f: _tensor(f, [0, 2**62, 2], [0, 0, 0]), "too large for any machine"),
        (lambda f: _tensor(f, [2], [1], elements=7), "needs 7 elements of float32 there, and the file holds 24 bytes"),
        (lambda f: _tensor(f, [2], [1], elements=2**62), "needs 4611686018427387904 elements"),
        (lambda f: _tensor(f, [2], [1, 1]), "the pickle in"),
        (lambda f: _tensor(f, [-2], [1]), "expected up to 64 integers"),
        (lambda f: _tensor(f, [2], [-1]), "expected up to 64 integers"),
        (lambda f: _tensor(f, [2], [1], offset=-1), "offset -1"),
        (lambda f: _tensor(f, [2.5], [1]), "expected up to 64 integers"),
        (lambda f: _tensor(f, [2**70], [1]), "expected up to 64 integers"),
        (lambda f: _tensor(f, [1] * 65, [1] * 65), "expected up to 64 integers"),
        (lambda f: _tensor(f, [2], [1], kind=torch.float32), "does not identify a storage"),
        (lambda f: _tensor(f, [2], [1], tag="stowage"), "does not identify a storage"),
        (lambda f: _tensor(f, [2], [1], tag="module"), "holds a whole torch module"),
        (lambda f: _tensor(f, [2], [1], rest=(("1", 0, 2),)), "names a part of a storage"),
        (lambda f: _tensor(f, [2], [1], elements=-6), "does not identify a storage"),
        (lambda f: f.Tensor(f.Storage("../../0", 6), [2], [1]), "has no entry 'archive/data/../../0'"),
        (lambda f: f.Tensor(None, [2], [1]), "is not made of a storage"),
        (lambda f: f.Call(torch._utils._rebuild_parameter, 1, 2, 3), "is not made of a tensor"),
        (lambda f: f.Call(torch.Size, 3), "is not made of sizes"),
        (lambda f: f.Call(collections.OrderedDict, [1, 2]), "is not made of names and values"),
        (lambda f: f.Call(collections.Counter, 1), "is not made of a dict"),
    ],
)
def test_tensors_that_cannot_be(tmp_path, files, make, found):
    assert found in _refused(files.zip_file(tmp_path / "w.bin", {"w": make(files)}, [bytes(24)]))


def test_no_rank_is_too_high_that_torch_has(tmp_path, files):
    tensor = _tensor(files, [1] * 64, [1] * 64)
    read = read_torch(files.zip_file(tmp_path / "w.bin", {"w": tensor}, [bytes(24)]))
    assert read["w"].shape == (1,) * 64
