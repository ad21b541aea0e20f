"""Whole GGUF files with changed bytes: they open as a model and a tokenizer, or are refused with a typed error."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gguf_files import write_small
from tfgraph.checkpoints.gguf import open_gguf_checkpoint
from tfgraph.errors import CheckpointError, ConfigError
from tfgraph.tokenizer import Tokenizer


def _byte_level(writer):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(["<s>", "a", "b", "ab", "c"])
    writer.add_token_types([3, 1, 1, 1, 4])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)


def _sentencepiece(writer):
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "a", "b", "ab", "▁"])
    writer.add_token_scores([0.0, 0.0, -1.0, -2.0, -3.0, -4.0])
    writer.add_token_types([2, 3, 1, 1, 1, 1])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)


@pytest.fixture(scope="module", params=[_byte_level, _sentencepiece])
def content(request, tmp_path_factory):
    return write_small(tmp_path_factory.mktemp("whole") / "model.gguf", request.param).read_bytes()


def _open_all(path):
    checkpoint = open_gguf_checkpoint(path)
    for constant in checkpoint.weights.values():
        assert constant.numpy().shape == constant.shape
    if checkpoint.tokenizer is not None:
        Tokenizer(checkpoint.tokenizer).encode(["abc a"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=250)
@given(data=st.data())
def test_changed_bytes(content, tmp_path, data):
    header = content.index(b"output_norm.weight") + 60
    places = st.tuples(st.integers(0, header), st.one_of(st.integers(0, 255), st.sampled_from(b"\0\1\xff")))
    changed = bytearray(content)
    for place, byte in data.draw(st.lists(places, min_size=1, max_size=3)):
        changed[place] = byte
    path = tmp_path / "model.gguf"
    path.write_bytes(changed)
    try:
        _open_all(path)
    except (CheckpointError, ConfigError) as error:
        message = str(error)
        assert "Traceback" not in message
        assert len(message) < 2000


def test_unchanged_bytes(content, tmp_path):
    (tmp_path / "model.gguf").write_bytes(content)
    _open_all(tmp_path / "model.gguf")
