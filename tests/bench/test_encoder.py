"""The encoder's benchmark, whole, with stand-ins for peers: who takes part, who is right, and what is reported."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tfgraph.bench.accuracy import Cosines
from tfgraph.bench.contest import Contest
from tfgraph.bench.encoder import EncoderReport, Measured, Settings, ShapeResult, measure_encoder
from tfgraph.bench.interleave import Sample
from tfgraph.bench.limits import Limits
from tfgraph.bench.panels import encoder_panels
from tfgraph.bench.peers.table import OURS
from tfgraph.bench.shapes import PADDINGS, BatchShape
from tfgraph.bench.timings import Ratio, Timings
from tfgraph.errors import ConfigError, InputError

SHAPES = (BatchShape(1, 8), BatchShape(3, 5))
LIMITS = Limits(1e11, None, None, 1e10)


@pytest.fixture
def quick_limits(monkeypatch):
    """No measurement of the machine."""
    from tfgraph.bench import encoder

    monkeypatch.setattr(encoder, "measure_limits", lambda _threads: LIMITS)


@pytest.mark.usefixtures("quick_limits")
def test_stubs_take_turns_and_those_that_fail_are_named(tiny, stubs):
    stubs("int8", "absent", "killed")
    told, shapes = [], []
    report = measure_encoder(
        Settings(shapes=SHAPES, config=tiny, rounds=3, threads=1),
        on_progress=lambda activity, done, of: told.append((activity, done, of)),
        on_result=lambda report: shapes.append([str(each.shape) for each in report.results]),
    )
    assert report.reference == "torch fp32"
    assert dict(report.skipped) == {
        "stub absent": "nothing is installed: pip install something",
        "stub killed": "its process ended by signal SIGKILL: nothing was said",
    }
    for result, shape in zip(report.results, SHAPES, strict=True):
        assert result.shape == shape
        assert list(result.candidates) == ["torch fp32", "stub int8"]
        assert result.candidates["torch fp32"].is_right
        assert result.candidates["torch fp32"].cosines.worst == pytest.approx(1.0)
        assert not result.candidates["stub int8"].is_right
        assert result.candidates["stub int8"].cosines.worst < 0.999
        turns = [sample.turn for each in result.candidates.values() for sample in each.timings.samples]
        assert sorted(turns) == list(range(6))
        assert not result.contests
    assert shapes == [["1x8"], ["1x8", "3x5"]]
    assert ("timing 3x5", 3, 3) in told
    described = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert described["limits"]["fp32_gflops"] == 100.0
    assert described["model"]["hidden_size"] == tiny.hidden_size
    assert set(described["results"][0]["candidates"]["stub int8"]["errors"]) == set(PADDINGS)
    assert len(described["results"][0]["candidates"]["stub int8"]["samples_ms"]) == 3
    assert [panel.title for panel in encoder_panels(report)] == [
        f"{shape}: milliseconds, less is better" for shape in SHAPES
    ]


@pytest.mark.usefixtures("quick_limits")
def test_tfgraph_alone_is_compared_with_itself_unfused(tiny):
    report = measure_encoder(
        Settings(shapes=SHAPES[:1], config=tiny, rounds=2, threads=1, only=["tfgraph fp32"]),
        accuracy={"tfgraph fp32": Cosines(1.0, 1.0)},
    )
    assert report.reference == "tfgraph fp32, nothing fused"
    assert list(report.results[0].candidates) == ["tfgraph fp32"]
    assert report.results[0].candidates["tfgraph fp32"].is_right
    assert not report.is_at_most(1e9)
    assert encoder_panels(report)[0].bars[0].note.endswith("worst cosine 1.0000")


@pytest.mark.usefixtures("quick_limits")
def test_where_nobody_can_be_made_the_reason_is_told(tiny, stubs, monkeypatch):
    from tfgraph.bench import encoder

    stubs("absent")
    monkeypatch.setattr(encoder, "candidates_for", lambda *_arguments: [])
    monkeypatch.setattr(encoder, "UNFUSED", "absent")  # which tfgraph has no precision for
    with pytest.raises(InputError, match=r"^there is nothing to time: no precision is called 'absent'"):
        measure_encoder(Settings(shapes=SHAPES[:1], config=tiny, rounds=1, threads=1))


def test_a_name_that_no_candidate_has_is_refused_at_once(tiny):
    with pytest.raises(ConfigError, match="unknown candidate 'tensorflow'"):
        measure_encoder(Settings(config=tiny, shapes=SHAPES, only=["tensorflow"]))


def report_with(value: float, error: float = 1e-7) -> EncoderReport:
    """A report of one shape, with the ratio and the error given."""
    timings = Timings.of([Sample(0, 1.0, 1.0)])
    result = ShapeResult(
        BatchShape(1, 8),
        {f"{OURS} fp32": Measured(timings, {"none": 0.0, "left": error}, Cosines(1.0, 1.0))},
        [Contest("fp32", f"{OURS} fp32", Ratio(value, value, value, "torch fp32", value))],
    )
    return EncoderReport(Settings(), 1, {}, None, LIMITS, "torch fp32", {}, {}, [result])


def test_a_ratio_is_kept_only_if_every_shape_keeps_it_and_the_results_are_right():
    assert report_with(1.0).is_at_most(1.0)
    assert not report_with(1.001).is_at_most(1.0)
    assert not report_with(0.5, error=1e-3).is_at_most(1.0)
    both = replace(report_with(0.9), results=[*report_with(0.9).results, *report_with(1.1).results])
    assert not both.is_at_most(1.0)


def test_an_infinite_error_is_null_in_json():
    described = report_with(1.0, error=float("inf")).as_dict()
    measured = described["results"][0]["candidates"]["tfgraph fp32"]
    assert measured["errors"] == {"none": 0.0, "left": None}
    assert measured["is_right"] is False


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shapes": ()}, "there are no shapes to measure: expected at least one, such as 1x128"),
        ({"shapes": (BatchShape(1, 513),)}, "the model takes at most 512 tokens, and the shape is 1x513"),
        ({"rounds": 0}, "cannot measure 0 rounds on None threads: expected 1 or more"),
        ({"threads": 0}, "cannot measure 15 rounds on 0 threads: expected 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)
