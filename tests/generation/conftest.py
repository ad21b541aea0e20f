"""Random models of transformers, made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.generation.hf_decoder import tiny_gpt2


@pytest.fixture(scope="session")
def gpt2_models():
    """Models that end rarely, now and then, and soon; tokens 7, 11 and 30 are made to be end tokens."""
    return [tiny_gpt2(seed, end_bias, (7, 11, 30)) for seed, end_bias in ((0, 0.0), (1, 2.0), (2, 4.0))]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for torch: with several, models this small spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
