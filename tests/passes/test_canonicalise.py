"""Canonicalising as a whole: it reaches a form in which nothing is left to do, and says what it did."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph import nn
from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import attention, gelu, layer_norm
from tfgraph.dsl.trace import spec, trace
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.verify import verify
from tfgraph.passes.canonicalise import canonicalise
from tfgraph.targets import get_target

F32 = np.float32
CPU = get_target("cpu")


def block():
    model = nn.DecoderBlock(24, 4, 32, norm_type="rms", rotary=nn.RotaryPositions(6, max_positions=9), num_kv_heads=2)
    model.init_weights()
    return trace(model, x=spec("float32", ["batch", "seq", 24]), attention_mask=spec("int64", ["batch", "seq"]))


def test_nothing_is_left_to_do(same_numbers):
    before = block()
    after = copy_graph(before)
    assert canonicalise(after, CPU).changed
    verify(after)
    same_numbers(before, after, ({}, {"batch": 1, "seq": 1}))
    text = str(after)
    again = canonicalise(after, CPU)
    assert not again.changed, again.changes
    assert str(after) == text


def test_rules_folding_and_cleaning_help_each_other(graph_of, operators, same_numbers):
    """The transpose must be folded before the product is seen to be with a weight, and the scale must then go."""

    def forward(x):
        weight = F.transpose(F.as_tensor(np.ones((5, 8), F32)), (1, 0))
        one = F.as_tensor(np.full((1,), 0.5, F32)) + F.as_tensor(np.full((1,), 0.5, F32))
        flat = F.reshape(x, (-1, 8))
        return F.reshape(F.matmul(flat, weight) * one, (*x.shape[:2], 5))

    before = graph_of(forward, x="batch seq 8")
    after = copy_graph(before)
    changes = canonicalise(after, CPU).changes
    assert {"fold_constants", "drop_neutral", "unflatten_matmul", "simplify_reshape"} <= set(changes)
    assert operators(after) == {"MatMul": 1}
    same_numbers(before, after)


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: layer_norm(x, F.as_tensor(np.ones(8, F32)), F.as_tensor(np.zeros(8, F32))),
        gelu,
        lambda x: gelu(x, approximate="tanh"),
        lambda x: attention(*[F.reshape(F.sin(x), (*x.shape[:2], 2, 4))] * 3),
    ],
)
def test_definitions_have_a_canonical_form(graph_of, same_numbers, forward):
    before = graph_of(forward, x="batch seq 8")
    after = copy_graph(before)
    canonicalise(after, CPU)
    verify(after)
    same_numbers(before, after)
    assert not canonicalise(after, CPU).changed


def test_graphs_with_nothing_in_them(graph_of):
    for forward in (
        lambda x: x,
        lambda x: (x, x),
        lambda x: F.as_tensor(np.ones(3, F32)),
        lambda x: (F.cast(x, "float32") + 0.0, F.exp(F.as_tensor(np.ones(3, F32)))),
    ):
        graph = graph_of(forward, x="batch 8")
        names = list(graph.outputs)
        canonicalise(graph, CPU)
        verify(graph)
        assert len(graph) == 0
        assert list(graph.outputs) == names and list(graph.inputs) == ["x"]


def test_no_rule_is_started_in_vain(graph_of):
    """What a rule added before it gave up would be cleaned away, and be counted as a change, round after round."""

    def unmatched(x, y):
        return F.current_trace().emit("Einsum", (x, y), {"equation": "bshp,btqh->stpqb"})[0]

    graph = graph_of(unmatched, x="batch seq 4 3", y="batch keys 5 4")
    first = canonicalise(graph, CPU)
    assert "dead" not in first.changes
    assert not canonicalise(graph, CPU).changed
