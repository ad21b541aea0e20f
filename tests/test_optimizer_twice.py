"""Optimising twice equals once, and the same file gives the same bytes: random Transformers, for every target."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tfgraph as tg
from tests.passes.test_random_transformers import ARGUMENTS, Model
from tfgraph.dsl.trace import trace
from tfgraph.targets import target_names

GIVEN = {**{name: ARGUMENTS[name] for name in ("choices", "mask", "past")}, "target": st.sampled_from(target_names())}
SETTINGS = settings(
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def check(choices, mask, past, target):
    model = Model(choices, mask, past)
    graph = trace(model, name="model", **model.specs())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, once, again, twice = (folder / f"{part}.onnx" for part in ("source", "once", "again", "twice"))
        tg.compile(graph, target="onnx", fuse=False).save(source)
        for first, second in ((source, once), (source, again), (once, twice)):
            tg.optimize_onnx(first, second, target, verify=False)
        assert again.read_bytes() == once.read_bytes()
        assert twice.read_bytes() == once.read_bytes()


@given(**GIVEN)
@settings(SETTINGS, max_examples=10)
def test_twice_is_once(choices, mask, past, target):
    check(choices, mask, past, target)


@pytest.mark.slow
@given(**GIVEN)
@settings(SETTINGS, max_examples=100)
def test_twice_is_once_in_many_cases(choices, mask, past, target):
    check(choices, mask, past, target)
