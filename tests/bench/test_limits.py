"""The machine's limits: measured, positive, and in units that can be compared."""

from __future__ import annotations

import importlib.util

from tfgraph.bench.limits import Limits, measure_limits


def test_all_limits_are_measured_and_positive():
    limits = measure_limits(1, rows=8, size=1 << 20)
    for value in (limits.fp32, limits.int8, limits.bf16, limits.bandwidth):
        assert value is not None
        assert 1e6 < value < 1e16


def test_without_torch_there_is_no_figure_for_bfloat16(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    assert measure_limits(1, rows=4, size=1 << 16).bf16 is None


def test_json_has_giga_and_null():
    described = Limits(fp32=2e11, int8=None, bf16=1.5e9, bandwidth=2.7e10).as_dict()
    assert described == {
        "fp32_gflops": 200.0,
        "int8_gops": None,
        "bf16_gflops": 1.5,
        "memory_gb_per_second": 27.0,
    }
