"""The table of candidates: every line names a module with the two functions, and a choice of lines is checked."""

from __future__ import annotations

import inspect

import pytest

from tfgraph.bench.peers.interface import DECODE, ENCODER, TEXTS
from tfgraph.bench.peers.table import TABLE, candidates_for
from tfgraph.errors import ConfigError


@pytest.mark.parametrize("candidate", TABLE, ids=lambda candidate: f"{candidate.module}-{candidate.slug}")
def test_every_module_converts_and_loads_without_its_library(candidate):
    peer = candidate.peer()
    for name in ("convert", "load"):
        assert list(inspect.signature(getattr(peer, name)).parameters) == ["job"]


@pytest.mark.parametrize("work", [ENCODER, DECODE, TEXTS])
def test_titles_and_folders_of_a_benchmark_are_all_different_and_ours_come_first(work):
    candidates = candidates_for(work)
    assert len({candidate.title for candidate in candidates}) == len(candidates)
    assert len({candidate.slug for candidate in candidates}) == len(candidates)
    ours = [candidate.is_ours for candidate in candidates]
    assert ours == sorted(ours, reverse=True)
    assert {candidate.width for candidate in candidates} <= {"fp32", "bf16", "int8", "int4", "auto"}


def test_candidates_are_chosen_by_the_beginning_of_their_title():
    chosen = [candidate.title for candidate in candidates_for(ENCODER, ["onnx runtime", "tfgraph fp32"])]
    expected = ["ONNX Runtime fp32", "ONNX Runtime fp32, optimised", "ONNX Runtime int8, dynamic"]
    assert chosen == ["tfgraph fp32", *expected]


def test_a_name_that_nobody_has_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="unknown candidate 'tfgraph fp23': did you mean 'tfgraph fp32'"):
        candidates_for(ENCODER, ["tfgraph fp23"])
