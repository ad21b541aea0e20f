"""Texts embedded around an encoder: batches, padding and order do not change a vector, and its length is 1."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.bench.peers.embedding import BATCH, SortedEmbedder, mean_of_tokens, padded


@pytest.fixture
def checkpoint(tmp_path):
    """A tokenizer of words, and the longest text that is read."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({f"w{index}": index for index in range(20)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 6}')
    return tmp_path


def encode(inputs):
    """A stand-in for an encoder, which shows what it was given."""
    assert len(inputs["input_ids"]) <= BATCH
    ids = inputs["input_ids"].astype(np.float32)
    return np.stack([ids, ids**2 + 1, np.ones_like(ids)], axis=-1)


def test_each_text_gets_its_own_vector_in_the_order_of_the_texts(checkpoint):
    generator = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in generator.integers(1, 20, generator.integers(1, 9))) for _ in range(70)]
    embedder = SortedEmbedder(encode, checkpoint)
    together = embedder.embed(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)


def test_texts_are_cut_where_the_model_says(checkpoint):
    embedder = SortedEmbedder(encode, checkpoint)
    np.testing.assert_array_equal(embedder.embed(["w1 w2 w3 w4 w5 w6 w7"]), embedder.embed(["w1 w2 w3 w4 w5 w6 w19"]))


def test_padding_is_on_the_right_and_counts_for_nothing():
    inputs = padded([[5, 6], [7]])
    np.testing.assert_array_equal(inputs["input_ids"], [[5, 6], [7, 0]])
    np.testing.assert_array_equal(inputs["attention_mask"], [[1, 1], [1, 0]])
    states = np.array([[[3.0, 4.0], [9.0, 9.0]]], np.float32)
    np.testing.assert_allclose(mean_of_tokens(states, np.array([[1, 0]])), [[0.6, 0.8]], rtol=1e-6)
