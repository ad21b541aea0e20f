"""What users would run instead: each peer computes what torch does, or says why it cannot be had."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import pytest

from tfgraph.bench.checkpoint import write_bert_checkpoint
from tfgraph.bench.peers.interface import PeerUnavailable, require
from tfgraph.bench.peers.torch_export import OrtPeer, TorchPeer, optimise_with_onnxruntime
from tfgraph.bench.shapes import INPUTS, BatchShape, full_inputs, padded_inputs
from tfgraph.tolerance import relative_error


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A checkpoint, torch's export of it, and that optimised."""
    folder = tmp_path_factory.mktemp("peers")
    write_bert_checkpoint(folder, tiny)
    TorchPeer(folder, 1).export(folder / "torch.onnx")
    optimise_with_onnxruntime(folder / "torch.onnx", folder / "optimised.onnx", tiny)
    return folder


@pytest.mark.parametrize("shape", [BatchShape(1, 1), BatchShape(1, 16), BatchShape(5, 9)], ids=str)
def test_the_export_is_right_for_any_batch_length_and_padding(folder, tiny, shape):
    inputs = padded_inputs(shape, tiny.vocab_size)
    exported = OrtPeer(folder / "torch.onnx", 1, {})
    assert relative_error(exported(inputs), TorchPeer(folder, 1)(inputs)) < 1e-5


def test_the_optimised_export_is_right_without_padding(folder, tiny):
    inputs = full_inputs(BatchShape(3, 9), tiny.vocab_size)
    optimised = OrtPeer(folder / "optimised.onnx", 1, {})
    assert relative_error(optimised(inputs), TorchPeer(folder, 1)(inputs)) < 1e-5


def test_the_optimiser_really_fused(folder):
    import onnx

    operators = [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]
    assert operators.count("Attention") == 2
    assert operators.count("SkipLayerNormalization") == 4


def test_exporting_says_nothing_and_leaves_logging_as_it_was(folder, tmp_path, capfd):
    peer = TorchPeer(folder, 1)
    capfd.readouterr()
    peer.export(tmp_path / "again.onnx")
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


def test_what_is_not_installed_is_named_with_how_to_install_it(monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    with pytest.raises(PeerUnavailable, match=r'^torch is not installed: pip install "tfgraph-onnx\[test\]"$'):
        TorchPeer(tmp_path, 1)
    with pytest.raises(PeerUnavailable, match=r"^no_such_package is not installed: pip install it like this$"):
        require("no_such_package", install="pip install it like this")
    with pytest.raises(PeerUnavailable, match=r"^torch and no_such_package are not installed: pip install"):
        require("torch", "no_such_package")


def test_a_checkpoint_that_transformers_cannot_load_is_one_line(tmp_path):
    with pytest.raises(PeerUnavailable, match=r"^transformers cannot load the checkpoint: [^\n]+$"):
        TorchPeer(tmp_path, 1)


def test_a_file_that_the_optimiser_cannot_read_is_one_line(tiny, tmp_path):
    with pytest.raises(PeerUnavailable, match=r"^ONNX Runtime's transformers optimiser fails: [^\n]+$"):
        optimise_with_onnxruntime(tmp_path / "absent.onnx", tmp_path / "out.onnx", tiny)


def test_a_file_that_onnxruntime_cannot_load_is_named(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(PeerUnavailable, match=r"^ONNX Runtime cannot load broken\.onnx: "):
        OrtPeer(tmp_path / "broken.onnx", 1, {})


def test_inputs_that_an_export_does_not_have_are_not_passed(folder, tiny):
    inputs = full_inputs(BatchShape(1, 4), tiny.vocab_size)
    assert set(inputs) == set(INPUTS)
    result = OrtPeer(folder / "torch.onnx", 1, {})({**inputs, "position_ids": np.zeros((1, 4), np.int64)})
    assert result.shape == (1, 4, 32)
