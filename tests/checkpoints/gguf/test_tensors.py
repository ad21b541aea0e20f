"""Quantised tensors: every type reads as the numbers that its format defines, lazily and some rows at a time."""

import numpy as np
import pytest
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

from tests.gguf_files import finish
from tfgraph.checkpoints.gguf import read_gguf, tensors
from tfgraph.checkpoints.gguf.ggml_types import GGML_TYPES
from tfgraph.checkpoints.gguf.header import TensorInfo
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import FileConstant, constant_key
from tfgraph.ir.dtypes import DType

PLAIN = {"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"}
QUANTISED = [kind.name for kind in GGML_TYPES.values() if kind.name not in PLAIN]


def _write(path, **arrays):
    """A GGUF file of tensors: name -> array, or (bytes as uint8 [rows, row bytes], name of the type)."""
    writer = GGUFWriter(path, "llama")
    for name, given in arrays.items():
        if isinstance(given, tuple):
            writer.add_tensor(name, given[0], raw_dtype=GGMLQuantizationType[given[1]])
        else:
            writer.add_tensor(name, given)
    finish(writer)
    return path


def _random_blocks(rng, kind, rows, blocks):
    """Random bytes are valid blocks of every type; where a scale comes out infinite or NaN, so must the elements."""
    return rng.integers(0, 256, (rows, blocks * GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1]), dtype=np.uint8)


def test_sizes_are_those_of_ggml():
    for code, kind in GGML_TYPES.items():
        assert GGMLQuantizationType[kind.name] == code
        assert GGML_QUANT_SIZES[GGMLQuantizationType(code)] == (kind.block_size, kind.block_bytes)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_quantised_numbers_come_back_within_half_a_step(tmp_path, rng, kind):
    array = rng.uniform(-1, 1, (5, 96)).astype(np.float32)
    packed = quantize(array, GGMLQuantizationType[kind])
    constant = read_gguf(_write(tmp_path / "q.gguf", w=(packed, kind))).constants()["w"]
    assert (constant.dtype, constant.shape) == (DType.FLOAT32, (5, 96))
    steps = {"Q4_0": 8, "Q4_1": 15, "Q5_0": 16, "Q5_1": 31, "Q8_0": 127}[kind]
    # a block's largest magnitude spans `steps`; of the symmetric types one end of the range has no code
    span = 2 if kind.endswith("_1") else 1
    assert np.abs(constant.numpy() - array).max() <= span / steps * (
        1.01 if kind.endswith("_0") and steps < 100 else 0.51
    )


@pytest.mark.parametrize("kind", QUANTISED)
def test_blocks_read_as_gguf_reads_them(tmp_path, rng, kind, monkeypatch):
    size = GGML_TYPES[GGMLQuantizationType[kind]].block_size
    packed = _random_blocks(rng, kind, rows=7, blocks=2)
    path = _write(tmp_path / "q.gguf", before=np.ones(3, np.float32), w=(packed, kind), after=np.ones(3, np.float32))
    monkeypatch.setattr(tensors, "_ELEMENTS_AT_ONCE", 3 * 2 * size)  # 3 rows, 3 rows, 1 row
    constant = read_gguf(path).constants()["w"]
    assert constant.shape == (7, 2 * size)
    # one block a call, where the library is given some rows at a time
    blocks = packed.reshape(14, -1)
    with np.errstate(all="ignore"):
        expected = np.stack([dequantize(block[None], GGMLQuantizationType[kind])[0] for block in blocks])
    np.testing.assert_array_equal(constant.numpy(), expected.reshape(7, 2 * size))


def _half(pair):
    return np.frombuffer(pair.tobytes(), np.float16)[0].astype(np.float64)


def test_q4_k_by_the_definition_of_its_format(tmp_path, rng):
    """Written out from the description of `block_q4_K` in ggml-common.h: 8 sub-blocks of 32 with 6-bit scales."""
    packed = _random_blocks(rng, "Q4_K", 1, 1)
    packed[0, 0:4] = np.frombuffer(np.array([0.5, 0.25], np.float16).tobytes(), np.uint8)
    block = packed[0].astype(np.int64)
    scale, offset = _half(packed[0, 0:2]), _half(packed[0, 2:4])
    coded, nibbles = block[4:16], block[16:]
    expected = []
    for sub in range(8):
        if sub < 4:
            s, m = coded[sub] & 63, coded[sub + 4] & 63
        else:
            s = (coded[sub + 4] & 15) | (coded[sub - 4] >> 6) << 4
            m = (coded[sub + 4] >> 4) | (coded[sub] >> 6) << 4
        chunk = nibbles[sub // 2 * 32 :][:32]
        q = chunk >> 4 if sub % 2 else chunk & 15
        expected += list(scale * s * q - offset * m)
    constant = read_gguf(_write(tmp_path / "q.gguf", w=(packed, "Q4_K"))).constants()["w"]
    np.testing.assert_allclose(constant.numpy()[0], expected, rtol=1e-6)


def test_q6_k_by_the_definition_of_its_format(tmp_path, rng):
    """As above for `block_q6_K`: 4 low bits, 2 high bits, 16 signed scales, each for 16 elements."""
    packed = _random_blocks(rng, "Q6_K", 1, 1)
    packed[0, 208:] = np.frombuffer(np.float16(0.125).tobytes(), np.uint8)
    low, high = packed[0, :128].astype(np.int64), packed[0, 128:192].astype(np.int64)
    scales = packed[0, 192:208].view(np.int8).astype(np.int64)
    expected = np.zeros(256)
    for half in range(2):
        for i in range(32):
            for part in range(4):
                bits = low[half * 64 + i + 32 * (part % 2)]
                q = (bits & 15 if part < 2 else bits >> 4) | (high[half * 32 + i] >> 2 * part & 3) << 4
                place = half * 128 + part * 32 + i
                expected[place] = 0.125 * scales[place // 16] * (q - 32)
    constant = read_gguf(_write(tmp_path / "q.gguf", w=(packed, "Q6_K"))).constants()["w"]
    np.testing.assert_allclose(constant.numpy()[0], expected, rtol=1e-6)


def test_plain_tensors_are_places_in_the_file(tmp_path, rng):
    array = rng.standard_normal((3, 4)).astype(np.float32)
    bfloat16 = (array.view(np.uint32) >> 16).astype(np.uint16)
    path = _write(
        tmp_path / "plain.gguf",
        f32=array,
        f16=array.astype(np.float16),
        f64=array.astype(np.float64),
        bf16=(bfloat16.view(np.uint8), "BF16"),
        i8=np.arange(6, dtype=np.int8),
        i64=np.arange(6, dtype=np.int64),
    )
    constants = read_gguf(path).constants()
    assert all(isinstance(constant, FileConstant) for constant in constants.values())
    assert list(constants) == ["f32", "f16", "f64", "bf16", "i8", "i64"]
    np.testing.assert_array_equal(constants["f32"].numpy(), array)
    np.testing.assert_array_equal(constants["f16"].numpy(), array.astype(np.float16))
    np.testing.assert_array_equal(constants["f64"].numpy(), array.astype(np.float64))
    np.testing.assert_array_equal(constants["bf16"].numpy().view(np.uint16), bfloat16)
    np.testing.assert_array_equal(constants["i64"].numpy(), np.arange(6))
    assert constants["bf16"].dtype is DType.BFLOAT16


def test_handles_of_the_same_tensor_are_known_to_be_equal(tmp_path, rng):
    path = _write(
        tmp_path / "q.gguf",
        a=(_random_blocks(rng, "Q8_0", 2, 1), "Q8_0"),
        b=(_random_blocks(rng, "Q8_0", 2, 1), "Q8_0"),
    )
    once, again = read_gguf(path).constants(), read_gguf(path).constants()
    assert constant_key(once["a"]) == constant_key(again["a"]) != constant_key(once["b"])


def test_reading_holds_little_more_than_the_result(tmp_path):
    import tracemalloc

    packed = np.zeros((2048, 4096 // 32 * 18), np.uint8)  # 8.4 million elements, 32 MiB as float32
    constant = read_gguf(_write(tmp_path / "q.gguf", w=(packed, "Q4_0"))).constants()["w"]
    dequantize(packed[:1], GGMLQuantizationType.Q4_0)  # so that what the first call imports does not count
    tracemalloc.start()
    try:
        result = constant.numpy()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * result.nbytes, f"{peak / 2**20:.0f} MiB for {result.nbytes / 2**20:.0f}"


def test_a_file_that_changed_is_an_error(tmp_path, rng):
    path = _write(tmp_path / "q.gguf", w=(_random_blocks(rng, "Q5_1", 4, 2), "Q5_1"))
    constant = read_gguf(path).constants()["w"]
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    with pytest.raises(CheckpointError, match=r"ends early: Q5_1\[4, 64\] expected at offset .* replaced while"):
        constant.numpy()
    path.unlink()
    with pytest.raises(CheckpointError, match=r"cannot read the weights in .*No such file"):
        constant.numpy()


def test_without_the_gguf_package_plain_tensors_are_read_and_others_refused(tmp_path, rng, monkeypatch):
    plain = _write(tmp_path / "plain.gguf", w=np.ones((2, 2), np.float32))
    quantised = _write(tmp_path / "q.gguf", w=(_random_blocks(rng, "Q4_K", 1, 1), "Q4_K"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    assert read_gguf(plain).constants()["w"].numpy().sum() == 4
    with pytest.raises(CheckpointError, match=r"'w' is quantised as Q4_K.*pip install 'tfgraph-onnx\[gguf\]'"):
        read_gguf(quantised).constants()


def test_a_gguf_package_that_cannot_be_imported(tmp_path, rng, monkeypatch):
    constant = read_gguf(_write(tmp_path / "q.gguf", w=(_random_blocks(rng, "Q4_K", 1, 1), "Q4_K"))).constants()["w"]
    monkeypatch.setitem(__import__("sys").modules, "gguf.quants", None)
    with pytest.raises(CheckpointError, match=r"cannot read the Q4_K weights in .*pip install"):
        constant.numpy()


def test_one_expert_of_a_stack(tmp_path, rng):
    packed = _random_blocks(rng, "Q8_0", 3 * 4, 2)
    packed.reshape(12, 2, 34)[..., 1] &= 0x3F  # no infinite scales
    path = _write(tmp_path / "q.gguf", w=(packed.reshape(3, 4, -1), "Q8_0"))
    info: TensorInfo = read_gguf(path).tensors["w"]
    whole = tensors.constant_of(info).numpy()
    assert whole.shape == (3, 4, 64)
    for expert in range(3):
        part = tensors.constant_of(tensors.slice_of(info, expert))
        np.testing.assert_array_equal(part.numpy(), whole[expert])
