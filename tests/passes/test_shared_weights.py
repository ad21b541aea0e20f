"""A weight used as it is and transposed is stored once; other products keep their folded weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import tfgraph
from tfgraph import functional as F
from tfgraph import nn
from tfgraph.ir.interpret import interpret

VOCABULARY, WIDTH = 200, 40  # more elements than are folded at once


class Tied(nn.Module):
    """Embeddings whose table predicts tokens, for all positions or for the last one."""

    def __init__(self, *, last: bool = False, tied: bool = True) -> None:
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY)
        if tied:
            self.head.weight = self.embedding.weight
        self.last = last

    def forward(self, ids: nn.Tensor) -> nn.Tensor:
        hidden = F.tanh(self.embedding(ids))
        logits: nn.Tensor = self.head(hidden[:, -1] if self.last else hidden)
        return logits


def optimised(model: nn.Module, target: str = "cpu") -> tfgraph.CompiledModel:
    return tfgraph.compile(model, target=target, inputs={"ids": tfgraph.spec("int64", ["batch", "seq"])})


@pytest.mark.parametrize("target", ["cpu", "onnx"])
@pytest.mark.parametrize("last", [False, True])
def test_a_tied_table_is_stored_once(last: bool, target: str, tmp_path: Path) -> None:
    model = Tied(last=last)
    compiled = optimised(model, target)
    ids = np.asarray([[3, 199, 0], [7, 7, 1]])
    plain = tfgraph.trace(model, ids=tfgraph.spec("int64", ["batch", "seq"]))
    np.testing.assert_allclose(compiled(ids=ids), interpret(plain, {"ids": ids})["output"], rtol=1e-5, atol=1e-6)
    compiled.save(tmp_path / "tied.onnx")
    stored = [tensor for tensor in onnx.load(tmp_path / "tied.onnx").graph.initializer if len(tensor.dims) == 2]
    assert [list(tensor.dims) for tensor in stored] == [[VOCABULARY, WIDTH]]
    assert [node.key for node in compiled.graph].count("Gemm") == 1


@pytest.mark.parametrize("model", [Tied(tied=False), Tied(tied=False, last=True)])
def test_other_weights_stay_folded(model: Tied) -> None:
    keys = [node.key for node in optimised(model).graph]
    assert "MatMul" in keys
    assert "Gemm" not in keys


def test_a_weight_that_only_multiplies_stays_folded() -> None:
    """Both ways round, a product reads its weight fastest as it is folded."""

    class BackAndForth(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter((VOCABULARY, WIDTH))

        def forward(self, x: nn.Tensor) -> nn.Tensor:
            return F.matmul(F.tanh(F.matmul(x, self.weight)), F.transpose(self.weight, (1, 0)))

    compiled = tfgraph.compile(BackAndForth(), inputs={"x": tfgraph.spec("float32", ["batch", VOCABULARY])})
    assert [node.key for node in compiled.graph].count("MatMul") == 2
