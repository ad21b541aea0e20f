"""From module paths to checkpoint names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import CheckpointError
from tfgraph.models.names import below, checkpoint_name

NAMES = {"layers.{}.norm1": "layer.{}.LayerNorm", "blocks.{}.experts.{}.up": "h.{}.e.{}.w1", "pooler": "pooler.dense"}


@pytest.mark.parametrize(
    "path, name",
    [
        ("layers.0.norm1.weight", "layer.0.LayerNorm.weight"),
        ("layers.11.norm1.bias", "layer.11.LayerNorm.bias"),
        ("blocks.3.experts.12.up.weight", "h.3.e.12.w1.weight"),
        ("pooler.bias", "pooler.dense.bias"),
    ],
)
def test_names(path, name):
    assert checkpoint_name(path, NAMES) == name


def test_a_module_without_an_entry():
    with pytest.raises(CheckpointError) as caught:
        checkpoint_name("layers.0.norm2.bias", NAMES)
    assert "has no entry for 'layers.0.norm2', the module of 'layers.0.norm2.bias'" in str(caught.value)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_below_another_module(outer, inner):
    table = below(NAMES, "base", "bert")
    path = f"blocks.{outer}.experts.{inner}.up.weight"
    assert checkpoint_name(f"base.{path}", table) == "bert." + checkpoint_name(path, NAMES)
    assert checkpoint_name(f"base.{path}", below(NAMES, "base", "")) == checkpoint_name(path, NAMES)
