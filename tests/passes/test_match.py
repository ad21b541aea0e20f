"""Matching: does this place in a graph compute what this pattern computes?"""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import gelu, layer_norm
from tfgraph.dsl.functions.attention import merge_heads, split_heads
from tfgraph.dsl.trace import TensorSpec
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.passes.canonical import CANONICAL
from tfgraph.passes.match import Matcher
from tfgraph.passes.pattern import ANY, Variant, dims, floats, make_pattern
from tfgraph.passes.rewrite import scalar_of

F32 = np.float32
X = floats("...", "h")


def matcher(function, inputs, attributes=None, **settings):
    return Matcher(make_pattern("test", function, Variant(inputs, attributes or {}, **settings), CANONICAL))


@pytest.fixture
def matches(graph_of):
    """`matches(matcher, forward, **specs)`: the bindings at the graph's first output, in canonical form, or None."""

    def run(looking, forward, **specs):
        graph = graph_of(forward, **specs)
        CANONICAL.apply(graph)
        return looking.match(next(iter(graph.outputs.values())).producer)

    return run


def bound(looking, bindings, name):
    """The name of what an input of the pattern is bound to."""
    return bindings.values[looking.pattern.inputs[name]].name


# -- operands ----------------------------------------------------------------------------------------------------------


def test_commutative_operands_match_in_both_orders(matches):
    looking = matcher(lambda a, b: F.sqrt(a) + F.exp(b), {"a": X, "b": X})
    for forward in (lambda x, y: F.sqrt(x) + F.exp(y), lambda x, y: F.exp(y) + F.sqrt(x)):
        found = matches(looking, forward, x="batch 8", y="batch 8")
        assert (bound(looking, found, "a"), bound(looking, found, "b")) == ("x", "y")


def test_the_order_is_found_where_only_what_comes_later_decides(matches):
    """Both operands are products; which is which shows only two levels up, and in what they share."""

    def pattern(a, b, c):
        return (a * F.sqrt(b)) + (a * F.exp(c))

    looking = matcher(pattern, {"a": X, "b": X, "c": X})
    for forward in (
        lambda x, y, z: (x * F.sqrt(y)) + (x * F.exp(z)),
        lambda x, y, z: (F.exp(z) * x) + (F.sqrt(y) * x),
        lambda x, y, z: (x * F.exp(z)) + (F.sqrt(y) * x),
    ):
        found = matches(looking, forward, x="batch 8", y="batch 8", z="batch 8")
        assert [bound(looking, found, name) for name in "abc"] == ["x", "y", "z"]
    assert matches(looking, lambda x, y, z: (x * F.sqrt(y)) + (z * F.exp(x)), x="8", y="8", z="8") is None


def test_operands_of_a_difference_do_not(matches):
    looking = matcher(lambda a, b: F.sqrt(a) - F.exp(b), {"a": X, "b": X})
    assert matches(looking, lambda x, y: F.exp(x) - F.sqrt(y), x="8", y="8") is None


def test_a_value_bound_twice_is_one_value(matches):
    looking = matcher(lambda x: x * F.sigmoid(x), {"x": X})
    assert matches(looking, lambda x, y: F.sigmoid(x) * x, x="8", y="8") is not None
    assert matches(looking, lambda x, y: F.sigmoid(x) * y, x="8", y="8") is None
    assert "should be the same value as" in str(looking.failure)
    square = matcher(lambda x: x * x, {"x": X})
    assert matches(square, lambda x, y: x * x, x="8", y="8") is not None
    assert matches(square, lambda x, y: x * y, x="8", y="8") is None


def test_two_inputs_of_a_pattern_may_be_one_value(matches):
    looking = matcher(lambda a, b: F.sqrt(a) * F.exp(b), {"a": X, "b": X})
    assert matches(looking, lambda x: F.sqrt(x) * F.exp(x), x="8") is not None


def test_optional_operands_must_agree(matches, op):
    def clipped(x):
        return F.current_trace().emit("Clip", (x, F.as_tensor(np.asarray(0, F32))))[0]

    looking = matcher(clipped, {"x": X})
    low, high = np.asarray(0, F32), np.asarray(1, F32)
    assert matches(looking, lambda x: op("Clip", x, low), x="8") is not None
    assert matches(looking, lambda x: op("Clip", x, low, high), x="8") is None
    assert "has 3 operands, not 2" in str(looking.failure)
    assert matches(looking, lambda x: op("Clip", x, None, high), x="8") is None


def test_results_of_a_node_are_not_exchanged(matches, op):
    def pattern(x):
        first, second = F.split(x, (4, 4), -1)
        return F.sqrt(first) - F.exp(second)

    def forward(x, order):
        halves = op("Split", x, axis=-1, num_outputs=2, outputs=2)
        return F.sqrt(halves[order[0]]) - F.exp(halves[order[1]])

    looking = matcher(pattern, {"x": floats("...", 8)})
    assert matches(looking, lambda x: forward(x, (0, 1)), x="batch 8") is not None
    assert matches(looking, lambda x: forward(x, (1, 0)), x="batch 8") is None
    assert "is another result of Split than expected" in str(looking.failure)

    def of_two(x, y):
        split = [op("Split", value, axis=-1, num_outputs=2, outputs=2) for value in (x, y)]
        return F.sqrt(split[0][0]) - F.exp(split[1][1])

    assert matches(looking, of_two, x="batch 8", y="batch 8") is None
    assert "Split 'Split_2'" in str(looking.failure) and "should be Split 'Split'" in str(looking.failure)


def test_bounds_and_axes_that_differ_do_not_match(matches, op):
    looking = matcher(lambda x: F.exp(x[..., :4]), {"x": floats("...", 8)})
    assert matches(looking, lambda x: F.exp(x[:, :4]), x="batch 8") is not None
    assert matches(looking, lambda x: F.exp(x[:, 2:6]), x="batch 8") is None
    assert "holds [2] where [0] is expected" in str(looking.failure)
    assert matches(looking, lambda x, start: F.exp(op("Slice", x, start, np.array([4]), np.array([1]))),
                   x="batch 8", start="int64 1") is None  # fmt: skip


# -- numbers, constants, attributes ------------------------------------------------------------------------------------


def test_an_open_number_is_any_constant_of_one_element(matches):
    looking = matcher(lambda x, *, c: x * c, {"x": X}, {"c": ANY})
    for number in (3.0, np.full((1, 1), 3.0, F32)):
        found = matches(looking, lambda x, number=number: x * number, x="batch 8")
        assert scalar_of(found.values[looking.pattern.numbers["c"]]) == 3.0
    assert matches(looking, lambda x: x * np.arange(8, dtype=F32), x="batch 8") is None
    assert "should be a constant of one element" in str(looking.failure)
    assert matches(looking, lambda x, y: x * y, x="batch 8", y="1") is None


def test_an_open_number_used_twice_is_one_value(matches):
    looking = matcher(lambda x, *, c: F.tanh(x / c) * c, {"x": X}, {"c": ANY})

    def capped(x, first=30.0, second=30.0):
        return F.tanh(F.multiply(x, F.as_tensor(first))) * F.as_tensor(second)

    assert matches(looking, lambda x: capped(x, 2.0, 30.0), x="8") is None


def test_an_attribute_of_a_nested_operator_is_bound(graph_of):
    looking = matcher(lambda x, scale, *, epsilon: layer_norm(x, scale, epsilon=epsilon) + x,
                      {"x": X, "scale": floats("h")}, {"epsilon": ANY})  # fmt: skip
    inner = matcher(layer_norm.__wrapped__, {"x": X, "scale": floats("h")}, {"epsilon": ANY})
    assert [node.key for node in looking.pattern.graph] == ["LayerNormalization", "Add"]
    assert "LayerNormalization" not in [node.key for node in inner.pattern.graph]
    graph = graph_of(lambda x: F.as_tensor(x) + nested(x, 0.25), x="batch 8")
    found = looking.match(graph.outputs["output"].producer)
    assert found.attributes == {"epsilon": 0.25}
    default = graph_of(lambda x: nested(x, 1e-5) + x, x="batch 8")
    assert looking.match(default.outputs["output"].producer).attributes == {"epsilon": 1e-5}


def nested(x, epsilon):
    operands = (x, F.as_tensor(np.ones(8, F32)))
    return F.current_trace().emit("LayerNormalization", operands, {"epsilon": epsilon})[0]


def test_attributes_that_differ_do_not_match(matches, op):
    looking = matcher(lambda x: F.exp(gelu(x, approximate="tanh")), {"x": X})
    assert matches(looking, lambda x: F.exp(op("Gelu", x, approximate="tanh")), x="8") is not None
    assert matches(looking, lambda x: F.exp(op("Gelu", x)), x="8") is None
    assert "has defaults where approximate='tanh' is expected" in str(looking.failure)


def test_constants_match_within_their_precision(matches):
    looking = matcher(lambda x: x * 0.7978845608, {"x": X})
    assert matches(looking, lambda x: x * 0.79788, x="8") is not None
    assert matches(looking, lambda x: x * np.full((1, 1), 0.797885, F32), x="batch 8") is not None
    assert matches(looking, lambda x: x * 0.8, x="8") is None
    assert "should be the constant [0.79788" in str(looking.failure)
    assert matches(looking, lambda x: x * -0.7978845608, x="8") is None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_constants_match_in_the_dtype_of_the_graph(matches, dtype):
    """0.044715 is 0.04471 in float16, and 0.04468 in bfloat16."""
    looking = matcher(lambda x: x * 0.044715, {"x": X})
    assert matches(looking, lambda x: x * 0.044715, x=f"{dtype} 8") is not None
    assert matches(looking, lambda x: x * 0.05, x=f"{dtype} 8") is None


# -- types and sizes ---------------------------------------------------------------------------------------------------


def test_leading_axes_are_any_number_of_axes(matches):
    looking = matcher(lambda x, w: F.exp(x) - w, {"x": X, "w": floats("h")})
    for shape in ("8", "batch 8", "2 batch seq 8"):
        assert matches(looking, lambda x, w: F.exp(x) - w, x=shape, w="8") is not None
    assert matches(looking, lambda x, w: F.exp(x) - w, x="batch 8", w="1 8") is None
    assert "%w has shape [1, 8], and [h] is expected" in str(looking.failure)


def test_sizes_of_one_symbol_are_equal(matches):
    looking = matcher(lambda a, b: F.concat([a, b], -1), {"a": floats("n", "k"), "b": floats("n", "k")})
    found = matches(looking, lambda x, y: F.concat([x, y], -1), x="batch 8", y="batch 8")
    assert found.sizes == {"n": symbol("batch"), "k": 8}
    assert matches(looking, lambda x, y: F.concat([x, y], -1), x="batch 8", y="batch 4") is None


def test_sizes_that_the_graph_proves_equal(graph_of):
    looking = matcher(lambda a, b: F.concat([a, b], -1), {"a": floats("n", "k"), "b": floats("n", "k")})
    graph = graph_of(lambda x, y: F.concat([x, y], -1), x="8 p", y="8 q")
    root = graph.outputs["output"].producer
    assert looking.match(root) is None
    found = looking.match(root, {"q": symbol("p")})
    assert found.sizes == {"n": 8, "k": symbol("p")}


def heads(x, *, num_heads):
    batch, seq, _ = x.shape
    return merge_heads(F.exp(split_heads(x, num_heads)), batch, seq)


def test_a_product_of_symbols_gives_the_one_that_is_missing(matches):
    """The number of heads is only in the target of a reshape."""
    looking = matcher(heads, {"x": floats("b", "s", symbol("n") * symbol("d"))}, {"num_heads": symbol("n")})
    found = matches(looking, lambda x: heads(x, num_heads=3), x="batch seq 24")
    assert (found.sizes["n"], found.sizes["d"]) == (3, 8)
    found = matches(looking, lambda x: heads(x, num_heads=1), x="batch seq 24")
    assert (found.sizes["n"], found.sizes["d"]) == (1, 24)


def test_heads_of_another_arrangement_do_not_match(matches):
    looking = matcher(heads, {"x": floats("b", "s", symbol("n") * symbol("d"))}, {"num_heads": symbol("n")})

    def regrouped(x):  # splits into 3 heads, and merges as if there were 4
        split = F.exp(F.transpose(F.reshape(x, (*x.shape[:2], 3, 8)), (0, 2, 1, 3)))
        return F.reshape(split, (x.shape[0], x.shape[1], 24))

    assert matches(looking, regrouped, x="batch 5 24") is None


def test_dtypes(matches):
    inputs = {"x": floats("v", "h"), "i": TensorSpec(DType.INT64, dims("s"))}
    looking = matcher(lambda x, i: F.gather(x, i) * 2.0, inputs)
    for dtype in ("float32", "float16", "float64"):
        assert matches(looking, lambda x, i: F.gather(x, i) * 2.0, x=f"{dtype} 9 8", i="int64 seq") is not None
    assert matches(looking, lambda x, i: F.gather(x, i) * 2.0, x="9 8", i="int32 seq") is None
    assert "%i is int32, and int64 is expected" in str(looking.failure)
    assert matches(looking, lambda x, i: F.gather(x, i) * 2, x="int64 9 8", i="int64 seq") is None
    mixed = matcher(lambda x: F.exp(x) * 2.0, {"x": X})
    assert matches(mixed, lambda x: F.cast(F.exp(x), "float32") * 2.0, x="float16 8") is None


def test_inputs_that_broadcast_have_any_shape(matches):
    mask = floats(1, 1, "s", "t")
    inputs = {"x": floats("b", "n", "s", "t"), "mask": mask}
    looking = matcher(lambda x, mask: F.softmax(x + mask), inputs, broadcast=frozenset({"mask"}))
    strict = matcher(lambda x, mask: F.softmax(x + mask), inputs)
    for shape in ("1 1 seq keys", "batch 1 1 keys", "keys", "seq 1", ""):
        specs = {"x": "batch 4 seq keys", "mask": shape}
        assert matches(looking, lambda x, mask: F.softmax(F.exp(x) + mask), **specs) is not None
        assert (matches(strict, lambda x, mask: F.softmax(F.exp(x) + mask), **specs) is None) == (
            shape != "1 1 seq keys"
        )


# -- what a match covers -----------------------------------------------------------------------------------------------


def test_a_value_inside_that_is_read_elsewhere_blocks(matches):
    looking = matcher(lambda x: F.sqrt(F.exp(x) + 1.0), {"x": X})

    def shared(x):
        inner = F.exp(x)
        return F.sqrt(inner + 1.0), F.sin(inner)

    assert matches(looking, shared, x="8") is None
    assert "%Exp, inside it, is also read by Sin 'Sin'" in str(looking.failure)

    def returned(x):
        inner = F.exp(x)
        return F.sqrt(inner + 1.0), inner

    assert matches(looking, returned, x="8") is None
    assert "%Exp, inside it, is an output of the graph" in str(looking.failure)
    assert matches(looking, lambda x: (F.sqrt(F.exp(x) + 1.0), F.exp(x)), x="8") is not None


def test_what_comes_from_shared_inputs_may_be_read_elsewhere(matches):
    def pattern(x, angle):
        return x * F.cos(angle)

    def forward(x, angle):
        cosine = F.cos(angle)
        return F.exp(x) * cosine, F.sin(cosine)

    inputs = {"x": X, "angle": X}
    assert matches(matcher(pattern, inputs, shared=frozenset({"angle"})), forward, x="8", angle="8") is not None
    assert matches(matcher(pattern, inputs), forward, x="8", angle="8") is None


def test_several_results(matches):
    def pattern(x):
        total = F.exp(x)
        return F.sqrt(total), total

    def forward(x):
        total = F.exp(x)
        return F.sqrt(total), F.sin(total)

    looking = matcher(pattern, {"x": X}, results=(0, 1))
    found = matches(looking, forward, x="8")
    assert [found.values[value].name for value in looking.pattern.outputs] == ["Sqrt", "Exp"]


def test_results_of_one_node(matches, op):
    """Nothing leads to the second result of the split but the node itself."""

    def pattern(x):
        first, second = F.split(x, (4, 4), -1)
        return F.sqrt(first), second

    def forward(x):
        first, second = op("Split", x, axis=-1, num_outputs=2, outputs=2)
        return F.sqrt(first), F.sin(second)

    looking = matcher(pattern, {"x": floats("...", 8)}, results=(0, 1))
    found = matches(looking, forward, x="batch 8")
    split = found.nodes[looking.pattern.outputs[1].producer]
    assert found.values[looking.pattern.outputs[1]] is split.outputs[1]


def test_a_result_that_is_not_above_the_first_has_no_counterpart(matches):
    looking = matcher(lambda x: (F.sqrt(x), F.exp(x)), {"x": X}, results=(0, 1))
    assert matches(looking, lambda x: (F.sqrt(x), F.exp(x)), x="8") is None
    assert str(looking.failure) == "one of the results has no counterpart"


# -- failures ----------------------------------------------------------------------------------------------------------


def test_the_reason_is_that_of_the_furthest_attempt(matches):
    """In one order of the sum one node fits, in the other three: the second says what is really wrong."""
    looking = matcher(lambda x: F.exp(x) + F.sqrt(F.sin(F.cos(x))), {"x": X})
    assert matches(looking, lambda x: F.sqrt(F.sin(F.tanh(x))) + F.exp(x), x="8") is None
    line = test_the_reason_is_that_of_the_furthest_attempt.__code__.co_firstlineno + 3
    assert str(looking.failure) == f"Tanh 'Tanh' (passes/test_match.py:{line}) where Cos is expected"
    assert looking.failure.matched == 3
    assert [node.key for node in looking.failure.touched] == ["Add", "Sqrt", "Sin", "Tanh"]


def test_a_failure_is_of_the_last_attempt_alone(matches):
    looking = matcher(lambda x: F.sqrt(F.exp(x)), {"x": X})
    assert matches(looking, lambda x: F.sqrt(F.sin(x)), x="8") is None
    assert looking.failure is not None
    assert matches(looking, lambda x: F.sqrt(F.exp(x)), x="8") is not None
    assert looking.failure is None
    assert matches(looking, lambda x: F.sqrt(x), x="8") is None
    assert str(looking.failure) == "%x is an input of the graph, and Exp is expected"
