"""Who wins: the best of ours against the best peer, among those that keep a condition."""

from __future__ import annotations

from tfgraph.bench.contest import at_least, contests, median, of_width
from tfgraph.bench.interleave import Sample
from tfgraph.bench.peers.table import Candidate

TITLES = ("tfgraph fp32", "tfgraph int8", "torch fp32", "OpenVINO int8")
CANDIDATES = {
    title: Candidate(title.partition(" ")[0], title.partition(" ")[2], "stub", frozenset({"encoder"}))
    for title in TITLES
}


def times(**seconds: float) -> dict[str, list[Sample]]:
    """Samples of each candidate, in the order of `TITLES`."""
    return {title: [Sample(i, s, s) for i in range(3)] for title, s in zip(TITLES, seconds.values(), strict=True)}


SAMPLES = times(ours=2.0, ours8=1.0, torch=4.0, openvino=3.0)


def test_only_those_that_keep_the_condition_are_compared():
    [fp32, any_] = contests(CANDIDATES, SAMPLES, {"fp32": of_width("fp32"), "any": lambda _candidate: True})
    assert (fp32.condition, fp32.ours, fp32.ratio.best, fp32.ratio.value) == ("fp32", "tfgraph fp32", "torch fp32", 0.5)
    assert (any_.ours, any_.ratio.best) == ("tfgraph int8", "OpenVINO int8")
    assert any_.as_dict()["value"] == 0.3333


def test_a_figure_that_is_too_low_or_missing_keeps_a_candidate_out():
    cosines = {"tfgraph fp32": 1.0, "tfgraph int8": 0.99, "torch fp32": 0.9995, "OpenVINO int8": None}
    [near] = contests(CANDIDATES, SAMPLES, {"near": at_least(cosines, 0.999)})
    assert (near.ours, near.ratio.best) == ("tfgraph fp32", "torch fp32")


def test_without_one_of_ours_or_a_peer_there_is_no_contest():
    assert contests(CANDIDATES, SAMPLES, {"int4": of_width("int4"), "none": at_least({}, 0.5)}) == []
    ours = {title: samples for title, samples in SAMPLES.items() if title.startswith("tfgraph")}
    assert contests(CANDIDATES, ours, {"fp32": of_width("fp32")}) == []


def test_the_median_is_of_the_seconds():
    assert median([Sample(0, 1.0, 9.0), Sample(1, 5.0, 9.0), Sample(2, 2.0, 9.0)]) == 2.0
