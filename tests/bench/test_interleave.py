"""Timing in turns: who runs when, and what is counted. Nothing here depends on how fast anything is."""

from __future__ import annotations

import gc
import time

import pytest

from tfgraph.bench.interleave import Sample, interleave
from tfgraph.errors import InputError


def log_of(
    rounds: int, warm_up: int = 0, seed: int = 0, names: str = "abc"
) -> tuple[list[str], dict[str, list[Sample]]]:
    """The order in which candidates ran, and their samples."""
    log: list[str] = []
    candidates = {name: lambda name=name: log.append(name) for name in names}
    return log, interleave(candidates, rounds=rounds, warm_up=warm_up, seed=seed)


def test_every_candidate_runs_once_in_every_round():
    log, samples = log_of(rounds=7, warm_up=2)
    rounds = [log[start : start + 3] for start in range(0, len(log), 3)]
    assert len(rounds) == 9
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert {name: len(each) for name, each in samples.items()} == {"a": 7, "b": 7, "c": 7}


def test_turns_say_in_which_order_the_samples_were_taken():
    log, samples = log_of(rounds=5, warm_up=1)
    order = {sample.turn: name for name, each in samples.items() for sample in each}
    assert [order[turn] for turn in range(15)] == log[3:]


def test_the_order_changes_from_round_to_round_and_depends_on_the_seed_alone():
    log, _ = log_of(rounds=20)
    assert len({tuple(log[start : start + 3]) for start in range(0, 60, 3)}) > 3
    assert log == log_of(rounds=20)[0]
    assert log != log_of(rounds=20, seed=1)[0]


def test_no_candidate_always_runs_behind_the_same_other():
    log, _ = log_of(rounds=30)
    before = {log[index - 1] for index in range(1, len(log)) if log[index] == "b"}
    assert {"a", "c"} <= before


def test_samples_hold_the_time_on_the_clock_and_that_of_the_processor():
    samples = interleave({"sleeps": lambda: time.sleep(0.02)}, rounds=2, warm_up=0)["sleeps"]
    assert all(sample.seconds >= 0.02 for sample in samples)
    assert all(0 <= sample.cpu_seconds < sample.seconds for sample in samples)


def test_rounds_are_reported_without_the_warm_up():
    told: list[tuple[int, int]] = []
    interleave({"a": lambda: None}, rounds=3, warm_up=2, on_round=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_garbage_collector_rests_while_samples_are_taken_and_is_back_afterwards():
    seen: list[bool] = []
    interleave({"a": lambda: seen.append(gc.isenabled())}, rounds=1, warm_up=0)
    assert seen == [False]
    assert gc.isenabled()


def test_an_error_of_a_candidate_is_let_through_and_leaves_the_collector_on():
    def fails() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        interleave({"a": fails}, rounds=1)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("names", "rounds", "warm_up", "message"),
    [
        ("", 1, 0, "there is nothing to time: expected at least one candidate"),
        ("a", 0, 0, "cannot time 0 rounds after 0 of warm-up: expected at least 1 after at least 0"),
        ("a", 1, -1, "cannot time 1 rounds after -1 of warm-up"),
    ],
)
def test_what_cannot_be_timed_is_refused(names, rounds, warm_up, message):
    with pytest.raises(InputError, match=message):
        log_of(rounds=rounds, warm_up=warm_up, names=names)
