"""What holds for every family of encoders: its heads, how it is traced and compiled, half precision, padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.models.encoder_parity import SMALL, encoder_inputs, largest_error, reference_outputs
from tests.models.parity import TOLERANCE, random_model, save
from tfgraph.ir.interpret import interpret
from tfgraph.models.family import TASKS, Architecture, Family
from tfgraph.models.registry import find_family

USUAL = {
    "base", "masked-lm", "sequence-classification", "token-classification", "question-answering", "multiple-choice",
}  # fmt: skip
OWN = {
    "bert": {"next-sentence", "pre-training"},
    "megatron-bert": {"next-sentence", "pre-training"},
    "albert": {"pre-training"},
    "electra": {"replaced-token-detection"},
    "roberta": set(),
    "xlm-roberta": set(),
    "camembert": set(),
    "distilbert": set(),
}
FAMILIES = [find_family(model_type) for model_type in OWN]
MODELS = [(family, architecture) for family in FAMILIES for architecture in family.architectures]


def declare(family: Family, architecture: Architecture) -> tuple[Any, dict[str, Any]]:
    """A small model without weights, and its inputs."""
    config = family.config.from_dict(SMALL)
    inputs = architecture.inputs(config, "float32") if architecture.inputs else family.input_specs(architecture.task)
    return architecture.build(config), dict(inputs)


@pytest.mark.parametrize("model_type", OWN)
def test_every_head_that_transformers_has(model_type: str) -> None:
    import transformers

    family = find_family(model_type)
    assert {architecture.task for architecture in family.architectures} == USUAL | OWN[model_type] <= set(TASKS)
    stem = family.architecture_for("base").name.removesuffix("Model")
    theirs = {name for name in dir(transformers) if name.startswith((f"{stem}For", f"{stem}Model"))}
    assert {architecture.name for architecture in family.architectures} == theirs - {f"{stem}ForCausalLM"}


@pytest.mark.parametrize(("family", "architecture"), MODELS, ids=lambda each: getattr(each, "name", ""))
def test_tracing_twice_gives_the_same_text(family: Family, architecture: Architecture) -> None:
    module, inputs = declare(family, architecture)
    graph = tfgraph.trace(module, **inputs)
    assert str(graph) == str(tfgraph.trace(module, **inputs))
    masks = [node for node in graph if node.op == "Cast" and node.attributes["to"] == "bool"]
    assert len(masks) == 1  # made once for all layers


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_a_declared_model_runs_on_weights_to_start_from(family: Family) -> None:
    module, inputs = declare(family, family.architecture_for("masked-lm"))
    graph = tfgraph.trace(module, **inputs)
    texts = {name: np.ones((2, 5), np.int64) for name in inputs}
    logits = interpret(graph, texts)["logits"]
    assert logits.shape == (2, 5, 61) and np.isfinite(logits).all() and logits.std() > 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_half_precision(family: Family, dtype: str, tmp_path: Path) -> None:
    model = random_model(family.architecture_for("sequence-classification").name, **SMALL, num_labels=3)
    pretrained = tfgraph.load(save(model, tmp_path), dtype=dtype)
    assert {str(weight.dtype) for weight in pretrained.module.state_dict().values()} == {dtype}
    inputs = encoder_inputs(pretrained, "left padding", 61, model.config.pad_token_id or 0)
    ours, expected = interpret(pretrained.trace(), inputs)["logits"], reference_outputs(model, inputs)["logits"]
    error = np.abs(ours.astype(np.float64) - expected).max() / np.abs(expected).max()
    assert error < {"float16": 1e-2, "bfloat16": 1e-1}[dtype]


@pytest.mark.parametrize("target", ["cpu", "onnx"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_no_pass_changes_the_outputs(family: Family, target: str, tmp_path: Path) -> None:
    model = random_model(family.architecture_for("masked-lm").name, **SMALL)
    pretrained = tfgraph.load(save(model, tmp_path))
    inputs = encoder_inputs(pretrained, "holes", 61, 0)
    outputs = tfgraph.compile(pretrained, target=target, verify=True).run(inputs)
    assert largest_error(outputs, reference_outputs(model, inputs)) <= TOLERANCE


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_padding_has_no_influence(family: Family, tmp_path: Path) -> None:
    """On the right, whatever its ids."""
    model = random_model(family.architecture_for("token-classification").name, **SMALL)
    compiled = tfgraph.compile(tfgraph.load(save(model, tmp_path)), target="cpu")
    generator = np.random.default_rng(2)
    names = [name for name in compiled.graph.inputs if name != "attention_mask"]
    texts = {name: generator.integers(0, 2, (3, 9)) + (3 if name == "input_ids" else 0) for name in names}
    mask = (np.arange(9) < 5).astype(np.int64) * np.ones((3, 1), np.int64)
    padded = compiled.run({**texts, "attention_mask": mask})["logits"]
    alone = compiled.run({name: array[:, :5] for name, array in {**texts, "attention_mask": mask}.items()})["logits"]
    np.testing.assert_allclose(padded[:, :5], alone, rtol=0, atol=1e-5 * np.abs(alone).max())
