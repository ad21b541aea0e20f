"""Checkpoints of Mixtral: experts one by one, or all in one tensor. Its results are in `test_rotary_families.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tfgraph
from tests.models.parity import batch, random_model, save
from tests.models.rotary_families import settings
from tfgraph.errors import CheckpointError


def fuse(weights: dict[str, np.ndarray], num_experts: int) -> dict[str, np.ndarray]:
    """The tensors as transformers 5 has them in memory."""
    result = {}
    for name, array in weights.items():
        layer, _, part = name.partition(".block_sparse_moe.")
        if part == "gate.weight":
            result[f"{layer}.mlp.gate.weight"] = array
        elif not part:
            result[name] = array
        elif part == "experts.0.w1.weight":
            experts = f"{layer}.block_sparse_moe.experts"
            one, two, three = (
                np.stack([weights[f"{experts}.{index}.w{kind}.weight"] for index in range(num_experts)])
                for kind in (1, 2, 3)
            )
            result[f"{layer}.mlp.experts.gate_up_proj"] = np.concatenate([one, three], 1)
            result[f"{layer}.mlp.experts.down_proj"] = two
    return result


def test_both_layouts_are_the_same_model(tmp_path: Path) -> None:
    folder = save(random_model("MixtralForCausalLM", **settings("mixtral")), tmp_path)
    state = tfgraph.load(folder, task="causal-lm").module.state_dict()
    apart = {name: handle.numpy().copy() for name, handle in state.items()}
    path = folder / "model.safetensors"
    weights = fuse(load_file(path), 4)
    assert not any("block_sparse_moe" in name for name in weights)
    save_file(weights, path)
    fused = tfgraph.load(folder, task="causal-lm").module.state_dict()
    assert list(fused) == list(apart)
    for name, handle in fused.items():
        np.testing.assert_array_equal(handle.numpy(), apart[name], err_msg=name)
    ids, mask = batch(61, "holes")
    logits = tfgraph.compile(tfgraph.load(folder, task="causal-lm")).run({"input_ids": ids, "attention_mask": mask})
    assert np.isfinite(logits["logits"]).all()


@pytest.mark.parametrize("name", ["gate_up_proj", "down_proj"])
def test_experts_of_another_number(name: str, tmp_path: Path) -> None:
    folder = save(random_model("MixtralForCausalLM", **settings("mixtral")), tmp_path)
    path = folder / "model.safetensors"
    weights = fuse(load_file(path), 4)
    broken = f"model.layers.1.mlp.experts.{name}"
    weights[broken] = weights[broken][:3]
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=rf"'{broken}' has the shape \[3, .*there are 4 experts with"):
        tfgraph.load(folder)
