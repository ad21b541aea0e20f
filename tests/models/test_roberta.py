"""x"""
from __future__ import annotations
import pytest
from tests.models.encoder_parity import encoder_errors
from tests.models.parity import assert_exact
from tfgraph.models.roberta import FAMILY


@pytest.mark.parametrize("name", [architecture.name for architecture in FAMILY.architectures])
def test_every_kind_of_batch(name, tmp_path):
    e = encoder_errors(name, tmp_path)
    print(max(e.values()))
    assert_exact(e)
