"""Patterns: definitions traced as their variants say, and brought into canonical form."""

from __future__ import annotations

import pytest

from tfgraph.dsl import functional as F
from tfgraph.dsl.functions import gelu, layer_norm, quick_gelu, skip_layer_norm
from tfgraph.errors import GraphError
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.passes import fusions
from tfgraph.passes.canonical import CANONICAL
from tfgraph.passes.pattern import ANY, LEADING, Variant, dims, floats, make_pattern

FUSIONS = [
    fusion
    for given in (getattr(fusions, name) for name in fusions.__all__)
    for fusion in (given if isinstance(given, tuple) else (given,))
]
X, VECTOR = floats("...", "h"), floats("h")


def made(fusion, variant):
    return make_pattern(fusion.key, fusion.definition, variant, CANONICAL)


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: fusion.key)
def test_every_pattern_is_in_canonical_form(fusion):
    """Otherwise it would look for what no canonical graph holds."""
    for variant in fusion.variants:
        pattern = made(fusion, variant)
        assert pattern.size > 0
        assert all(value.producer is not None for value in pattern.outputs)
        assert not CANONICAL.apply(pattern.graph), f"{fusion.key} as {variant}"


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: fusion.key)
def test_no_variant_is_there_twice(fusion):
    texts = [str(made(fusion, variant).graph) for variant in fusion.variants]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: fusion.key)
def test_every_input_and_number_is_read(fusion):
    """A number that nothing reads would never be bound, and the fused operator would get its default."""
    for variant in fusion.variants:
        pattern = made(fusion, variant)
        nested = {name for node in pattern.graph for value in node.attributes.values() if (name := named(value))}
        for name, value in pattern.inputs.items():
            assert value.num_uses, f"{fusion.key} as {variant}: nothing reads {name}"
        for name, value in pattern.numbers.items():
            assert value.num_uses or name in nested, f"{fusion.key} as {variant}: nothing reads {name}"


def named(value):
    return getattr(value, "name", None) if isinstance(value, float) else None


def test_a_pattern_keeps_the_results_asked_for():
    x = floats("b", "s", "h")
    inputs = {"input": x, "skip": x, "gamma": VECTOR}
    one = make_pattern("k", skip_layer_norm, Variant(inputs, {"epsilon": ANY}), CANONICAL)
    two = make_pattern("k", skip_layer_norm, Variant(inputs, {"epsilon": ANY}, (0, 3)), CANONICAL)
    assert [value.producer.key for value in one.outputs] == ["LayerNormalization"]
    assert [value.producer.key for value in two.outputs] == ["LayerNormalization", "Add"]
    assert two.root.key == "LayerNormalization"
    assert [node.key for node in two.graph] == ["Add", "LayerNormalization"]  # composites are one node


def test_open_numbers_are_free_values():
    pattern = make_pattern("LayerNormalization", layer_norm.__wrapped__, norm_variant({"epsilon": ANY}), CANONICAL)
    assert set(pattern.numbers) == {"epsilon"}
    assert [user.key for user in pattern.numbers["epsilon"].users] == ["Add"]
    fixed = make_pattern("LayerNormalization", layer_norm.__wrapped__, norm_variant({"epsilon": 1e-3}), CANONICAL)
    assert not fixed.numbers


def norm_variant(attributes):
    return Variant({"x": X, "scale": VECTOR}, attributes)


def test_what_does_not_depend_on_the_own_inputs_is_shareable():
    def scores(x, mask):
        return F.where(F.unsqueeze(F.equal(mask, 0), (1,)), x, 0.0)

    inputs = {"x": floats("b", "s", "t"), "mask": floats("b", "t")}
    shared = make_pattern("k", scores, Variant(inputs, shared=frozenset({"mask"})), CANONICAL)
    alone = make_pattern("k", scores, Variant(inputs), CANONICAL)

    def keys(pattern):
        return {value.producer.key for value in pattern.shareable if value.producer is not None}

    assert keys(shared) == {"Equal", "Reshape"}
    assert keys(alone) == set()


def test_shapes_of_variants():
    assert dims("...", "h") == (symbol(LEADING), symbol("h"))
    assert dims(1, "2*r", symbol("n") * 3) == (1, 2 * symbol("r"), 3 * symbol("n"))
    assert floats("b").dtype is DType.FLOAT32


def test_an_empty_pattern_is_refused():
    pattern = make_pattern("k", lambda x: x, Variant({"x": X}), CANONICAL)
    with pytest.raises(GraphError, match="the pattern of k is empty"):
        _ = pattern.root


def test_a_definition_calls_others_as_one_node():
    pattern = make_pattern("k", lambda x: gelu(x) + quick_gelu(x, alpha=ANY_ALPHA), Variant({"x": X}), CANONICAL)
    assert [node.key for node in pattern.graph] == ["Gelu", "com.microsoft::QuickGelu", "Add"]


ANY_ALPHA = 1.5
