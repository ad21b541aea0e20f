"""Exports of a checkpoint that runs as several graphs: their files, the one file of weights, and what opens them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import tfgraph as tg
from tests.tiny_checkpoint import write_checkpoint
from tfgraph.errors import CheckpointError, ConfigError, ExportError, InputError, VerificationError
from tfgraph.exporter import Progress
from tfgraph.manifest import WEIGHTS_FILE, read_manifest
from tfgraph.models.names import checkpoint_name
from tfgraph.models.registry import find_family
from tfgraph.verification import compare_exports

VOCABULARY, WIDTH = 400, 32
CONFIG = {
    "model_type": "transformer",
    "architectures": ["TransformerForConditionalGeneration"],
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
TEXT = {"input_ids": np.array([[5, 6, 7, 8, 2]]), "attention_mask": np.ones((1, 5), np.int64)}


def write_transformer(folder: Path, **changes: object) -> Path:
    family = find_family("transformer")
    config = {**CONFIG, **changes}
    architecture = family.architecture_for("text-generation")
    rng = np.random.default_rng(3)
    weights = {}
    for path, parameter in architecture.build(family.config.from_dict(config)).named_parameters():
        noise = rng.standard_normal(parameter.shape).astype(np.float32) * np.float32(0.3)
        weights[checkpoint_name(path, architecture.names)] = noise
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tg.Pretrained:
    return tg.load(write_transformer(tmp_path_factory.mktemp("transformer")))


@pytest.fixture(scope="module")
def exported(pretrained: tg.Pretrained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "out"
    tg.export(pretrained, out)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def first_step(run_encoder, run_decoder) -> dict[str, np.ndarray]:
    """The decoder's outputs for one token after `TEXT`."""
    cache = {
        f"past_key_values.{layer}.{kind}": np.zeros((1, 4, 0, 8), np.float32) for layer in (0, 1) for kind in KINDS
    }
    given = {"input_ids": np.array([[0]]), "encoder_attention_mask": TEXT["attention_mask"]}
    return run_decoder({**given, **cache, **run_encoder(TEXT)})


KINDS = ("key", "value")


def test_a_file_for_each_graph_and_one_for_the_weights(exported):
    assert sorted(contents(exported)) == ["config.json", "decoder.onnx", "encoder.onnx", "model.data", "tfgraph.json"]
    manifest = json.loads((exported / "tfgraph.json").read_text())
    assert manifest["format"] == 2
    assert manifest["model"]["task"] == "text-generation"
    assert manifest["model"]["decoder_start_token_id"] == 0
    assert [(part["name"], part["file"]) for part in manifest["parts"]] == [
        ("encoder", "encoder.onnx"),
        ("decoder", "decoder.onnx"),
    ]
    encoder, decoder = manifest["parts"]
    assert (
        [each["name"] for each in encoder["inputs"]]
        == ["input_ids", "attention_mask"]
        == [each["name"] for each in manifest["inputs"]]
    )
    assert {"name": "cross.1.value", "dtype": "float32", "shape": ["batch", 4, "seq", 8]} in encoder["outputs"]
    assert {"name": "cross.1.value", "dtype": "float32", "shape": ["batch", 4, "encoder_seq", 8]} in decoder["inputs"]
    assert decoder["outputs"][0] == {"name": "logits", "dtype": "float32", "shape": ["batch", VOCABULARY]}
    assert manifest["outputs"] == decoder["outputs"]
    assert manifest["report"]["fused"]["Attention"] == 6  # 2 in the encoder, 2 in each of the decoder's layers
    assert {"encoder: fuse", "decoder: fuse"} <= {each["name"] for each in manifest["report"]["passes"]}
    sizes = {name: len(data) for name, data in contents(exported).items() if name != "tfgraph.json"}
    assert manifest["files"] == sizes


def test_shared_weights_are_stored_once(pretrained, exported):
    table = pretrained.module.state_dict()["base.encoder.word.weight"].numpy().tobytes()
    data = (exported / WEIGHTS_FILE).read_bytes()
    assert data.count(table) == 1
    assert not any(table in content for name, content in contents(exported).items() if name != WEIGHTS_FILE)
    weights = pretrained.module.num_parameters() * 4
    assert (exported / WEIGHTS_FILE).stat().st_size < weights + 24 * WIDTH * 4 + 4096  # and the table of sines


def test_what_was_written_runs_as_the_whole_model_does(pretrained, exported):
    artefact = tg.open(exported)
    assert list(artefact.sessions) == ["encoder", "decoder"]
    encode, decode = (lambda inputs, part=part: artefact.run(inputs, part=part) for part in ("encoder", "decoder"))
    outputs = first_step(encode, decode)
    whole = tg.compile(tg.load(pretrained.path, task="seq2seq-lm"))
    mask = np.ones((1, 1), np.int64)
    expected = whole.run({**TEXT, "decoder_input_ids": np.array([[0]]), "decoder_attention_mask": mask})["logits"]
    np.testing.assert_allclose(outputs["logits"], expected[:, -1], atol=1e-5 * np.abs(expected).max())
    assert outputs["present.1.value"].shape == (1, 4, 1, 8)


def test_one_graph_has_to_be_chosen(exported):
    artefact = tg.open(exported)
    with pytest.raises(
        InputError, match=r"is 2 graphs, encoder and decoder: say which one, as in sessions\['encoder'\]"
    ):
        artefact.run(TEXT)
    with pytest.raises(InputError, match="has no part 'decodr': expected one of encoder, decoder"):
        artefact.run(TEXT, part="decodr")


def test_a_model_of_one_graph_has_one_part(tmp_path):
    tg.export(tg.trace(lambda x: x + 1, x=tg.spec("float32", ["n"])), tmp_path / "out")
    artefact = tg.open(tmp_path / "out")
    assert list(artefact.sessions) == list(artefact.manifest.parts) == ["model"]
    assert artefact.run({"x": np.zeros(2, np.float32)}, part="model")["output"].tolist() == [1, 1]
    assert "parts" not in json.loads((tmp_path / "out" / "tfgraph.json").read_text())


def test_the_same_export_gives_the_same_bytes(pretrained, exported, tmp_path):
    tg.export(pretrained, tmp_path / "elsewhere")
    assert contents(tmp_path / "elsewhere") == contents(exported)


def test_exports_of_one_graph_and_of_several_replace_each_other(pretrained, tmp_path):
    out = tmp_path / "out"
    tg.export(tg.load(pretrained.path, task="seq2seq-lm"), out)
    assert sorted(contents(out)) == ["config.json", "model.onnx", "tfgraph.json"]
    tg.export(pretrained, out)
    assert sorted(contents(out)) == ["config.json", "decoder.onnx", "encoder.onnx", "model.data", "tfgraph.json"]
    tg.export(tg.load(write_checkpoint(tmp_path / "bert")), out)
    assert sorted(contents(out)) == ["config.json", "model.onnx", "tfgraph.json", "tokenizer_config.json", "vocab.txt"]


@pytest.mark.parametrize("step", ["weights", "manifest", "replace"])
def test_whatever_stops_an_export_leaves_the_old_one_whole(pretrained, tmp_path, monkeypatch, step):
    out = tmp_path / "out"
    tg.export(pretrained, out)
    before = contents(out)
    calls = 0

    def fail(*args: object, **kwargs: object) -> None:
        nonlocal calls
        calls += 1
        if step != "replace" or calls == 8:  # after five files were moved aside and two of the new ones in
            raise OSError(28, "No space left on device")
        original(*args)

    original = os.replace
    places = {
        "weights": "tfgraph.backends.onnx.write.write_data",
        "manifest": "tfgraph.manifest.Manifest.save",
        "replace": "tfgraph.staging.os.replace",
    }
    monkeypatch.setattr(places[step], fail)
    with pytest.raises(ExportError, match="No space left on device"):
        tg.export(pretrained, out, fuse=False)
    monkeypatch.undo()
    assert contents(out) == before


def test_an_error_names_the_final_place(pretrained, tmp_path, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tfgraph.backends.onnx.write.write_data", refuse)
    with pytest.raises(ExportError) as caught:
        tg.export(pretrained, tmp_path / "out")
    assert str(caught.value) == f"cannot write into {tmp_path}/out: No space left on device"
    assert not (tmp_path / "out").exists()


def test_weights_that_are_gone_name_their_file(tmp_path):
    folder = write_transformer(tmp_path / "checkpoint")
    pretrained = tg.load(folder)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.safetensors ends early"):
        tg.export(pretrained, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_verify_checks_every_part(pretrained, tmp_path, monkeypatch):
    tg.export(pretrained, tmp_path / "out", verify=True)
    seen = []

    def refuse(compiled: object, path: Path) -> None:
        seen.append(path.name)
        if path.name == "decoder.onnx":
            raise VerificationError("differs")

    monkeypatch.setattr("tfgraph.exporter._check_file", refuse)
    with pytest.raises(VerificationError, match="differs"):
        tg.export(pretrained, tmp_path / "out", verify=True)
    assert seen == ["encoder.onnx", "decoder.onnx"]


def test_progress_counts_the_passes_of_all_graphs(pretrained, tmp_path):
    steps: list[Progress] = []
    tg.export(pretrained, tmp_path / "out", on_progress=steps.append)
    passes = [step for step in steps if step.activity == "optimise"]
    assert [step.done for step in passes] == list(range(passes[0].total))
    assert passes[0].detail.startswith("encoder: ") and passes[-1].detail.startswith("decoder: ")
    assert steps[-1].activity == "write" and steps[-1].done == steps[-1].total > pretrained.module.num_parameters() * 3


@pytest.mark.parametrize("name", ["model.data", "decoder.onnx"])
def test_a_damaged_export_is_refused(pretrained, tmp_path, name):
    tg.export(pretrained, tmp_path / "out")
    (tmp_path / "out" / name).write_bytes(b"short")
    with pytest.raises(ConfigError, match=rf"{name} has 5 bytes where tfgraph.json says"):
        tg.open(tmp_path / "out")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "'parts' is empty: expected at least one graph"),
        ([3], "'parts' holds 3: expected objects with 'name', 'file', 'inputs' and 'outputs'"),
        ([{"name": "encoder", "file": "../x.onnx"}], "'parts' names the file '../x.onnx', which is not in 'files'"),
        (None, "'parts' is None: expected an array"),
    ],
)
def test_a_damaged_manifest_says_what_is_wrong(exported, tmp_path, parts, message):
    content = json.loads((exported / "tfgraph.json").read_text())
    (tmp_path / "tfgraph.json").write_text(json.dumps({**content, "parts": parts}))
    with pytest.raises(ConfigError) as caught:
        read_manifest(tmp_path)
    assert message in str(caught.value)


def test_a_manifest_is_read_back_as_it_was(exported, tmp_path):
    manifest = read_manifest(exported)
    manifest.save(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert list(manifest.parts) == ["encoder", "decoder"]


def test_exports_are_compared_graph_by_graph(pretrained, exported, tmp_path):
    tg.export(pretrained, tmp_path / "plain", fuse=False)
    comparisons = compare_exports(exported, tmp_path / "plain", cases=1, sizes={"past": 4})
    assert list(comparisons) == ["encoder", "decoder"]
    assert all(comparison.equal for comparison in comparisons.values())
    assert comparisons["decoder"].sizes[0]["past"] == 4 and "past" not in comparisons["encoder"].sizes[0]
    other = tg.load(write_transformer(tmp_path / "other", hidden_act="gelu"))
    tg.export(other, tmp_path / "different")
    assert not any(each.equal for each in compare_exports(exported, tmp_path / "different", cases=1).values())
    with pytest.raises(InputError, match=r"consists of encoder and decoder, .* of model: expected two models that run"):
        compare_exports(exported, exported / "encoder.onnx")
    with pytest.raises(InputError, match="there is no size 'pst'"):
        compare_exports(exported, exported, sizes={"pst": 4})


def test_texts_become_what_the_encoder_takes(tmp_path):
    folder = write_transformer(tmp_path / "checkpoint")
    with pytest.raises(InputError, match="has no tokenizer"):
        tg.load(folder).encode(["a text"])
