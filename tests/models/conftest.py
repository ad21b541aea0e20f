"""Checkpoints that transformers saved, with random weights, and how to run and compare both sides.

transformers runs in float64: where a model is sensitive, at padded positions above all, its own float32 result is
further from that than the tolerance here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfgraph.ir.interpret import interpret
from tfgraph.pretrained import Pretrained

BASE_CONFIG = {
    "vocab_size": 53,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
}

Outputs = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Any, Path]]:
    """`make_checkpoint("BertModel", hidden_size=30)`: a transformers model, every weight random, and where it is saved.

    The weights are saved as float32. Made once for the same arguments.
    """
    made: dict[str, tuple[Any, Path]] = {}

    def make(name: str, **overrides: Any) -> tuple[Any, Path]:
        import torch
        import transformers

        key = json.dumps([name, overrides], sort_keys=True)
        if key not in made:
            model_class = getattr(transformers, name)
            num_labels = 2 if name.endswith("QuestionAnswering") else 3  # a start and an end
            settings = {**BASE_CONFIG, "num_labels": num_labels, **overrides}
            model = model_class(model_class.config_class(**settings)).eval()
            generator = torch.Generator().manual_seed(7)
            with torch.no_grad():
                for path, parameter in model.named_parameters():
                    noise = torch.randn(parameter.shape, generator=generator) * 0.3
                    parameter.copy_(noise + 1 if path.endswith("LayerNorm.weight") else noise)
            folder = tmp_path_factory.mktemp(name)
            model.save_pretrained(folder)
            made[key] = model.double(), folder
        return made[key]

    return make


def run_transformers(model: Any, inputs: Outputs) -> Outputs:
    """The outputs of a transformers model, by name."""
    import torch

    with torch.no_grad():
        outputs = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items() if tensor is not None}


def run_interpreted(pretrained: Pretrained, inputs: Outputs) -> Outputs:
    """The outputs of our model, from the numpy interpreter."""
    return interpret(pretrained.trace(), inputs)


def run_compiled(pretrained: Pretrained, inputs: Outputs) -> Outputs:
    """The outputs of our model, compiled for the CPU and run by ONNX Runtime."""
    from tfgraph.compiler import compile

    return compile(pretrained, target="cpu").run(inputs)


@pytest.fixture(scope="session")
def transformers_outputs() -> Callable[[Any, Outputs], Outputs]:
    return run_transformers


@pytest.fixture(params=[run_interpreted, run_compiled], ids=["interpreted", "compiled"])
def run(request: pytest.FixtureRequest) -> Callable[[Pretrained, Outputs], Outputs]:
    """How to run our model: each test that takes it runs both ways."""
    return request.param


@pytest.fixture(scope="session")
def assert_close() -> Callable[..., None]:
    """`assert_close(ours, theirs)`: the same outputs, within 1e-5 of the largest magnitude of each."""

    def check(ours: Outputs, theirs: Outputs, tolerance: float = 1e-5) -> None:
        assert sorted(ours) == sorted(theirs)
        for name, expected in theirs.items():
            assert ours[name].shape == expected.shape, name
            error = np.abs(ours[name].astype(np.float64) - expected).max() / np.abs(expected).max()
            assert error <= tolerance, f"{name}: {error:.2e}"

    return check
