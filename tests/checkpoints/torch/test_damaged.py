"""Files that are broken: cut short, patched, or of another format. Each is a `CheckpointError`, or reads."""

import os
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.checkpoints.torch import read_torch, read_torch_object
from tfgraph.errors import CheckpointError

FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def _error(path, read=read_torch_object):
    with pytest.raises(CheckpointError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    return message


def _state(files):
    return {
        "w": files.Tensor(files.Storage("0", 6), [2, 3], [3, 1]),
        "t": files.Tensor(files.Storage("1", 6), [3, 2], [1, 3]),
    }


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """The bytes of a checkpoint as torch writes it, in either form."""
    folder = tmp_path_factory.mktemp("samples")
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": {"c": torch.arange(4).reshape(2, 2).t()}, "d": [1, "x", None]}
    contents = {}
    for zipped in (True, False):
        torch.save(state, folder / "w.bin", _use_new_zipfile_serialization=zipped)
        contents[zipped] = (folder / "w.bin").read_bytes()
    return contents


@FORMS
def test_every_way_to_cut_a_file_short(tmp_path, samples, zipped):
    content = samples[zipped]
    path = tmp_path / "w.bin"
    for size in range(0, len(content), 1 if not zipped else 7):
        path.write_bytes(content[:size])
        _error(path)
    path.write_bytes(content)
    read_torch(path)


def _answers_or_refuses(content):
    """Whatever the content, reading it ends in an answer or in a `CheckpointError`; so does reading the tensors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.bin"
        path.write_bytes(content)
        message = str(path)
        try:
            weights = read_torch(path)
            for constant in weights.values():
                assert constant.numpy().shape == constant.shape
        except CheckpointError as error:
            message = str(error)
        assert str(path) in message


@FORMS
@settings(max_examples=150)
@given(data=st.data())
def test_flipped_bytes(samples, zipped, data):
    content = bytearray(samples[zipped])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    _answers_or_refuses(bytes(content))


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@settings(max_examples=150)
@given(data=st.data())
def test_changed_pickles(tmp_path_factory, samples, files, data):
    """The same with the pickle alone, which is where the most can be changed."""
    whole = samples[True]
    start = whole.index(b"\x80\x02")
    content = bytearray(whole[start : whole.index(b"PK", start)].rstrip(b"\0"))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.mktemp("changed") / "w.bin"
    _answers_or_refuses(files.zip_file(path, bytes(content), [bytes(24), bytes(32)]).read_bytes())
    _answers_or_refuses(files.legacy_file(path, bytes(content)).read_bytes())


OPCODES = st.sampled_from(
    [bytes([code]) for code in b"()]}.0123NQRTtabcdehijlopqrsu\x80\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94"]
)
PIECES = st.one_of(
    OPCODES,
    st.binary(max_size=4),
    st.sampled_from(
        [
            b"ccollections\nOrderedDict\n",
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"ctorch\nFloatStorage\n",
            b"cargparse\nNamespace\n",
            b"cnumpy\ndtype\n",
            b"cnumpy.core.multiarray\n_reconstruct\n",
            b"c_codecs\nencode\n",
            b"X\x07\x00\x00\x00storage",
            b"X\x01\x00\x00\x000",
            b"K\x02",
            b"q\x00h\x00",
        ]
    ),
)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@settings(max_examples=300)
@given(pieces=st.lists(PIECES, max_size=30))
def test_any_sequence_of_opcodes(tmp_path_factory, files, pieces):
    path = tmp_path_factory.mktemp("opcodes") / "w.bin"
    _answers_or_refuses(files.zip_file(path, b"".join(pieces) + b".", [bytes(24)]).read_bytes())


def test_zip_entries_that_cannot_be(tmp_path, files):
    state = files.pickled(_state(files))
    data = files.Entry("archive/data.pkl", state)
    path = tmp_path / "w.bin"

    def error(*entries, **end):
        return _error(files.write_zip(path, [data, *entries], **end))

    entry = files.Entry
    assert "leads out of the archive" in error(entry("../../etc/passwd"))
    assert "leads out of the archive" in error(entry("archive/..\\..\\x"))
    assert "leads out of the archive" in error(entry("/etc/passwd"))
    assert "leads out of the archive" in error(entry("C:\\x"))
    assert "leads out of the archive" in error(entry(""))
    assert "which is not UTF-8" in error(entry("archive/\udcff"))
    assert "two entries 'archive/data.pkl'" in error(data)
    assert "has 2 entries NAME/data.pkl" in error(entry("other/data.pkl", b"N."))
    assert "is encrypted" in error(entry("archive/data/0", bytes(24), flags=1))
    assert "packed by method 14" in error(entry("archive/data/0", bytes(24), method=14))
    assert "two sizes, 24 and 48" in error(entry("archive/data/0", bytes(24), size=48))
    assert "a zip bomb" in error(entry("archive/data/0", bytes(24), deflated=True, size=2**50))
    assert "is cut short: entry 'archive/data/0'" in error(entry("archive/data/0", size=2**40, stored_size=2**40))
    assert "is cut short: entry 'archive/data/0'" in error(entry("archive/data/0", bytes(24), header=2**62))
    assert "no entry 'archive/data/0' where its directory says" in error(entry("archive/data/0", bytes(24), header=1))
    assert "has no entry 'archive/data/1', which a tensor needs" in error(entry("archive/data/0", bytes(24)))
    both = [entry("archive/data/0", bytes(24)), entry("archive/data/1", bytes(24))]
    assert "entry 'archive/byteorder' is b'middle'" in error(*both, entry("archive/byteorder", b"middle"))
    assert "has 2000 bytes; expected at most 100" in error(*both, entry("archive/byteorder", bytes(2000)))
    read_torch(files.write_zip(path, [data, *both]))


def test_zip_directories_that_cannot_be(tmp_path, files):
    entries = [
        files.Entry("archive/data.pkl", files.pickled(_state(files))),
        files.Entry("archive/data/0", bytes(24)),
        files.Entry("archive/data/1", bytes(24)),
    ]
    path = tmp_path / "w.bin"
    for zip64_end in (True, False):
        read_torch(files.write_zip(path, entries, zip64_end=zip64_end, comment=b"a comment"))
        assert "ends after 3 of 4 entries" in _error(files.write_zip(path, entries, count=4, zip64_end=zip64_end))
        assert "reaches beyond its end" in _error(files.write_zip(path, entries, start=2**31, zip64_end=zip64_end))
        assert "is damaged at its byte 0" in _error(files.write_zip(path, entries, start=3, zip64_end=zip64_end))
    assert "claims 1125899906842624 entries" in _error(files.write_zip(path, entries, count=2**50))
    assert "reaches beyond its end" in _error(files.write_zip(path, entries, size=2**50))
    files.write_zip(path, [files.Entry("weights.npy", b"x")])
    assert "is a zip file, but not of torch.save" in _error(path)
    content = files.write_zip(path, entries).read_bytes()
    locator = content.index(b"PK\6\7")
    for place, found in ((2**62, "begins beyond its end"), (5, "has no directory where its end says")):
        path.write_bytes(content[: locator + 8] + struct.pack("<Q", place) + content[locator + 16 :])
        assert found in _error(path)
    place = content.index(b"PK\6\6") + 16
    path.write_bytes(content[:place] + b"\1" + content[place + 1 :])
    assert "one part of a zip file in several" in _error(path)


def test_a_bomb_in_the_pickle(tmp_path, files):
    path = tmp_path / "w.bin"
    bomb = files.Entry("archive/data.pkl", b"\x80\x02" + b"N" * 40_000_000 + b".", deflated=True)
    files.write_zip(path, [bomb])
    tracemalloc.start()
    try:
        assert "expected at most" in _error(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    bomb.size = 1000
    assert "holds another number of bytes than the 1000" in _error(files.write_zip(path, [bomb]))


def test_deflated_weights_that_do_not_unpack(tmp_path, files):
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal(6).astype(np.float32).tobytes()
    pickle = files.Entry("archive/data.pkl", files.pickled({"w": _state(files)["w"]}))
    path = tmp_path / "w.bin"

    def read(**changes):
        storage = files.Entry("archive/data/0", **{"content": numbers, "deflated": True, **changes})
        return read_torch(files.write_zip(path, [pickle, storage]))["w"].numpy()

    np.testing.assert_array_equal(read().tobytes(), numbers)
    with pytest.raises(CheckpointError, match="ends early: 24 bytes expected"):
        read(content=numbers[:20], size=24)
    with pytest.raises(CheckpointError, match="do not unpack"):
        read(content=b"\xff" * 24, deflated=False, method=8)
    with pytest.raises(CheckpointError, match="ends early"):
        read(stored_size=10)
    damaged = files.Entry("archive/data.pkl", b"\xff" * 30, method=8)
    assert "entry 'archive/data.pkl' does not unpack" in _error(files.write_zip(path, [damaged]))


def test_legacy_files_that_cannot_be(tmp_path, files):
    state, data = _state(files), {"0": bytes(24), "1": bytes(24)}
    path = tmp_path / "w.bin"

    def error(content=state, storages=data, **changes):
        return _error(files.legacy_file(path, content, storages, **changes))

    assert "is a pickle, but not of torch.save" in error(magic=7)
    assert "is of version 1002 of torch's older form; expected 1001" in error(version=1002)
    assert "does not list the storages" in error(keys=["0"])
    assert "does not list the storages" in error(keys=["0", "1", "1"])
    assert "does not list the storages" in error(keys=3)
    assert "does not list the storages" in error(keys=[0, 1])
    assert "a storage '2' that no tensor uses" in error(keys=["2", "0", "1"])
    assert "should have 6 elements of float32; the file says 7" in error(counts={"0": 7})
    assert f"the file says {2**64 - 1}" in error(counts={"0": -1})
    assert "ends at byte" in error(storages={"0": bytes(24), "1": bytes(20)}, counts={"1": 6})
    other = files.Tensor(files.Storage("0", 5), [1], [1])
    assert "gives storage '0' two sizes or two types" in error({**state, "x": other})
    read_torch(files.legacy_file(path, state, data))


@pytest.mark.parametrize(
    "content, found",
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"GGUF\x03\0\0\0", "is a GGUF file"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"\x40\0\0\0\0\0\0\0{" + b" " * 80, "looks like a safetensors file"),
        (b"sys_info".ljust(257, b"\0") + b"ustar\x0000", "as torch before 0.1.10 wrote them"),
        (b"\x1f\x8b\x08", "is packed with gzip"),
        (b"<!DOCTYPE html>", "is not a torch checkpoint: it begins with b'<!DOCTYP'"),
        (b"cos\nsystem\n(S'true'\ntR.", "is not a torch checkpoint"),
        (b"PK\x03\x04", "ends without its directory"),
        (b"\x80", "is damaged"),
    ],
)
def test_files_of_another_form(tmp_path, content, found):
    path = tmp_path / "w.bin"
    path.write_bytes(content)
    assert found in _error(path)


def test_paths_that_are_no_files(tmp_path):
    assert "does not exist" in _error(tmp_path / "w.bin")
    assert "is not a file" in _error(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in _error(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="cannot read"):
        read_torch("a\0b")
