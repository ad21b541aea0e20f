"""The manifest: it says everything back as it was given, and says what is wrong with a damaged one."""

from __future__ import annotations

import json

import pytest

from tfgraph.backends.interface import TensorSpec
from tfgraph.errors import ConfigError
from tfgraph.ir.dim_text import parse_dim
from tfgraph.ir.dtypes import DType
from tfgraph.manifest import MANIFEST_FILE, Manifest, read_manifest

SPEC = TensorSpec("past_key", DType.BFLOAT16, (parse_dim("batch"), 4, parse_dim("past + seq"), None))
MANIFEST = Manifest(
    target="cpu",
    opset=24,
    inputs={"past_key": SPEC},
    outputs={"anything": TensorSpec("anything", DType.FLOAT32, None)},
    report={"fused": {"Attention": 6}, "near_misses": ["größer"]},
    model={"task": "sequence-classification", "model_type": "bert", "max_length": 512, "labels": ["böse", "gut"]},
    files={"model.onnx": 12, "vocab.txt": 3},
)


def test_what_is_written_is_read_back(tmp_path):
    MANIFEST.save(tmp_path)
    assert read_manifest(tmp_path) == MANIFEST
    assert MANIFEST.task == "sequence-classification"
    assert MANIFEST.max_length == 512
    assert MANIFEST.labels == ("böse", "gut")


def test_a_model_without_a_checkpoint(tmp_path):
    bare = Manifest(target="onnx", opset=20, inputs={}, outputs={})
    bare.save(tmp_path)
    assert read_manifest(tmp_path) == bare
    assert (bare.task, bare.max_length, bare.labels) == (None, None, ())


def test_keys_are_sorted_and_text_is_readable(tmp_path):
    MANIFEST.save(tmp_path)
    text = (tmp_path / MANIFEST_FILE).read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert "größer" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, "'target' is None: expected a text"),
        ({"opset": "24"}, "'opset' is '24': expected an integer"),
        ({"opset": True}, "'opset' is True: expected an integer"),
        ({"inputs": {}}, "'inputs' is {}: expected an array"),
        ({"inputs": [3]}, "'inputs' holds 3: expected objects with 'name', 'dtype' and 'shape'"),
        ({"inputs": [{"name": "x", "dtype": "float32", "shape": [1.5]}]}, "has the shape [1.5]"),
        ({"inputs": [{"name": "x", "dtype": "float32", "shape": ["a+"]}]}, "'a+' is not a dimension"),
        ({"outputs": [{"name": "x", "dtype": "float3", "shape": []}]}, "float3"),
        ({"outputs": [{"dtype": "float32", "shape": []}]}, "'name' is missing: expected a text"),
        ({"files": {"../up": 1}}, "'files' gives '../up' the size 1: expected file names with sizes in bytes"),
        ({"files": {"": 1}}, "'files' gives '' the size 1"),
        ({"files": {"a": "1"}}, "'files' gives 'a' the size '1'"),
        ({"model": {"labels": "x"}}, "'model' has 'x' as its 'labels': expected an array"),
        ({"model": {"max_length": 1.5}}, "'model' has 1.5 as its 'max_length': expected an integer"),
        ({"report": []}, "'report' is []: expected an object"),
    ],
)
def test_a_damaged_manifest(tmp_path, change, message):
    (tmp_path / MANIFEST_FILE).write_text(json.dumps({**MANIFEST.as_dict(), **change}))
    with pytest.raises(ConfigError) as caught:
        read_manifest(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / MANIFEST_FILE} is damaged: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith("Export the model again")


def test_a_manifest_of_another_format(tmp_path):
    (tmp_path / MANIFEST_FILE).write_text('{"format": 3, "tfgraph_version": "9.9"}')
    with pytest.raises(
        ConfigError, match=r"has the format 3, .* reads the formats 1 and 2: use the tfgraph .*\(9\.9\)"
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "is not valid JSON"), ("[]", "an object, {...}, was expected")])
def test_a_file_that_is_no_manifest(tmp_path, text, message):
    (tmp_path / MANIFEST_FILE).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_manifest(tmp_path)
    assert message in str(caught.value)
