"""Time and memory over sizes, on models so small that the numbers mean nothing: what is measured, and where."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from tfgraph.bench import scale
from tfgraph.bench.checkpoint import write_bert_checkpoint
from tfgraph.bench.decoder import DecoderSize
from tfgraph.bench.scale import Measurement, ScaleReport, Settings, measure_scale
from tfgraph.errors import InputError, TFGraphError

SMALL = DecoderSize(1, 16, 2, 32, 50, 64)


@pytest.fixture(scope="module")
def report(tiny):
    """One run of it all."""
    return measure_scale(Settings(checkpoint=tiny, decoder=SMALL, layers=(1, 3), repeats=1))


def test_every_phase_of_every_measurement_is_there(report):
    assert report.export.phases == ["load", "trace", "passes", "write"]
    assert list(report.decoders) == [1, 3]
    for measured in report.decoders.values():
        assert measured.phases == ["declare", "trace", "passes", "lower"]
        assert sum(measured.phase(name) for name in measured.phases) == pytest.approx(measured.median("seconds"))


def test_decoders_have_their_layers_and_are_fused(report):
    for layers, measured in report.decoders.items():
        assert measured.runs[0]["fused"]["Attention"] == layers
        assert measured.runs[0]["layers"] == layers
    one, three = (measured.median("parameters") for measured in report.decoders.values())
    attention, mlp, norms = 4 * (16 * 16 + 16), 2 * 16 * 32 + 32 + 16, 2 * 2 * 16
    assert three - one == 2 * (attention + mlp + norms)


def test_the_export_is_fused_and_compared_with_copying_its_own_weights(report):
    run = report.export.runs[0]
    assert run["fused"]["Attention"] == 2
    assert run["bytes"] > 4 * 60 * 32
    assert run["copy_seconds"] == min(run["copies"])
    assert report.export.beyond_copying == [run["seconds"] - run["copy_seconds"]]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_what_the_work_takes_and_not_what_the_interpreter_has(report):
    for measured in (report.export, *report.decoders.values()):
        assert 0 < measured.memory < 80_000_000


def test_the_report_is_json(report):
    described = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert described["benchmark"] == "scale"
    assert [run["layers"] for run in described["decoder"]["runs"]] == [1, 3]


def test_the_measurements_take_turns_and_progress_counts_them(tiny, monkeypatch):
    told, measured = [], []
    monkeypatch.setattr(scale, "measure_alone", lambda *arguments: measured.append(arguments[0]) or run_of(1.0))
    settings = Settings(checkpoint=tiny, decoder=SMALL, layers=(1,), repeats=2)
    report = measure_scale(settings, on_progress=lambda activity, done, of: told.append((activity, done, of)))
    assert [done for _, done, _ in told] == [0, 0, 1, 2, 3, 4]
    assert {of for *_, of in told} == {4}
    assert measured == [scale.EXPORT, scale.DECODER, scale.EXPORT, scale.DECODER]
    assert len(report.export.runs) == len(report.decoders[1].runs) == 2


def test_the_work_imports_nothing_that_was_not_imported_before_the_clock_started(tiny, tmp_path):
    write_bert_checkpoint(tmp_path, tiny)
    code = f"""
import sys
from tfgraph.bench import scale_worker as worker
worker._import_all()
before = set(sys.modules)
worker.measure_export({str(tmp_path)!r}, {str(tmp_path)!r})
worker.measure_decoder({json.dumps(asdict(SMALL))!r})
tops = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(sorted(tops & {{"onnx", "onnx_ir", "numpy", "tfgraph", "google", "networkx", "ml_dtypes", "torch"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_measurement_that_fails_says_why(tmp_path):
    with pytest.raises(TFGraphError, match=r"measuring 'export' ended with exit code 1: .*model\.safetensors"):
        scale.measure_alone(scale.EXPORT, str(tmp_path), str(tmp_path))


def run_of(seconds, memory=1, copy=0.0):
    """What a worker would report."""
    return {"seconds": seconds, "memory": memory, "copy_seconds": copy, "phases": {}}


def report_of(export, decoders):
    """A report of the runs given."""
    measured = {layers: Measurement(runs) for layers, runs in decoders.items()}
    return ScaleReport(Settings(), {}, None, Measurement(export), measured)


def test_limits_hold_for_the_medians_and_for_the_largest_decoder():
    kept = report_of(
        [run_of(2.0, copy=1.0), run_of(1.9, copy=1.0), run_of(9.0, copy=1.0)], {96: [run_of(4.9)], 12: [run_of(50.0)]}
    )
    assert kept.exceeded() == []


def test_limits_that_are_exceeded_are_named_with_both_numbers():
    broken = report_of([run_of(3.0, memory=500_000_000, copy=1.0)], {96: [run_of(6.0, memory=600_000_000)]})
    assert broken.exceeded() == [
        "seconds of the export beyond copying: 2, and the limit is 1.5",
        "bytes of memory of the export: 5e+08, and the limit is 4e+08",
        "seconds of the largest decoder: 6, and the limit is 5",
        "bytes of memory of the largest decoder: 6e+08, and the limit is 5e+08",
    ]


def test_memory_that_nobody_knows_is_none_and_exceeds_nothing():
    unknown = report_of([run_of(1.0, memory=None)], {96: [run_of(1.0, memory=None)]})
    assert unknown.export.memory is None
    assert unknown.exceeded() == []


@pytest.mark.parametrize("settings", [{"repeats": 0}, {"layers": ()}, {"layers": (12, 0)}])
def test_what_cannot_be_measured_is_refused_at_once(settings):
    with pytest.raises(InputError, match="expected 1 or more of each"):
        Settings(**settings)
