"""Precisions that depend on the machine: what is tried, what is chosen, what falls back, and what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph as tg
from tfgraph import nn
from tfgraph.automatic import fastest, shapes_for
from tfgraph.backends.openvino import availability
from tfgraph.errors import BudgetError, ConfigError, InputError, TargetError
from tfgraph.quantization.budget import Budget
from tfgraph.ways import BFLOAT16, PLAIN, Way

SIZES = [{"batch": 2, "seq": 8}]
RNG = np.random.default_rng(0)
CASES = [{"x": RNG.standard_normal((2, 8, 64)).astype(np.float32)} for _ in range(4)]


@pytest.fixture(scope="module")
def block() -> nn.EncoderBlock:
    made = nn.EncoderBlock(64, 4, 128, norm="post")
    made.init_weights()
    return made


INPUTS = {"x": tg.spec("float32", ["batch", "seq", 64])}


def compiled(block: nn.EncoderBlock, **options: Any) -> Any:
    return tg.compile(block, inputs=INPUTS, **options)


@pytest.fixture
def without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> str:
    reason = "this processor has no bfloat16 instructions"
    monkeypatch.setattr(availability, "why_unusable", lambda precision="fp32": reason if precision == "bf16" else None)
    return reason


def test_the_choice_is_the_fastest_way_within_the_budget(block: nn.EncoderBlock) -> None:
    model = compiled(block, precision="auto", budget="relative<=0.05", calibration=CASES, shapes=SIZES)
    timed = {trial.way: trial.milliseconds["batch=2, seq=8"] for trial in model.choice.trials if not trial.reason}
    assert PLAIN in timed
    assert model.choice.way == min(timed, key=lambda way: timed[way])
    assert (model.target.name, model.precision) == (model.choice.way.target, model.choice.way.precision)
    exact = compiled(block).run(CASES[0])
    for name, array in model.run(CASES[0]).items():
        assert np.linalg.norm(array - exact[name]) <= 0.05 * np.linalg.norm(exact[name])


def test_what_exceeds_the_budget_is_left_out(block: nn.EncoderBlock) -> None:
    model = compiled(block, precision="auto", budget="relative<=0.0000005", calibration=CASES, shapes=SIZES)
    reasons = {trial.way: trial.reason for trial in model.choice.trials}
    if availability.why_unusable("bf16") is None:
        assert "beyond the budget" in reasons[BFLOAT16]
    assert reasons[PLAIN] == ""
    assert "chosen: " in str(model.choice)


def test_a_way_that_does_not_work_here_says_why(block: nn.EncoderBlock, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = compiled(block)

    def compile_for(way: Way) -> Any:
        if way == BFLOAT16:
            raise TargetError("no such instructions")
        return plain

    found, choice = fastest([PLAIN, BFLOAT16], compile_for, SIZES, Budget("relative", 0.1), CASES)
    assert found is plain
    assert [trial.reason for trial in choice.trials] == ["", "no such instructions"]
    assert choice.as_dict()["trials"][1]["milliseconds"] == {}


@pytest.mark.parametrize("missing", ["budget", "calibration"])
def test_a_choice_needs_a_budget_and_calibration(block: nn.EncoderBlock, missing: str) -> None:
    options = {"budget": "relative<=0.1", "calibration": CASES}
    del options[missing]
    with pytest.raises(ConfigError, match="calibration"):
        compiled(block, precision="auto", **options)


@pytest.mark.parametrize("shapes", [[], [{"batch": 2}], [{"batch": 2, "seq": 0}], [{"batch": 1, "seq": 2, "z": 1}]])
def test_shapes_that_do_not_fit(block: nn.EncoderBlock, shapes: list[dict[str, int]]) -> None:
    with pytest.raises(InputError, match="expected"):
        compiled(block, precision="auto", budget="relative<=0.1", calibration=CASES, shapes=shapes)


def test_shapes_without_a_choice(block: nn.EncoderBlock) -> None:
    with pytest.raises(ConfigError, match="leave them out"):
        compiled(block, shapes=SIZES)


def test_usual_shapes(block: nn.EncoderBlock) -> None:
    graph = compiled(block).graph
    assert list(shapes_for(graph, None)) == [{"batch": 1, "seq": 128}, {"batch": 8, "seq": 128}]


def test_bfloat16_by_openvino(block: nn.EncoderBlock) -> None:
    model = compiled(block, precision="bf16", budget="relative<=0.05", calibration=CASES)
    if availability.why_unusable("bf16") is not None:
        assert (model.target.name, model.precision) == ("cpu", "fp32")
        return
    assert (model.target.name, model.precision) == ("openvino", "bf16")
    (trial,) = model.choice.trials
    assert trial.error is not None and 0 < trial.error <= 0.05


@pytest.mark.skipif(availability.why_unusable("bf16") is not None, reason="the processor has no bfloat16 instructions")
def test_bfloat16_beyond_the_budget(block: nn.EncoderBlock) -> None:
    with pytest.raises(BudgetError, match="in bfloat16 relative is"):
        compiled(block, precision="bf16", budget="relative<=0.0000001", calibration=CASES)


def test_bfloat16_falls_back_and_says_why(block: nn.EncoderBlock, without_bfloat16: str) -> None:
    model = compiled(block, precision="bf16")
    assert (model.target.name, model.precision) == ("cpu", "fp32")
    assert model.choice.trials[0].reason == without_bfloat16


def test_bfloat16_that_was_asked_of_openvino_does_not_fall_back(block: nn.EncoderBlock, without_bfloat16: str) -> None:
    with pytest.raises(TargetError, match=without_bfloat16):
        compiled(block, precision="bf16", target="openvino")


def test_bfloat16_for_another_target(block: nn.EncoderBlock) -> None:
    with pytest.raises(TargetError, match="for the targets cpu and openvino"):
        compiled(block, precision="bf16", target="onnx")


def test_an_export_runs_as_it_was_chosen(block: nn.EncoderBlock, tmp_path: Path) -> None:
    tg.export(
        block, tmp_path / "out", inputs=INPUTS, precision="auto",
        budget="relative<=0.05", calibration=CASES, shapes=SIZES,
    )  # fmt: skip
    model = tg.open(tmp_path / "out", cache=tmp_path / "cache")
    choice = model.manifest.choice
    assert (model.manifest.target, model.manifest.precision) == (choice["target"], choice["precision"])
    assert {trial["target"] for trial in choice["trials"]} == {"cpu", "openvino"}
    exact = compiled(block).run(CASES[0])
    for name, array in model.run(CASES[0]).items():
        assert np.linalg.norm(array - exact[name]) <= 0.05 * np.linalg.norm(exact[name])
    assert any((tmp_path / "cache").iterdir())
