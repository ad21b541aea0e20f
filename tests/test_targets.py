"""Targets by name."""

from __future__ import annotations

import pytest

from tfgraph.errors import TargetError
from tfgraph.targets import get_target, target_names


def test_every_name_leads_to_its_target() -> None:
    assert target_names() == ("cpu", "onnx", "openvino")
    for name in target_names():
        assert get_target(name).name == name


@pytest.mark.parametrize(
    ("name", "hint"), [("CPU", ": did you mean 'cpu'?"), ("onxx", ": did you mean 'onnx'?"), ("tpu9", ".")]
)
def test_an_unknown_target(name: str, hint: str) -> None:
    with pytest.raises(TargetError) as error:
        get_target(name)
    assert str(error.value) == f"there is no target {name!r}{hint} The targets are: cpu, onnx, openvino"


def test_standard_operators_only_means_no_other_domain() -> None:
    import onnx

    target = get_target("onnx")
    assert not target.domains
    for key in target.operators:
        assert onnx.defs.get_schema(key, target.opset, "").since_version <= target.opset


def test_opsets_and_file_versions_belong_together() -> None:
    import onnx

    first_release = {opset: ir for _, ir, opset, *_ in reversed(onnx.helper.VERSION_TABLE)}
    for name in target_names():
        target = get_target(name)
        assert target.ir_version == first_release[target.opset]
