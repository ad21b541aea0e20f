"""The encoder's benchmark, whole, on a model so small that its times mean nothing: who takes part, and who is right."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import pytest

from tfgraph.bench.encoder import (
    ORT_OPTIMISER,
    OURS,
    TORCH,
    TORCH_EXPORT,
    EncoderReport,
    Measured,
    Settings,
    ShapeResult,
    measure_encoder,
)
from tfgraph.bench.interleave import Sample
from tfgraph.bench.shapes import PADDINGS, BatchShape
from tfgraph.bench.timings import Ratio, Timings
from tfgraph.errors import InputError

SHAPES = (BatchShape(1, 8), BatchShape(3, 5))


@pytest.fixture(scope="module")
def report(tiny):
    """One run of it all."""
    return measure_encoder(Settings(shapes=SHAPES, config=tiny, rounds=5, threads=1, with_torch=True))


@pytest.mark.parametrize("index", [0, 1])
def test_all_candidates_take_part_and_those_that_keep_the_mask_agree_with_torch(report, index):
    result = report.results[index]
    assert result.shape == SHAPES[index]
    assert list(result.candidates) == [OURS, TORCH, TORCH_EXPORT, ORT_OPTIMISER]
    for name in (OURS, TORCH, TORCH_EXPORT):
        assert result.candidates[name].is_right, name
    assert result.candidates[ORT_OPTIMISER].error("none", "right") <= 1e-5
    assert report.reference == TORCH
    assert not report.skipped


def test_the_runs_of_all_candidates_are_interleaved(report):
    for result in report.results:
        turns = [sample.turn for each in result.candidates.values() for sample in each.timings.samples]
        assert sorted(turns) == list(range(4 * 5))
        for each in result.candidates.values():
            assert [sample.turn // 4 for sample in each.timings.samples] == list(range(5))


def test_the_ratio_is_to_a_peer_that_was_timed(report):
    for result in report.results:
        assert result.ratio.best in {TORCH, TORCH_EXPORT, ORT_OPTIMISER}
        assert result.ratio.low <= result.ratio.high


def test_the_report_is_json_that_says_all(report, tiny):
    described = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert described["rounds"] == 5
    assert described["threads"] == 1
    assert described["model"]["hidden_size"] == tiny.hidden_size
    assert described["session_config"] == {"session.force_spinning_stop": "1"}
    first = described["results"][0]
    assert first["shape"] == "1x8"
    assert set(first["candidates"][OURS]["errors"]) == set(PADDINGS)
    assert len(first["candidates"][OURS]["samples_ms"]) == 5


def test_progress_and_results_are_told_as_they_come(tiny):
    told, shapes = [], []
    measure_encoder(
        Settings(shapes=SHAPES, config=tiny, rounds=2, threads=1),
        on_progress=lambda activity, done, of: told.append((activity, done, of)),
        on_result=lambda report: shapes.append([str(each.shape) for each in report.results]),
    )
    assert shapes == [["1x8"], ["1x8", "3x5"]]
    assert told[0][0] == "writing random weights"
    assert ("timing 1x8", 2, 2) in told
    assert ("timing 3x5", 1, 2) in told


def test_without_torch_only_ours_is_timed_and_the_line_says_what_to_install(tiny, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    report = measure_encoder(Settings(shapes=SHAPES[:1], config=tiny, rounds=2, threads=1))
    assert list(report.results[0].candidates) == [OURS]
    assert report.results[0].ratio is None
    assert report.results[0].candidates[OURS].is_right
    assert report.reference == "tfgraph, nothing fused"
    assert set(report.skipped) == {TORCH, TORCH_EXPORT, ORT_OPTIMISER}
    assert all('torch is not installed: pip install "tfgraph-onnx[test]"' in line for line in report.skipped.values())
    assert not report.is_at_most(1e9)
    json.dumps(report.as_dict(), allow_nan=False)


def report_with(value: float, error: float = 1e-7) -> EncoderReport:
    """A report of one shape, with the ratio and the error given."""
    timings = Timings.of([Sample(0, 1.0, 1.0)])
    result = ShapeResult(
        BatchShape(1, 8),
        {OURS: Measured(timings, {"none": 0.0, "left": error})},
        Ratio(value, value, value, TORCH, value),
    )
    return EncoderReport(Settings(), 1, {}, None, TORCH, {}, [result])


def test_a_ratio_is_kept_only_if_every_shape_keeps_it_and_the_results_are_right():
    assert report_with(1.0).is_at_most(1.0)
    assert not report_with(1.001).is_at_most(1.0)
    assert not report_with(0.5, error=1e-3).is_at_most(1.0)
    both = replace(report_with(0.9), results=[*report_with(0.9).results, *report_with(1.1).results])
    assert not both.is_at_most(1.0)


def test_an_infinite_error_is_null_in_json():
    described = report_with(1.0, error=float("inf")).as_dict()
    assert described["results"][0]["candidates"][OURS]["errors"] == {"none": 0.0, "left": None}
    assert described["results"][0]["candidates"][OURS]["is_right"] is False


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shapes": ()}, "there are no shapes to measure: expected at least one, such as 1x128"),
        ({"shapes": (BatchShape(1, 513),)}, "the model takes at most 512 tokens, and the shape is 1x513"),
        ({"rounds": 0}, "cannot measure 0 rounds on None threads: expected 1 or more"),
        ({"threads": 0}, "cannot measure 25 rounds on 0 threads: expected 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)
