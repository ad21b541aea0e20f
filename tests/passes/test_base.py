"""Pipelines: what passes require and ensure, reports, dumps, checks."""

from __future__ import annotations

from collections import Counter

import pytest

from tfgraph.capabilities import Capabilities
from tfgraph.dsl import functional as F
from tfgraph.errors import ExportError, GraphError, VerificationError
from tfgraph.passes.base import FunctionPass, Pipeline
from tfgraph.passes.pipeline import optimising, unfused
from tfgraph.passes.report import NearMiss, PassResult, Report, Stage
from tfgraph.passes.rewrite import RuleSet

TARGET = Capabilities("test", 24, 12)


def nothing(_graph, _target):
    return PassResult()


def named(name, requires=(), ensures=()):
    return FunctionPass(name, nothing, frozenset(requires), frozenset(ensures))


def test_what_a_pass_requires_must_have_been_ensured():
    Pipeline((named("first", ensures=["canonical"]), named("second", requires=["canonical"])))
    with pytest.raises(GraphError, match="pass 'second' requires canonical: no earlier pass ensures it"):
        Pipeline((named("second", requires=["canonical"]), named("first", ensures=["canonical"])))
    with pytest.raises(GraphError, match="requires fused, legal"):
        Pipeline((named("first", ensures=["canonical"]), named("last", requires=["legal", "canonical", "fused"])))


def test_passes_run_in_order_for_the_target(graph_of):
    seen = []

    def noting(name):
        def run(graph, target):
            seen.append((name, len(graph), target.name))
            return PassResult(Counter({name: 1}))

        return FunctionPass(name, run)

    report = Pipeline((noting("a"), noting("b"))).run(graph_of(F.exp, x="4"), TARGET)
    assert seen == [("a", 1, "test"), ("b", 1, "test")]
    assert [stage.name for stage in report.stages] == ["a", "b"]
    assert report.target == "test"
    assert all(stage.seconds >= 0 for stage in report.stages)
    assert report.seconds == sum(stage.seconds for stage in report.stages)


def test_progress_is_told_before_each_pass(graph_of):
    told = []
    passes = (named("a"), named("b"), named("c"))
    Pipeline(passes).run(graph_of(F.exp, x="4"), TARGET, on_progress=lambda *given: told.append(given))
    assert told == [("a", 0, 3), ("b", 1, 3), ("c", 2, 3)]


DOUBLE_NEGATION = RuleSet()


@DOUBLE_NEGATION.rule("Neg")
def two_negations_are_none(node, _rewriter):
    inner = node.required(0).producer
    return inner.required(0) if inner is not None and inner.key == "Neg" else None


def negate_often(x):
    for _ in range(4):
        x = -x
    return F.exp(x)


def simplify(graph, _target):
    return PassResult(DOUBLE_NEGATION.apply(graph))


def test_the_report_counts(graph_of):
    report = Pipeline((FunctionPass("simplify", simplify), named("rest"))).run(graph_of(negate_often, x="4"), TARGET)
    assert (report.nodes_before, report.nodes_after) == (5, 1)
    assert report.operators == {"Exp": 1}
    assert report.stages[0].result.changes == {"two_negations_are_none": 2}
    assert report.stages[0].result.changed and not report.stages[1].result.changed


def test_the_graph_is_dumped_before_and_after_each_pass(graph_of, tmp_path, monkeypatch):
    monkeypatch.setenv("TFGRAPH_DUMP", str(tmp_path / "dumps"))
    graph = graph_of(negate_often, x="4")
    before = str(graph)
    Pipeline((FunctionPass("simplify", simplify), named("rest"))).run(graph, TARGET)
    names = ["negate_often.00.before.txt", "negate_often.01.simplify.txt", "negate_often.02.rest.txt"]
    assert sorted(path.name for path in (tmp_path / "dumps").iterdir()) == names
    texts = [(tmp_path / "dumps" / name).read_text(encoding="utf-8") for name in names]
    assert texts == [before, str(graph), str(graph)]


def test_a_graph_with_an_odd_name_is_dumped_inside_the_folder(graph_of, tmp_path, monkeypatch):
    monkeypatch.setenv("TFGRAPH_DUMP", str(tmp_path))
    graph = graph_of(F.exp, x="4")
    graph.name = "org/model: a..b"
    Pipeline((named("a"),)).run(graph, TARGET)
    assert len(list(tmp_path.iterdir())) == 2
    assert all(path.is_file() for path in tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(graph_of, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFGRAPH_DUMP", str(tmp_path / "file"))
    with pytest.raises(ExportError, match=r"cannot write .*file.*TFGRAPH_DUMP must name a folder"):
        Pipeline((named("a"),)).run(graph_of(F.exp, x="4"), TARGET)


def test_no_dumps_without_being_asked(graph_of, tmp_path, monkeypatch):
    monkeypatch.delenv("TFGRAPH_DUMP", raising=False)
    monkeypatch.chdir(tmp_path)
    Pipeline((named("a"),)).run(graph_of(F.exp, x="4"), TARGET)
    assert list(tmp_path.iterdir()) == []


def test_checks_run_after_every_pass(graph_of):
    checked = []
    pipeline = Pipeline((FunctionPass("simplify", simplify), named("rest")))
    pipeline.run(graph_of(negate_often, x="4"), TARGET, check=lambda name, graph: checked.append((name, len(graph))))
    assert checked == [("simplify", 1), ("rest", 1)]


def break_the_order(graph, _target):
    first, last = next(iter(graph)), list(graph)[-1]
    graph._unlink(first)
    graph._link(first, None)
    assert last.alive
    return PassResult()


def test_a_pass_that_breaks_the_graph_is_found_and_named(graph_of):
    broken = Pipeline((named("fine"), FunctionPass("clumsy", break_the_order), named("after")))
    seen = []
    with pytest.raises(VerificationError, match=r"pass 'clumsy' broke the graph: Neg .* gives only later"):
        broken.run(graph_of(negate_often, x="4"), TARGET, check=lambda name, _graph: seen.append(name))
    assert seen == ["fine"]


def test_every_pipeline_ensures_that_the_target_runs_the_graph():
    for pipeline in (optimising(), unfused()):
        assert "legal" in frozenset().union(*(step.ensures for step in pipeline.passes))
        names = [step.name for step in pipeline.passes]
        assert len(set(names)) == len(names)


# -- reports -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def report():
    miss = NearMiss("Attention", "Softmax 's' (m.py:3)", "no", 2, 5)
    stages = [
        Stage("fuse", PassResult(Counter({"Gelu": 2, "Attention": 1}), [miss]), 0.5),
        Stage("legalise", PassResult(Counter({"write out Gelu": 2})), 0.25),
    ]
    operators = Counter({"Attention": 1, "MatMul": 4, "Erf": 2})
    return Report("test", stages, nodes_before=40, nodes_after=12, operators=operators)


def test_what_was_fused_is_what_is_still_there(report):
    assert report.fused == {"Attention": 1}
    assert report.written_out == {"Gelu": 2}
    assert report.seconds == 0.75


def test_a_report_reads_well(report):
    assert str(report).splitlines() == [
        "target test: 40 nodes became 12",
        "fused: 1 x Attention",
        "fused, then written out for test: 2 x Gelu",
        "not fused: Softmax 's' (m.py:3) is not Attention: no (2 of 5 nodes fit)",
    ]
    assert str(Report("test")).splitlines()[1] == "fused: nothing"


def test_a_report_as_data_has_no_times(report):
    import json

    data = report.as_dict()
    assert "seconds" not in json.dumps(data)
    assert data["fused"] == {"Attention": 1}
    assert data["operators"] == {"Attention": 1, "Erf": 2, "MatMul": 4}
    assert data["near_misses"] == ["Softmax 's' (m.py:3) is not Attention: no (2 of 5 nodes fit)"]
    assert data["passes"][1] == {"name": "legalise", "changes": {"write out Gelu": 2}}
