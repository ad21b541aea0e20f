"""Timing `optimize_onnx`, on models so small that the numbers mean nothing: what is measured, and on what."""

from __future__ import annotations

import json

import onnx
import pytest
from typer.testing import CliRunner

import tfgraph as tg
from tfgraph.bench import optimize
from tfgraph.bench.grown_graph import write_grown_graph
from tfgraph.bench.interleave import Sample
from tfgraph.bench.optimize import OURS, THEIRS, OptimizeReport, Settings, measure_optimize
from tfgraph.bench.peers.interface import PeerUnavailable
from tfgraph.errors import InputError


def report_of(export, graphs):
    def samples(seconds):
        return [Sample(index, each, each) for index, each in enumerate(seconds)]

    return OptimizeReport(
        Settings(nodes=(5,)),
        {"cpu": "c", "cores": 2, "system": "s", "versions": {}},
        0.0,
        {name: samples(each) for name, each in export.items()},
        {nodes: samples(each) for nodes, each in graphs.items()},
        {},
    )


@pytest.mark.parametrize("num_nodes", [1, 150, 400])
def test_a_grown_graph_has_the_nodes_that_were_asked_for_and_is_fused_throughout(tmp_path, num_nodes):
    count = write_grown_graph(tmp_path / "grown.onnx", num_nodes)
    model = onnx.load(tmp_path / "grown.onnx")
    onnx.checker.check_model(model)
    assert len(model.graph.node) == count and num_nodes <= count < num_nodes + 130
    report = tg.optimize_onnx(tmp_path / "grown.onnx", tmp_path / "out.onnx")
    layers = sum(node.op_type == "Softmax" for node in model.graph.node)
    assert report.fused["Attention"] == layers and report.fused["LayerNormalization"] == 2 * layers
    assert report.proof.verdict == "equal"


def test_equal_seeds_give_equal_files(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_grown_graph(tmp_path / name, 10, seed)
    first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != third


def test_both_optimisers_take_turns_on_the_export_and_every_graph_is_timed(tiny):
    report = measure_optimize(Settings(tiny, nodes=(60, 200), rounds=2))
    assert not report.skipped
    assert {name: len(each) for name, each in report.export.items()} == {OURS: 2, THEIRS: 2}
    assert sorted(sample.turn for each in report.export.values() for sample in each) == [0, 1, 2, 3]
    assert [len(each) for each in report.graphs.values()] == [2, 2]
    described = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert described["benchmark"] == "optimize" and described["export"]["ratio"] == report.ratio


def test_without_the_peer_the_export_is_still_timed_and_without_torch_the_graphs(tiny, monkeypatch):
    def absent(*_arguments):
        raise PeerUnavailable("not installed")

    monkeypatch.setattr(optimize, "optimise_with_onnxruntime", absent)
    report = measure_optimize(Settings(tiny, nodes=(), rounds=1))
    assert list(report.export) == [OURS] and report.ratio is None and report.skipped == {THEIRS: "not installed"}
    monkeypatch.setattr(optimize, "TorchPeer", absent)
    report = measure_optimize(Settings(tiny, nodes=(60,), rounds=1))
    assert not report.export and len(report.graphs) == 1 and report.skipped == {"torch export": "not installed"}


def test_limits_are_held_against_medians():
    fine = report_of({OURS: [1.0, 1.1, 9.0], THEIRS: [2.0, 2.0, 2.0]}, {50_000: [19.0]})
    assert fine.exceeded() == [] and fine.ratio == pytest.approx(0.55)
    slow = report_of({OURS: [4.0], THEIRS: [4.0]}, {10: [1.0], 50_000: [21.0]})
    assert [line.partition(":")[0] for line in slow.exceeded()] == [
        "seconds for torch's export",
        "of the time of ONNX Runtime's optimiser",
        "seconds for 50000 nodes",
    ]


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"nodes": (0,)}])
def test_numbers_below_one_are_refused(settings):
    with pytest.raises(InputError, match="expected 1 or more of each"):
        Settings(**settings)


def test_the_command_prints_tables_and_limits_decide_the_exit_code(monkeypatch, tmp_path):
    from tfgraph.cli.app import app

    monkeypatch.setenv("COLUMNS", "200")
    given = []

    def measured(settings, **_):
        given.append(settings)
        return report_of({OURS: [4.0], THEIRS: [4.0]}, {50_000: [21.0]})

    monkeypatch.setattr(optimize, "measure_optimize", measured)
    command = ["bench", "optimize", "--nodes", "20", "--nodes", "10", "--layers", "1", "--rounds", "2"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert (list(given[0].nodes), given[0].config.num_hidden_layers, given[0].rounds) == ([10, 20], 1, 2)
    for text in ("50,000", "1.00 of ONNX Runtime's optimiser", "exceeded: seconds for 50000 nodes"):
        assert text in done.stdout
    done = CliRunner().invoke(app, [*command, "--json", "--require-limits", "--save", str(tmp_path / "out.json")])
    assert done.exit_code == 1
    assert json.loads(done.stdout) == json.loads((tmp_path / "out.json").read_text())
