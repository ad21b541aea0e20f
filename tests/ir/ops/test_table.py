"""Every row of the table against ONNX's own schema, and that every row has cases that run it."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest

from tfgraph.ir import ops
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.optable import OPSET, REQUIRED, OpSpec, all_specs

PRIMITIVES = [spec for spec in all_specs() if spec.reference is not None and not spec.domain]

OWN_ATTRIBUTES = {("ConstantOfShape", "value"), ("ConstantOfShape", "dtype")}  # a tensor in ONNX, two numbers here
LEFT_OUT = {("Cast", "round_mode"), ("CastLike", "round_mode")}  # only for float8e8m0, which is no DType
LEFT_OUT_OUTPUTS = {"BatchNormalization": 2}  # the running statistics, which only training has

# Attributes that came after the form did, with a default that means what was before.
CAME_LATER = {
    "AveragePool": {"dilations"},
    "Cast": {"saturate"},
    "CastLike": {"saturate"},
    "DequantizeLinear": {"block_size", "output_dtype"},
    "QuantizeLinear": {"block_size", "output_dtype", "precision", "saturate"},
    "ScatterElements": {"reduction"},
    "ScatterND": {"reduction"},
}

# The form before has the same signature, and another meaning.
NEW_MEANING = {
    "AveragePool": "ceil_mode since 10; 11 changed what auto_pad gives by default",
    "BatchNormalization": "the running statistics changed their meaning",
    "Clip": "integers",
    "Compress": "negative axes",
    "Concat": "axis has no default",
    "Conv": "a default for strides and dilations",
    "ConvTranspose": "a default for strides and dilations",
    "Equal": "floats",
    "Gather": "negative indices",
    "Hardmax": "one axis, not all from it on",
    "LogSoftmax": "one axis, not all from it on",
    "Max": "integers, broadcasting",
    "MaxPool": "int8",
    "Mean": "broadcasting",
    "Min": "integers, broadcasting",
    "OneHot": "negative indices",
    "PRelu": "broadcasting",
    "Pow": "two dtypes",
    "Softmax": "one axis, not all from it on",
    "Sum": "broadcasting",
    "Less": "integers",
    "Greater": "integers",
    "Cast": "text",
}


def schema_of(spec: OpSpec, opset: int = OPSET) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(spec.name, opset)


@pytest.fixture(params=PRIMITIVES, ids=lambda spec: spec.key)
def spec(request) -> OpSpec:
    return request.param


def option(formal) -> tuple[str, bool, bool]:
    kind = onnx.defs.OpSchema.FormalParameterOption
    return formal.name, formal.option == kind.Optional, formal.option == kind.Variadic


def test_operands_and_results_are_those_of_onnx(spec):
    schema = schema_of(spec)
    assert [(p.name, p.optional, p.variadic) for p in spec.inputs] == [option(formal) for formal in schema.inputs]
    names = [formal.name for formal in schema.outputs]
    assert list(spec.outputs) == names[: len(names) - LEFT_OUT_OUTPUTS.get(spec.name, 0)]


def test_attributes_and_defaults_are_those_of_onnx(spec):
    schema = schema_of(spec)
    ours = {name for name in spec.attributes if (spec.name, name) not in OWN_ATTRIBUTES}
    theirs = {name for name in schema.attributes if (spec.name, name) not in LEFT_OUT | OWN_ATTRIBUTES}
    assert ours == theirs
    for name in ours:
        attribute = schema.attributes[name]
        default = spec.attributes[name]
        if attribute.required:
            assert default is REQUIRED
        elif name in ("output_dtype", "precision") or not attribute.default_value.name:
            assert default is None  # a dtype of 0 in ONNX means that none is given
        else:
            wanted = onnx.helper.get_attribute_value(attribute.default_value)
            wanted = wanted.decode() if isinstance(wanted, bytes) else wanted
            if isinstance(wanted, float):
                assert isinstance(default, float)
                assert np.float32(default) == np.float32(wanted)
            else:
                assert default == wanted


def test_dtypes_are_those_of_onnx(spec):
    schema = schema_of(spec)
    constraints = {
        constraint.type_param_str: {known_dtype(text) for text in constraint.allowed_type_strs} - {None}
        for constraint in schema.type_constraints
    }
    limits = spec.limits
    for parameter, formal in zip(spec.inputs, schema.inputs, strict=True):
        allowed = constraints.get(formal.type_str) or {known_dtype(formal.type_str)}
        if parameter.type[:1].isupper():
            limit = limits.get(parameter.type)
            if limit is not None:
                assert set(limit) == allowed, parameter.name
            else:
                newer = {dtype for dtype in DType if dtype.since > OPSET}
                assert allowed == set(DType) - newer, f"{parameter.name} takes few dtypes: limit it"
        else:
            assert allowed == {as_dtype(parameter.type)}, parameter.name


def known_dtype(text: str) -> DType | None:
    """`tensor(float16)` as a DType; None for what the IR has no type for."""
    names = {"float": "float32", "double": "float64"}
    inner = text.removeprefix("tensor(").removesuffix(")")
    inner = names.get(inner, inner).replace("float8e", "float8_e")
    return DType(inner) if text.startswith("tensor(") and inner in {dtype.value for dtype in DType} else None


def test_since_is_the_first_opset_with_this_form(spec):
    then = schema_of(spec, spec.since)
    assert then.since_version == spec.since, "no version of the operator begins there"
    assert form(then) <= form(schema_of(spec)) | {("input", *option(formal)) for formal in then.inputs}
    missing = set(spec.attributes) - set(then.attributes) - {name for key, name in OWN_ATTRIBUTES if key == spec.name}
    assert missing == CAME_LATER.get(spec.name, set())
    assert [option(formal)[1:] for formal in then.inputs] == [option(formal)[1:] for formal in schema_of(spec).inputs]
    if spec.since == 1:
        return
    before = schema_of(spec, spec.since - 1) if has_schema(spec.name, spec.since - 1) else None
    changed = before is None or form(before) != form(then)
    assert changed or spec.name in NEW_MEANING, f"version {before.since_version} has the same form"


def form(schema: onnx.defs.OpSchema) -> set[tuple[object, ...]]:
    inputs = {("input", *option(formal)) for formal in schema.inputs}
    return inputs | {("attribute", name) for name in schema.attributes}


def has_schema(name: str, opset: int) -> bool:
    try:
        onnx.defs.get_schema(name, opset)
    except onnx.defs.SchemaError:
        return False
    return True


def test_every_row_has_cases():
    tests = Path(__file__).parent.glob("test_*.py")
    covered = {case[0] for path in tests for case in runpy.run_path(str(path)).get("CASES", ())}
    assert covered == {spec.name for spec in PRIMITIVES}


def test_every_module_is_named_in_the_package():
    folder = Path(ops.__file__).parent
    registering = {path.stem for path in folder.glob("*.py") if "\nprimitive(" in path.read_text()}
    assert registering | {"unary", "reduce"} <= set(ops.__all__)
