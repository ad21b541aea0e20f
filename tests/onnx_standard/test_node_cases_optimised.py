"""The node cases of the ONNX standard, and the models it keeps in files, through import, all passes and export."""

from __future__ import annotations

import warnings
from typing import Any

import onnx
import pytest

from tests.onnx_standard.case_runs import NOT_RUN, count

LEAST = 1440  # of the 1,884 cases of ONNX 1.23; ONNX Runtime 1.31 does not load or run 372 of them itself
SAMPLE = 40  # every so many of them runs in the tests that are not slow
STORED = {"simple": 17, "pytorch-converted": 59, "pytorch-operator": 24}  # those that ONNX Runtime runs


def load(kind: str) -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(load_model_tests(kind=kind))


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    return load("node")


def test_a_sample_of_the_node_cases_survives_all_passes(cases):
    assert count(cases[::SAMPLE])["equal"] >= LEAST // SAMPLE


@pytest.mark.slow
def test_every_node_case_survives_all_passes(cases, capsys):
    counts = count(cases)
    with capsys.disabled():
        print(f"\nnode cases of ONNX {onnx.__version__} after all passes: {dict(counts)}, of {len(cases)}")
    assert counts["equal"] >= LEAST
    assert counts["equal"] + counts["random"] + counts[NOT_RUN] == len(cases)


@pytest.mark.slow
@pytest.mark.parametrize("kind", STORED)
def test_stored_models_survive_all_passes(kind, capsys):
    counts = count(load(kind))
    with capsys.disabled():
        print(f"\n{kind} models of ONNX {onnx.__version__} after all passes: {dict(counts)}")
    assert counts["equal"] >= STORED[kind]
