"""GGUF files without a tokenizer, and with one that is damaged or unknown: the model can be read all the same."""

import numpy as np
import pytest

from tests.gguf_files import write_small
from tfgraph.checkpoints.gguf import open_gguf_checkpoint
from tfgraph.checkpoints.gguf.settings import Settings
from tfgraph.errors import CheckpointError


def test_a_file_without_a_tokenizer(tmp_path):
    assert open_gguf_checkpoint(write_small(tmp_path / "model.gguf")).tokenizer is None
    path = write_small(tmp_path / "model.gguf", lambda writer: writer.add_tokenizer_model("no_vocab"))
    assert open_gguf_checkpoint(path).tokenizer is None


def _model(name):
    def add(writer):
        writer.add_tokenizer_model(name)
        writer.add_token_list(["a"])

    return add


def _byte_level(tokens=("a", "b", "ab"), merges=("a b",), pre="gpt-2", change=lambda writer: None):
    def add(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        if tokens is not None:
            writer.add_token_list(list(tokens))
        if merges is not None:
            writer.add_token_merges(list(merges))
        change(writer)

    return add


REFUSED = {
    "kind": (_model("rwkv"), "has a tokenizer of the kind 'rwkv'; those read from GGUF are gpt2, llama"),
    "no tokens": (_byte_level(tokens=None), "has no tokens under"),
    "splitting": (
        _byte_level(pre="viking"),
        "cuts text into words in the way 'viking', which is not known here; known",
    ),
    "no merges": (_byte_level(merges=None), "a byte-level tokenizer without 'tokenizer.ggml.merges'"),
    "merge of one": (_byte_level(merges=["ab"]), "a merge must be two tokens with a space between, found 'ab'"),
    "merge of three": (_byte_level(merges=["a b c"]), "two tokens with a space between, found 'a b c'"),
    "unknown merge": (_byte_level(merges=["a x"]), "a tokenizer that the `tokenizers` package refuses: .*x"),
    "role": (_byte_level(change=lambda w: w.add_eos_token_id(3)), "eos_token_id' is 3, and there are 3 tokens"),
    "kinds": (_byte_level(change=lambda w: w.add_token_types([1])), "has 3 tokens and the kinds of 1"),
    "kinds of text": (
        _byte_level(change=lambda w: w.add_array("tokenizer.ggml.token_type", ["a"])),
        "'tokenizer.ggml.token_type' must be a list of numbers, found",
    ),
    "no scores": (_model("llama"), "has 1 tokens and the scores of none"),
    "tokens": (
        lambda w: (w.add_tokenizer_model("gpt2"), w.add_array("tokenizer.ggml.tokens", [1, 2])),
        "'tokenizer.ggml.tokens' must be a list of texts",
    ),
    "flag": (
        _byte_level(change=lambda w: w.add_uint32("tokenizer.ggml.add_bos_token", 1)),
        "add_bos_token' must be true or false, found 1",
    ),
    "model": (lambda w: w.add_uint32("tokenizer.ggml.model", 1), "'tokenizer.ggml.model' must be a text, found 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case):
    add, message = REFUSED[case]
    checkpoint = open_gguf_checkpoint(write_small(tmp_path / "model.gguf", add))  # the weights can be read all the same
    with pytest.raises(CheckpointError, match=message) as caught:
        _ = checkpoint.tokenizer
    assert str(tmp_path) in str(caught.value)


def test_lists_that_are_empty_or_of_another_kind(tmp_path):
    empty = {"numbers": np.zeros(0, np.int32), "texts": [], "text": "a", "flags": np.zeros(2, bool)}
    settings = Settings(empty, tmp_path)
    assert settings.texts("numbers") == settings.texts("texts") == []
    assert settings.numbers("numbers") == settings.numbers("texts") == []
    for wrong in ("text", "flags"):
        with pytest.raises(CheckpointError, match=f"'{wrong}' must be a list of numbers"):
            settings.numbers(wrong)
        with pytest.raises(CheckpointError, match=f"'{wrong}' must be a list of texts"):
            settings.texts(wrong)
    with pytest.raises(CheckpointError, match="'text' must be an integer, found 'a'"):
        settings.integer("text")
