"""One report of the graphs of a model: counts are added, passes and near misses are told apart."""

from __future__ import annotations

from collections import Counter

from tfgraph.passes.report import NearMiss, PassResult, Report, Stage


def report(fused: int, miss: str) -> Report:
    result = PassResult(Counter({"Attention": fused}), [NearMiss("Attention", miss, "a reason", 1, 2)])
    return Report("cpu", [Stage("fuse", result, 0.5)], 10, 4, Counter({"Attention": fused, "Add": 1}))


def test_counts_are_added() -> None:
    parts = {"encoder": report(2, "here"), "decoder": report(3, "there")}
    whole = Report.of_parts(parts)
    assert (whole.target, whole.nodes_before, whole.nodes_after, whole.seconds) == ("cpu", 20, 8, 1.0)
    assert whole.fused == {"Attention": 5} and whole.operators == {"Attention": 5, "Add": 2}
    assert [stage.name for stage in whole.stages] == ["encoder: fuse", "decoder: fuse"]
    assert [miss.node for miss in whole.near_misses] == ["here", "there"]
    assert parts["encoder"].operators == {"Attention": 2, "Add": 1}, "the parts stay as they were"


def test_of_nothing() -> None:
    assert Report.of_parts({}) == Report("")
