"""Names and layouts of tensors beyond what whole models show: old spellings, variants, and what does not fit."""

import numpy as np
import pytest
from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES

from tests.gguf_files import HIDDEN, VOCAB, write_small
from tfgraph.checkpoints.gguf import open_gguf_checkpoint
from tfgraph.checkpoints.gguf.architectures import ARCHITECTURES, MIXTRAL
from tfgraph.checkpoints.gguf.layouts import Heads, fused_by_head, key_rows, query_rows
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import ArrayConstant

# what gguf names for an architecture and no published file of it has
NOT_WRITTEN = {
    "phi2": {"blk.{bid}.attn_qkv", "blk.{bid}.ffn_norm"},
    "phi3": {"blk.{bid}.attn_q", "blk.{bid}.attn_k", "blk.{bid}.attn_v"},
}
NOT_WEIGHTS = {"rope_freqs", "rope_factors_long", "rope_factors_short", "blk.{bid}.attn_rot_embd"}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_tensor_that_gguf_names_is_known(name):
    kind = next(kind for kind, known in MODEL_ARCH_NAMES.items() if known == name)
    theirs = {TENSOR_NAMES[tensor] for tensor in MODEL_TENSORS[MODEL_ARCH(kind)]}
    architecture = ARCHITECTURES[name]
    ours = {*architecture.outer, *(f"blk.{{bid}}.{block}" for block in architecture.block)}
    if name == "llama":
        ours |= {f"blk.{{bid}}.{block}" for block in MIXTRAL.block if "{expert}" not in block}
    assert ours >= theirs - NOT_WEIGHTS - NOT_WRITTEN.get(name, set())
    assert ours - theirs <= {"output"}  # which gguf does not list for models that tie it


def test_experts_in_files_of_their_own_tensors(tmp_path, rng):
    """Before April 2024 each expert was a tensor."""
    experts = {
        f"blk.0.{name}.{expert}.weight": rng.standard_normal(shape).astype(np.float32)
        for name, shape in (("ffn_gate", (64, HIDDEN)), ("ffn_down", (HIDDEN, 64)), ("ffn_up", (64, HIDDEN)))
        for expert in range(2)
    }

    def change(writer):
        writer.add_expert_count(2)
        writer.add_expert_used_count(1)
        for name, array in experts.items():
            writer.add_tensor(name, array)

    weights = open_gguf_checkpoint(write_small(tmp_path / "model.gguf", change)).weights
    for ours, theirs in (("w1", "ffn_gate"), ("w2", "ffn_down"), ("w3", "ffn_up")):
        for expert in range(2):
            np.testing.assert_array_equal(
                weights[f"model.layers.0.block_sparse_moe.experts.{expert}.{ours}.weight"].numpy(),
                experts[f"blk.0.{theirs}.{expert}.weight"],
            )


def test_unknown_tensors_are_listed(tmp_path):
    def change(writer):
        for name in ("blk.0.ssm_a.weight", "blk.1.attn_q.scale", "vision.patch.weight", "blk.1.ffn_gate.0.weight"):
            writer.add_tensor(name, np.zeros(4, np.float32))

    with pytest.raises(
        CheckpointError, match=r"holds 4 tensors that a llama model does not have: blk\.0\.ssm_a\.weight"
    ):
        open_gguf_checkpoint(write_small(tmp_path / "model.gguf", change))


def test_tensors_that_are_no_weights_are_left_out(tmp_path):
    def change(writer):
        writer.add_tensor("blk.0.attn_rot_embd.weight", np.zeros(4, np.float32))

    weights = open_gguf_checkpoint(write_small(tmp_path / "model.gguf", change)).weights
    assert {name: constant.shape for name, constant in weights.items()} == {
        "model.embed_tokens.weight": (VOCAB, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }


def test_a_stack_of_experts_that_is_none(tmp_path):
    def change(writer):
        writer.add_expert_count(2)
        writer.add_expert_used_count(1)
        writer.add_tensor("blk.0.ffn_gate_exps.weight", np.zeros(32, np.float32))

    with pytest.raises(
        CheckpointError, match=r"'blk.0.ffn_gate_exps.weight' must stack experts, and has the shape \[32\]"
    ):
        open_gguf_checkpoint(write_small(tmp_path / "model.gguf", change))


def test_rotary_rows():
    """One head of 6 rows and its partner: pair i of a head lies in the rows 2i and 2i + 1 of GGUF."""
    rows = ArrayConstant(np.array([0, 3, 1, 4, 2, 5, 10, 13, 11, 14, 12, 15], np.float32))
    expected = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
    assert query_rows(rows, Heads(2, 1)).numpy().tolist() == expected
    assert key_rows(rows, Heads(7, 2)).numpy().tolist() == expected


def test_fused_rows():
    """Two heads of one feature: all queries, all keys, all values become the three of each head."""
    rows = ArrayConstant(np.array([[1, 1], [2, 2], [10, 10], [20, 20], [100, 100], [200, 200]], np.float32))
    assert fused_by_head(rows, Heads(2, 2)).numpy()[:, 0].tolist() == [1, 10, 100, 2, 20, 200]


def test_layouts_that_do_not_fit():
    with pytest.raises(CheckpointError, match="cannot be split into 4 equal parts: the head counts do not fit it"):
        query_rows(ArrayConstant(np.zeros((6, 2), np.float32)), Heads(4, 4))
    with pytest.raises(CheckpointError, match="has heads of 3 rows; rotary embeddings need an even number"):
        query_rows(ArrayConstant(np.zeros((6, 2), np.float32)), Heads(2, 2))
    with pytest.raises(CheckpointError, match="cannot be split into 6 equal parts"):
        fused_by_head(ArrayConstant(np.zeros((), np.float32)), Heads(2, 2))
