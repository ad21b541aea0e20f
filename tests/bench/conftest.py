"""A BERT small enough that whole benchmarks run in seconds."""

from __future__ import annotations

import pytest

from tfgraph.models.bert import BertConfig


@pytest.fixture(scope="session")
def tiny() -> BertConfig:
    """Two layers of 32 features."""
    return BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=16,
    )
