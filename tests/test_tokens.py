"""`Tokenizer.tokens`: the same tokens that `encode` gives ids for, with their places in the text."""

from __future__ import annotations

import pytest

from tests.tiny_checkpoint import write_checkpoint
from tfgraph.errors import InputError
from tfgraph.tokenizer import Token, Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.load(write_checkpoint(tmp_path_factory.mktemp("checkpoint")))


def test_places_of_tokens(tokenizer):
    (tokens,) = tokenizer.tokens(["The cats"])
    assert tokens == [
        Token("[CLS]", 2, None, 0, 0),
        Token("the", 5, 0, 0, 3),
        Token("cat", 7, 0, 4, 7),
        Token("##s", 27, 0, 7, 8),
        Token("[SEP]", 3, None, 0, 0),
    ]


def test_places_are_in_the_text_that_a_token_is_of(tokenizer):
    pair = ("a cat", "The red, RED mat")
    (tokens,) = tokenizer.tokens([pair])
    spelt = [pair[token.part][token.start : token.end] for token in tokens if token.part is not None]
    assert spelt == ["a", "cat", "The", "red", ",", "RED", "mat"]


def test_tokens_are_those_of_encode(tokenizer):
    texts = ["a cat sleeps", "the red dog sat on the blue mat", "xyz"]
    encoded = tokenizer.encode(texts, max_length=6)
    for tokens, ids, mask in zip(
        tokenizer.tokens(texts, max_length=6), encoded["input_ids"], encoded["attention_mask"], strict=True
    ):
        assert [token.id for token in tokens] == ids[mask == 1].tolist()


def test_what_is_no_list_of_texts(tokenizer):
    with pytest.raises(InputError, match="at least one text"):
        tokenizer.tokens([])
