"""The signatures of all composite operators against the operator schemas of onnx and of ONNX Runtime."""

from __future__ import annotations

from functools import cache
from typing import Any

import onnx
import onnxruntime.capi.onnxruntime_pybind11_state as onnxruntime_state
import pytest

import tfgraph.dsl.functions  # noqa: F401  (fills the table)
from tfgraph.ir.optable import REQUIRED, OpSpec, all_specs

COMPOSITES = [spec for spec in all_specs() if spec.body is not None and spec.domain != "tfgraph"]
ONLY_IN_ONNX_RUNTIME = {"SimplifiedLayerNormalization"}  # it has this in ONNX's own domain


@cache
def runtime_schemas() -> dict[tuple[str, str], Any]:
    schemas: dict[tuple[str, str], Any] = {}
    for schema in onnxruntime_state.get_all_operator_schema():
        key = schema.domain, schema.name
        if key not in schemas or schema.since_version <= schemas[key].since_version:
            schemas[key] = schema
    return schemas


def schema_of(spec: OpSpec) -> Any:
    if spec.domain == "" and spec.name not in ONLY_IN_ONNX_RUNTIME:
        return onnx.defs.get_schema(spec.name, spec.since, "")
    return runtime_schemas()[spec.domain, spec.name]


def default_of(attribute: Any) -> Any:
    """The default in a schema; an attribute without one is None."""
    if attribute.required:
        return REQUIRED
    stored = attribute._default_value if hasattr(attribute, "_default_value") else attribute.default_value
    if isinstance(stored, bytes):
        stored = onnx.AttributeProto.FromString(stored)
    if not stored.ByteSize():
        return None
    value = onnx.helper.get_attribute_value(stored)
    return value.decode() if isinstance(value, bytes) else value


# Left to the kernel by its schema; what ONNX and ONNX Runtime document as their meaning.
UNSTATED_DEFAULTS = {
    ("Attention", "kv_num_heads"): 0,
    ("Attention", "q_num_heads"): 0,
    ("RotaryEmbedding", "num_heads"): 0,
    ("com.microsoft::MultiHeadAttention", "mask_filter_value"): -10000.0,
    ("com.microsoft::Attention", "mask_filter_value"): -10000.0,
    ("com.microsoft::GroupQueryAttention", "do_rotary"): 0,
    ("com.microsoft::GroupQueryAttention", "rotary_interleaved"): 0,
    ("com.microsoft::GroupQueryAttention", "softcap"): 0.0,
    ("com.microsoft::GroupQueryAttention", "local_window_size"): -1,
}


def test_there_are_composites() -> None:
    assert {"LayerNormalization", "Attention", "com.microsoft::BiasGelu"} <= {spec.key for spec in COMPOSITES}


@pytest.mark.parametrize("spec", COMPOSITES, ids=lambda spec: spec.key)
def test_inputs_and_outputs_are_those_of_the_schema(spec: OpSpec) -> None:
    schema = schema_of(spec)
    theirs = list(schema.inputs)[: len(spec.inputs)]
    assert [parameter.name.lower() for parameter in spec.inputs] == _lower(theirs, spec)
    optional = [formal.option.name.lower() == "optional" for formal in theirs]
    assert [parameter.optional for parameter in spec.inputs] == _promoted(spec, optional)
    assert list(spec.outputs) == [formal.name for formal in schema.outputs][: len(spec.outputs)]
    missing = list(schema.inputs)[len(spec.inputs) :]
    assert all(formal.option.name.lower() == "optional" for formal in missing)


def _lower(formals: list[Any], spec: OpSpec) -> list[str]:
    renamed = {"b": "bias"} if spec.key == "LayerNormalization" else {}
    return [renamed.get(formal.name.lower(), formal.name.lower()) for formal in formals]


def _promoted(spec: OpSpec, optional: list[bool]) -> list[bool]:
    """Packed operands of one are not carried, and the other's body says what it needs after operands left out."""
    if spec.key == "com.microsoft::GroupQueryAttention":
        return [optional[0], *[True] * (len(spec.inputs) - 1)]
    return [False] * 3 + optional[3:] if spec.key == "com.microsoft::MultiHeadAttention" else optional


@pytest.mark.parametrize("spec", COMPOSITES, ids=lambda spec: spec.key)
def test_attributes_and_defaults_are_those_of_the_schema(spec: OpSpec) -> None:
    attributes = schema_of(spec).attributes
    assert set(spec.attributes) <= set(attributes)
    for name, ours in spec.attributes.items():
        theirs = UNSTATED_DEFAULTS.get((spec.key, name), default_of(attributes[name]))
        assert ours == (pytest.approx(theirs, rel=1e-6) if isinstance(ours, float) else theirs), name


@pytest.mark.parametrize("spec", [spec for spec in COMPOSITES if not spec.domain], ids=lambda spec: spec.key)
def test_since_is_the_first_opset_that_has_this_form(spec: OpSpec) -> None:
    assert schema_of(spec).since_version == spec.since
