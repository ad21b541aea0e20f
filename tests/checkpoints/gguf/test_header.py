"""The header of a GGUF file: what it may say, and that nothing it says is believed before it is checked."""

import contextlib
import errno
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gguf_files import finish
from tfgraph.checkpoints.gguf import read_gguf
from tfgraph.checkpoints.gguf.header import read_header
from tfgraph.errors import CheckpointError

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)


def text(value):
    encoded = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def entry(key, kind, packed):
    return text(key) + struct.pack("<I", kind) + packed


def tensor(name, sizes, code=0, offset=0):
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, code, offset)


def header(*entries, tensors=(), magic=b"GGUF", version=3, num_entries=None, num_tensors=None):
    counts = (
        len(tensors) if num_tensors is None else num_tensors,
        len(entries) if num_entries is None else num_entries,
    )
    return magic + struct.pack("<IQQ", version, *counts) + b"".join((*entries, *tensors))


def aligned(content, alignment=32):
    return content + b"\0" * (-len(content) % alignment)


def write(folder, content):
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


def test_values_of_every_type(tmp_path):
    integers = {U8: ("B", 200), I8: ("b", -100), U16: ("H", 60_000), I16: ("h", -30_000), U32: ("I", 2**32 - 1)}
    integers |= {I32: ("i", -(2**31)), U64: ("Q", 2**64 - 1), I64: ("q", -(2**63))}
    entries = [entry(f"int{kind}", kind, struct.pack(f"<{code}", value)) for kind, (code, value) in integers.items()]
    entries += [
        entry("f32", F32, struct.pack("<f", 0.5)),
        entry("f64", F64, struct.pack("<d", 0.1)),
        entry("yes", BOOL, b"\1"),
        entry("no", BOOL, b"\0"),
        entry("text", STRING, text("ümlaut \0 and 🙂")),
        entry("numbers", ARRAY, struct.pack("<IQ3i", I32, 3, 1, -2, 3)),
        entry("flags", ARRAY, struct.pack("<IQ2B", BOOL, 2, 1, 0)),
        entry("texts", ARRAY, struct.pack("<IQ", STRING, 2) + text("a") + text("")),
        entry(
            "nested",
            ARRAY,
            struct.pack("<IQ", ARRAY, 2) + struct.pack("<IQ2B", U8, 2, 7, 8) + struct.pack("<IQ", U8, 0),
        ),
    ]
    found = read_header(write(tmp_path, header(*entries))).metadata
    for kind, (_, value) in integers.items():
        assert found[f"int{kind}"] == value
        assert type(found[f"int{kind}"]) is int
    assert (found["f32"], found["f64"], found["yes"], found["no"]) == (0.5, 0.1, True, False)
    assert found["text"] == "ümlaut \0 and 🙂"
    assert found["numbers"].tolist() == [1, -2, 3]
    assert found["flags"].tolist() == [True, False]
    assert found["texts"] == ["a", ""]
    assert [each.tolist() for each in found["nested"]] == [[7, 8], []]


def test_read_as_the_gguf_package_reads_it(tmp_path, rng):
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_name("a model")
    writer.add_custom_alignment(64)
    writer.add_token_list(["a", "b", "ü"])
    writer.add_token_scores([0.0, -1.5, 3.0])
    arrays = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in {"a": (3,), "b": (2, 5), "c": (2, 3, 4), "d": (1, 2, 3, 2)}.items()
    }
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    finish(writer)
    ours, theirs = read_gguf(tmp_path / "model.gguf"), GGUFReader(tmp_path / "model.gguf")
    for name, field in theirs.fields.items():
        if not name.startswith("GGUF."):
            assert np.array_equal(ours.metadata[name], field.contents()), name
    for each in theirs.tensors:
        info = ours.tensors[each.name]
        assert (info.offset, info.type.name) == (each.data_offset, each.tensor_type.name)
        assert ours.constants()[each.name].shape == arrays[each.name].shape
        np.testing.assert_array_equal(ours.constants()[each.name].numpy(), arrays[each.name])


@pytest.mark.parametrize("version", [2, 3])
def test_versions_that_are_read(tmp_path, version):
    assert read_header(write(tmp_path, header(version=version))).tensors == {}


ONE = struct.pack("<f", 1.0)
F_AT_0 = tensor("f", [1])
REFUSED = {
    "empty": (b"", "the first four bytes should take 4 bytes at byte 0, and the file has 0"),
    "other magic": (b"PK\3\4" + bytes(40), r"is not a GGUF file: it begins with b'PK\\x03\\x04', expected b'GGUF'"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "old format": (b"tjgg" + bytes(40), "GGML file of before August 2023"),
    "no version": (b"GGUF\3", "the version should take 4 bytes"),
    "version 1": (header(version=1), "version 1; expected version 2 or 3"),
    "version 9": (header(version=9), "version 9; expected"),
    "big endian": (header(version=3 << 24), "big-endian numbers; expected"),
    "no counts": (b"GGUF\3\0\0\0", "the number of tensors should take 8 bytes"),
    "many tensors": (header(num_tensors=2**40), "it has 1099511627776 tensors, and there is room for at most 0"),
    "all tensors": (header(num_tensors=2**64 - 1), "18446744073709551615 tensors"),
    "many entries": (header(num_entries=2**63), "metadata entries, and there is room for at most 0"),
    "long key": (
        header(struct.pack("<Q", 100) + bytes(12), num_entries=1),
        "the key of metadata entry 0 should take 100 bytes at byte 32, and the file has 44",
    ),
    "endless key": (header(struct.pack("<Q", 2**63) + bytes(13)), "the key of metadata entry 0 should be"),
    "key not UTF-8": (header(entry(b"\xff\xfe", U8, b"\0")), "the key of metadata entry 0 is not UTF-8"),
    "value not UTF-8": (header(entry("k", STRING, text(b"\x80"))), "the value of 'k' is not UTF-8"),
    "unknown value": (header(entry("k", 13, bytes(8))), "the value of 'k' has the unknown type 13; expected 0 to 12"),
    "twice": (header(entry("k", U8, b"\1"), entry("k", U8, b"\2")), "metadata key 'k' appears twice"),
    "long array": (
        header(entry("k", ARRAY, struct.pack("<IQ", U32, 2**61))),
        "2305843009213693952 elements in 'k', and there is room for at most 0",
    ),
    "long texts": (header(entry("k", ARRAY, struct.pack("<IQ", STRING, 2**60) + bytes(64))), "room for at most 8"),
    "texts cut": (
        header(entry("k", ARRAY, struct.pack("<IQ", STRING, 2) + text("abc") + b"\5\0\0")),
        "there is room for at most 1",
    ),
    "text too long": (
        header(entry("k", ARRAY, struct.pack("<IQQ", STRING, 2, 99) + bytes(20))),
        "an element of 'k' should take 99 bytes, and 20 are left",
    ),
    "text of an array not UTF-8": (
        header(entry("k", ARRAY, struct.pack("<IQ", STRING, 1) + text(b"\xc3"))),
        "an element of 'k' is not UTF-8",
    ),
    "array of what": (header(entry("k", ARRAY, struct.pack("<IQ", 77, 1))), "'k' has the unknown type 77"),
    "deep array": (
        header(entry("k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 9 + bytes(32))),
        "the value of 'k' nests arrays more than 4 deep",
    ),
    "alignment": (header(entry("general.alignment", U32, struct.pack("<I", 48))), "must be a power of two, found 48"),
    "alignment 0": (header(entry("general.alignment", U32, bytes(4))), "must be a power of two, found 0"),
    "alignment text": (header(entry("general.alignment", STRING, text("8"))), "must be a power of two, found '8'"),
    "axes": (header(tensors=[tensor("t", [1] * 5)]), "tensor 't' has 5 axes, more than 4"),
    "all axes": (header(tensors=[text("t") + struct.pack("<I", 2**32 - 1) + bytes(32)]), "4294967295 axes"),
    "no elements": (header(tensors=[tensor("t", [4, 0])]), r"tensor 't' has the sizes \[4, 0\]"),
    "absurd size": (header(tensors=[tensor("t", [2**40, 2**40])]), "expected 1 to"),
    "unknown type": (header(tensors=[tensor("t", [32], 99)]), "'t' has the unknown type 99; known are F32, F16, Q4_0"),
    "retired type": (header(tensors=[tensor("t", [32], 31)]), "'t' has the type Q4_0_4_4, which ggml has removed"),
    "not stored": (header(tensors=[tensor("t", [256], 15)]), "unknown type 15"),
    "broken block": (header(tensors=[tensor("t", [48, 2], 2)]), "rows of 48 elements; expected a multiple of 32"),
    "scalar block": (header(tensors=[tensor("t", [], 2)]), "rows of 1 elements; expected a multiple of 32"),
    "same name": (
        aligned(header(tensors=[tensor("t", [1]), tensor("t", [1], 0, 32)])) + aligned(ONE) + ONE,
        "tensor 't' appears twice",
    ),
    "unaligned": (aligned(header(tensors=[tensor("t", [1], 0, 4)])) + bytes(64), "offset 4; expected a multiple of 32"),
    "overlap": (
        aligned(header(tensors=[tensor("a", [16]), tensor("b", [1], 0, 32)])) + bytes(64),
        r"tensor 'b' begins at byte \d+, inside tensor 'a'",
    ),
    "beyond": (
        aligned(header(tensors=[tensor("t", [9])])) + bytes(32),
        r"tensor 't', F32\[9\], should take the bytes 64 to 100, and the file has 96",
    ),
    "far beyond": (aligned(header(tensors=[tensor("t", [1], 0, 2**63)])) + bytes(64), "and the file has 128"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case):
    content, message = REFUSED[case]
    path = write(tmp_path, content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_header(path)
    assert str(path) in str(caught.value)


def test_scalar_tensor(tmp_path):
    path = write(tmp_path, aligned(header(tensors=[tensor("s", [])])) + ONE)
    assert read_gguf(path).constants()["s"].numpy() == np.float32(1)


def _denied(self, *args):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_what_is_no_file(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"nowhere\.gguf does not exist"):
        read_gguf(tmp_path / "nowhere.gguf")
    with pytest.raises(CheckpointError, match="is not a file"):
        read_gguf(tmp_path)
    with pytest.raises(CheckpointError, match="cannot read"):
        read_gguf("a\0b.gguf")
    path = write(tmp_path, header())
    monkeypatch.setattr(Path, "open", _denied)
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.gguf: Permission denied"):
        read_gguf(path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CheckpointError, match="is not a file"):
            read_gguf(tmp_path / "pipe")


def _sample() -> bytes:
    entries = [
        entry("general.architecture", STRING, text("llama")),
        entry("general.alignment", U32, struct.pack("<I", 32)),
        entry("llama.rope.freq_base", F32, struct.pack("<f", 1e4)),
        entry("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, 3) + text("a") + text("b") + text("c")),
        entry("tokenizer.ggml.scores", ARRAY, struct.pack("<IQ3f", F32, 3, 0, 1, 2)),
    ]
    infos = [tensor("a", [4, 2], 1), tensor("b", [32, 2], 2, 32), tensor("c", [3], 0, 96)]
    return aligned(header(*entries, tensors=infos)) + bytes(96 + 12)


SAMPLE = _sample()


def _read_or_refuse(content: bytes, folder: Path) -> None:
    """Reading must either succeed, elements included, or raise a `CheckpointError`."""
    path = write(folder, content)
    with contextlib.suppress(CheckpointError):
        for constant in read_gguf(path).constants().values():
            assert constant.numpy().shape == constant.shape


def test_the_sample_is_read(tmp_path):
    constants = read_gguf(write(tmp_path, SAMPLE)).constants()
    assert {name: constant.shape for name, constant in constants.items()} == {"a": (2, 4), "b": (2, 32), "c": (3,)}


def test_cut_short_anywhere(tmp_path):
    for length in range(len(SAMPLE)):
        with pytest.raises(CheckpointError):
            read_gguf(write(tmp_path, SAMPLE[:length]))


SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)


@SAME_FOLDER
@given(changes=st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_read_or_refused(tmp_path, changes):
    content = bytearray(SAMPLE)
    for place, byte in changes:
        content[place] = byte
    _read_or_refuse(bytes(content), tmp_path)


@SAME_FOLDER
@given(place=st.integers(0, len(SAMPLE) - 8), number=st.sampled_from([2**31 - 1, 2**32 - 1, 2**62, 2**63, 2**64 - 1]))
def test_huge_numbers_are_read_or_refused(tmp_path, place, number):
    _read_or_refuse(SAMPLE[:place] + struct.pack("<Q", number) + SAMPLE[place + 8 :], tmp_path)


@SAME_FOLDER
@given(content=st.binary(max_size=200))
def test_any_bytes_after_the_magic_are_read_or_refused(tmp_path, content):
    _read_or_refuse(b"GGUF\3\0\0\0" + content, tmp_path)


def _series(folder, total=3, **changes):
    for number in range(1, total + 1):
        writer = GGUFWriter(folder / f"m-{number:05d}-of-{total:05d}.gguf", "llama")
        writer.add_uint16("split.count", changes.get("count", {}).get(number, total))
        if number == 1:
            writer.add_name("whole")
        writer.add_tensor(changes.get("names", {}).get(number, f"t{number}"), np.full(2, number, np.float32))
        finish(writer)


@pytest.mark.parametrize("given_number", [1, 3])
def test_a_series_is_read_as_one(tmp_path, given_number):
    _series(tmp_path)
    found = read_gguf(tmp_path / f"m-{given_number:05d}-of-00003.gguf")
    assert found.metadata["general.name"] == "whole"
    assert found.path.name == "m-00001-of-00003.gguf"
    assert [constant.numpy()[0] for constant in found.constants().values()] == [1, 2, 3]


def test_a_series_that_is_not_complete(tmp_path):
    _series(tmp_path)
    (tmp_path / "m-00002-of-00003.gguf").rename(tmp_path / "other.gguf")
    with pytest.raises(CheckpointError, match=r"lacks 1 of 3 files: m-00002-of-00003\.gguf"):
        read_gguf(tmp_path / "m-00001-of-00003.gguf")
    with pytest.raises(CheckpointError, match=r"one of 3 files and must be named like the others, name-00001-of-00003"):
        read_gguf(tmp_path / "other.gguf")


def test_a_series_that_does_not_fit_together(tmp_path):
    _series(tmp_path, count={2: 2})
    with pytest.raises(CheckpointError, match=r"00002-of-00003\.gguf says that it is one of 2 files"):
        read_gguf(tmp_path / "m-00001-of-00003.gguf")
    (tmp_path / "other").mkdir()
    _series(tmp_path / "other", names={3: "t1"})
    with pytest.raises(CheckpointError, match=r"tensor 't1' is in both m-00001-of-00003\.gguf and m-00003"):
        read_gguf(tmp_path / "other" / "m-00001-of-00003.gguf")
