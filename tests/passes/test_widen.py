"""bfloat16 for a target without kernels for it: float32 between casts, every value of the type it had."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tfgraph as tg
from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import gelu, layer_norm
from tfgraph.errors import TargetError
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dtypes import DType
from tfgraph.ir.interpret import interpret
from tfgraph.ir.verify import verify
from tfgraph.passes.legalise import legalise
from tfgraph.passes.widen import WIDENED, runs_when_wide
from tfgraph.random_inputs import random_inputs
from tfgraph.targets import get_target

CPU = get_target("cpu")
WEIGHT = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)


def block(x):
    """bfloat16 inside, float32 at both ends."""
    narrow = F.cast(x, "bfloat16")
    weight = F.cast(F.as_tensor(WEIGHT), "bfloat16")
    hidden = gelu(F.matmul(narrow, weight) + narrow)
    ones = F.cast(F.as_tensor(np.ones(8, np.float32)), "bfloat16")
    return F.cast(F.softmax(layer_norm(hidden, ones)), "float32")


def test_arithmetic_is_widened_and_the_numbers_are_at_least_as_near(graph_of):
    before = graph_of(block, x="batch 8")
    after = copy_graph(before)
    changes = legalise(after, CPU).changes
    verify(after)
    assert changes[f"{WIDENED}MatMul"] == changes[f"{WIDENED}Softmax"] == 1
    assert all(node.key == "Cast" or not runs_when_wide(node, CPU) for node in after)
    assert after.outputs["output"].type == before.outputs["output"].type
    inputs = random_inputs(before, {"batch": 5})
    expected, found = interpret(before, inputs)["output"], interpret(after, inputs)["output"]
    assert np.abs(found - expected).max() <= 2**-6 * np.abs(expected).max()


def test_onnx_runtime_runs_it(graph_of):
    graph = graph_of(block, x="batch 8")
    inputs = random_inputs(graph, {"batch": 3})
    expected = interpret(graph, inputs)["output"]
    found = tg.compile(graph, target="cpu").run(inputs)["output"]
    assert np.abs(found - expected).max() <= 2**-6 * np.abs(expected).max()


def test_one_operand_used_twice_is_cast_once(graph_of):
    graph = graph_of(lambda x: F.cast(F.cast(x, "bfloat16") * F.cast(x, "bfloat16"), "float32"), x="8")
    legalise(graph, CPU)
    assert [node.key for node in graph].count("Mul") == 1
    product = next(node for node in graph if node.key == "Mul")
    assert product.output.dtype is DType.FLOAT32 and product.input(0).dtype is DType.FLOAT32


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_other_types_are_left_alone(graph_of, dtype):
    graph = graph_of(lambda x: F.softmax(x), x=f"{dtype} 8")
    assert not legalise(graph, CPU).changed


def test_what_no_width_helps_is_refused_with_a_way_out(graph_of):
    graph = graph_of(lambda x: F.softmax(x), x="bfloat16 8")
    only = replace(CPU.operators["Softmax"], dtypes=frozenset({DType.FLOAT64}))
    narrow = replace(CPU, operators={**CPU.operators, "Softmax": only})
    message = (
        r"Softmax 'Softmax' .* cannot be lowered for cpu: .* does not take bfloat16\. Cast to a type that it takes"
    )
    with pytest.raises(TargetError, match=message):
        legalise(graph, narrow)
