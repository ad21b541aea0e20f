"""`tfgraph.compile` with a precision: what comes out is within its budget, measured again from outside."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfgraph as tg
from tests.text_checkpoints import write_stories, write_translator
from tests.tiny_checkpoint import write_checkpoint
from tfgraph import nn
from tfgraph.errors import BudgetError, ConfigError, InputError
from tfgraph.manifest import read_manifest
from tfgraph.quantization.metrics import cosine, relative

WORDS = ("the", "a", "cat", "dog", "sat", "on", "mat", "red", "blue", "who", "is", "runs", "to")
TEXTS = [" ".join(WORDS[(start * 3 + at * (start % 4 + 1)) % len(WORDS)] for at in range(3 + start % 7)) for start in
         range(12)]  # fmt: skip
STORY = "Once upon a time there was an old lighthouse by the sea. Every night it shone over the harbour."
SPEC = tg.spec("float32", ["batch", "seq", 32])


class Net(nn.Module):
    def __init__(self):
        self.first = nn.Linear(32, 160)
        self.second = nn.Linear(160, 32)

    def forward(self, x):
        return self.second(tg.functional.relu(self.first(x)))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    sizes = {"hidden_size": 64, "intermediate_size": 128}
    return write_checkpoint(tmp_path_factory.mktemp("quantised") / "bert", **sizes)


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    return write_stories(tmp_path_factory.mktemp("quantised") / "stories")


def net(seed: int) -> Net:
    made = Net()
    made.init_weights(seed=seed, scale=0.3)
    return made


def arrays(seed: int, count: int = 6, outlier: float = 1.0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    scale = np.ones(32, np.float32)
    scale[3] = outlier
    return [{"x": (rng.standard_normal((1, 5, 32)) * scale).astype(np.float32)} for _ in range(count)]


@settings(max_examples=6)
@given(
    seed=st.integers(0, 50), outlier=st.sampled_from([1.0, 30.0]), precision=st.sampled_from(["int8", "int4"]),
    budget=st.sampled_from(["cosine>=0.999", "cosine>=0.99999", "relative<=0.02", "relative<=0.0001"]),
)  # fmt: skip
def test_a_budget_is_never_exceeded(seed, outlier, precision, budget):
    calibration = arrays(seed, outlier=outlier)
    given = {"inputs": {"x": SPEC}, "target": "cpu"}
    ours = tg.compile(net(seed), precision=precision, budget=budget, calibration=calibration, **given)
    exact = tg.compile(net(seed), **given)
    metric = cosine if budget.startswith("cosine") else relative
    values = [metric(exact(**case), ours(**case)) for case in calibration]
    bound = float(budget[budget.index("=") + 1 :])
    assert min(values) >= bound - 1e-7 if metric is cosine else max(values) <= bound * (1 + 1e-4)


def test_texts_calibrate_an_encoder(bert):
    compiled = tg.compile(tg.load(bert), precision="int8", budget="cosine>=0.999", calibration=TEXTS)
    outcome = compiled.quantization
    assert outcome is not None and outcome.held_out["cosine"] >= 0.999 and outcome.measured["cosine"] >= 0.999
    assert set(outcome.schemes) == {*outcome.plan, *outcome.kept}
    assert any(scheme == "dynamic" for scheme in outcome.schemes.values())
    assert 0 < outcome.megabytes < outcome.float_megabytes
    exact = tg.compile(tg.load(bert))
    for text in TEXTS:
        inputs = tg.load(bert).encode([text])
        vectors = [model.run(inputs)["sentence_embedding"] for model in (exact, compiled)]
        assert cosine(*vectors) > 0.995


def test_the_same_call_gives_the_same_outcome(bert):
    records = [
        tg.compile(tg.load(bert), precision="int8", budget="cosine>=0.9999", calibration=TEXTS).quantization.as_dict()
        for _ in range(2)
    ]
    assert records[0] == records[1]
    assert records[0]["tried"]
    json.dumps(records[0], allow_nan=False)


def test_a_generator_is_measured_on_running_text(stories):
    compiled = tg.compile(
        tg.load(stories), precision="int4", budget="perplexity<=1.05", calibration=[STORY] * 60
    )  # fmt: skip
    outcome = compiled.quantization
    assert outcome.held_out["perplexity"] <= 1.05 and {"top1", "kl", "cosine"} <= set(outcome.held_out)


def test_without_calibration_nothing_is_claimed(bert, stories):
    for folder, precision, scheme in ((bert, "int8", "int8-b128"), (stories, "int4", "int4-b32")):
        outcome = tg.compile(tg.load(folder), precision=precision).quantization
        assert outcome.held_out == {} and outcome.counts[scheme] > 0
        assert "the error was not measured" in str(outcome)


def test_calibration_without_a_budget_measures(bert):
    outcome = tg.compile(tg.load(bert), precision="int8", calibration=TEXTS).quantization
    assert outcome.counts["dynamic-rows"] > 0 and outcome.kept == ("base.embeddings.token_type.weight",)  # tiny
    assert 0.99 < outcome.held_out["cosine"] <= 1.0


def test_what_the_user_keeps_is_kept(bert):
    sites = {"*": "int8-b128", "*.mlp.*": "fp32"}
    outcome = tg.compile(tg.load(bert), precision="int8", calibration=TEXTS, sites=sites).quantization
    assert all(("mlp" in name) == (scheme == "fp32") for name, scheme in outcome.schemes.items())
    assert outcome.as_dict()["overrides"] == sites
    with pytest.raises(ConfigError, match=r"no site matches '\*\.mpl\.\*'"):
        tg.compile(tg.load(bert), precision="int8", sites={"*.mpl.*": "fp32"})


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("target", ["cpu", "onnx"])
def test_every_target_runs_what_comes_out(precision, target):
    calibration = arrays(3)
    ours = tg.compile(net(3), inputs={"x": SPEC}, target=target, precision=precision, calibration=calibration)
    exact = tg.compile(net(3), inputs={"x": SPEC})
    assert cosine(exact(**calibration[0]), ours(**calibration[0])) > 0.97


def test_quantisation_passes_verification():
    calibration = arrays(3)
    tg.compile(net(3), inputs={"x": SPEC}, precision="int8", calibration=calibration, verify=True)


def test_what_a_budget_cannot_do(bert):
    with pytest.raises(BudgetError, match=r"no selection of schemes stays within relative<=0\.001"):
        tg.compile(
            net(1), inputs={"x": SPEC}, precision="int4", budget="relative<=0.001", calibration=arrays(1),
            sites={"*": "int4-b32"},
        )  # fmt: skip
    with pytest.raises(ConfigError, match="perplexity cannot be measured on sentence_embedding"):
        tg.compile(tg.load(bert), precision="int8", budget="perplexity<=1.01", calibration=TEXTS)


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        ({"precision": "int7"}, ConfigError, "no precision is called 'int7'"),
        ({"precision": "int8", "budget": "cosine>=0.999"}, ConfigError, "without inputs to measure the error on"),
        ({"budget": "cosine>=0.999"}, ConfigError, 'precision is "fp32"'),
        ({"sites": {"*": "fp32"}}, ConfigError, 'precision is "fp32"'),
        ({"precision": "int8", "budget": "cosin>=1"}, ConfigError, "no error budget for 'cosin'"),
        ({"precision": "int8", "sites": {"*": "int5"}}, ConfigError, "no scheme is called 'int5'"),
        ({"precision": "int8", "fuse": False}, InputError, "fuse=False leaves none"),
        ({"precision": "int8", "calibration": []}, InputError, "calibration is nothing"),
        ({"precision": "int8", "calibration": ["a", "b"]}, InputError, "Net, which has no tokenizer"),
        ({"precision": "int8", "calibration": [{"y": [1.0]}] * 2}, ConfigError, "it lacks x, and has y"),
    ],
)
def test_wrong_requests(arguments, error, expected):
    with pytest.raises(error, match=expected):
        tg.compile(net(1), inputs={"x": SPEC}, **arguments)


def test_a_manifest_says_how_and_reads_back(bert, tmp_path):
    tg.export(tg.load(bert), tmp_path / "out", precision="int8", budget="cosine>=0.999", calibration=TEXTS)
    manifest = read_manifest(tmp_path / "out")
    record = manifest.quantization["model"]
    assert (record["precision"], record["budget"]) == ("int8", "cosine>=0.999")
    assert record["held_out"]["cosine"] >= 0.999
    assert manifest.as_dict() == json.loads((tmp_path / "out" / "tfgraph.json").read_text())
    again = dict(record["sites"])
    outcome = tg.compile(tg.load(bert), precision="int8", calibration=TEXTS, sites=again).quantization
    assert dict(outcome.schemes) == again
    vectors = tg.open(tmp_path / "out").encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 64)


def test_an_export_in_float_says_nothing_of_it(bert, tmp_path):
    tg.export(tg.load(bert), tmp_path / "out")
    assert "quantization" not in json.loads((tmp_path / "out" / "tfgraph.json").read_text())


@pytest.mark.parametrize(
    ("damage", "expected"),
    [([], "expected an object"), ({"model": 3}, "'precision' and 'sites'"), (
        {"model": {"precision": "int8", "sites": {"a": 3}}}, "the scheme 3")],
)  # fmt: skip
def test_a_damaged_record_is_refused(bert, tmp_path, damage, expected):
    tg.export(tg.load(bert), tmp_path / "out")
    path = tmp_path / "out" / "tfgraph.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization": damage}))
    with pytest.raises(ConfigError, match=expected):
        read_manifest(tmp_path / "out")


def test_a_model_of_several_graphs(tmp_path):
    model = tg.load(write_translator(tmp_path / "translator"))
    with pytest.raises(ConfigError, match="the model runs as several graphs"):
        tg.export(model, tmp_path / "out", precision="int8", calibration=TEXTS)
    tg.export(model, tmp_path / "out", precision="int8")
    assert set(read_manifest(tmp_path / "out").quantization) == {"encoder", "decoder"}


def test_a_file_that_somebody_else_exported(tmp_path):
    tg.compile(net(3), inputs={"x": SPEC}, target="onnx", fuse=False).save(tmp_path / "in.onnx")
    report = tg.optimize_onnx(
        tmp_path / "in.onnx", tmp_path / "out.onnx", precision="int8", budget="relative<=0.05", calibration=arrays(3)
    )
    assert report.quantization["held_out"]["relative"] <= 0.05
    assert report.as_dict()["quantization"] == report.quantization
    assert "quantization" not in tg.optimize_onnx(tmp_path / "in.onnx", tmp_path / "float.onnx").as_dict()
