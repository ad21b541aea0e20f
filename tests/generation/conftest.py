"""Random models of transformers, made once."""

from __future__ import annotations

import pytest

from tests.generation.hf_decoder import tiny_gpt2


@pytest.fixture(scope="session")
def gpt2_models():
    """Models that end rarely, now and then, and soon; tokens 7, 11 and 30 are made to be end tokens."""
    return [tiny_gpt2(seed, end_bias, (7, 11, 30)) for seed, end_bias in ((0, 0.0), (1, 2.0), (2, 4.0))]
