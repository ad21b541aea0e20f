"""`tfgraph bench`: options, tables, JSON, files and exit codes, with BERT-base and GPT-3 made tiny."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tfgraph.bench import encoder as encoder_module
from tfgraph.bench import write as write_module
from tfgraph.models.llama import LlamaConfig


@pytest.fixture
def bench(monkeypatch, tiny, tiny_gpt2):
    """`bench("encoder", "--json")`: run a command on tiny models, without measuring the machine."""
    from tfgraph.bench import decode, decoder, scale, texts
    from tfgraph.bench.limits import Limits
    from tfgraph.cli.app import app
    from tfgraph.models import published

    llama = LlamaConfig(61, 32, 2, 2, 64, 48)
    sizes = {encoder_module.MODEL: tiny, write_module.MODEL: llama, decode.GPT2: tiny_gpt2}
    monkeypatch.setattr(published, "configs", {**published.configs, **sizes})
    small = decoder.DecoderSize(1, 16, 2, 32, 50, 64)
    monkeypatch.setattr(scale.Settings.__init__, "__defaults__", _with(scale.Settings, decoder.GPT3, small))
    for module in (encoder_module, decode, texts):
        monkeypatch.setattr(module, "measure_limits", lambda _threads: Limits(2e11, 5e11, None, 2e10))
    monkeypatch.setattr(decode, "_STARTS", 1)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, ["bench", *arguments])


def _with(settings, old, new):
    return tuple(new if default is old else default for default in settings.__init__.__defaults__)


ENCODER = ("encoder", "--shape", "2x5", "--layers", "1", "--runs", "2", "--threads", "1", "--no-real-text")
DECODE = ("decode", "--model", "gpt2", "--prompt", "3", "--new", "3", "--runs", "2", "--threads", "1")
SCALE = ("scale", "--layers", "2", "--layers", "1", "--repeats", "1")


def test_the_encoder_prints_a_table_for_each_shape_who_won_and_who_is_missing(bench, stubs, tmp_path):
    stubs("int8", "absent", ours=True)
    done = bench(*ENCODER, "--shape", "1x4", "--chart", str(tmp_path / "out.svg"))
    assert done.exit_code == 0, done.output
    assert "BERT, 1 layers of 32, 1 threads, 2 interleaved runs each, random weights" in done.stdout
    for text in ("2x5", "1x4", "tfgraph fp32", "torch fp32", "stub int8", "Median ms", "Quartiles", "Cosine"):
        assert text in done.stdout
    assert "Limits of the machine: fp32 200 G operations/s, int8 500 G operations/s; memory 20.0 GB/s" in done.stdout
    assert done.stdout.count("fp32: tfgraph fp32 takes ") == 2
    assert "of the time of the best peer, torch fp32" in done.stdout
    assert "skipped: stub absent: nothing is installed: pip install something" in done.stdout
    assert "Errors are against torch fp32" in done.stdout
    assert (tmp_path / "out.svg").read_text().startswith("<svg ")


def test_the_encoder_prints_json_alone_and_saves_it_too(bench, stubs, tmp_path):
    stubs("int8")
    done = bench(*ENCODER, "--json", "--save", str(tmp_path / "out.json"))
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / "out.json").read_text())
    assert [each["shape"] for each in printed["results"]] == ["2x5"]
    assert list(printed["results"][0]["candidates"]) == ["torch fp32", "stub int8"]


@pytest.mark.parametrize(("ratio", "code"), [("1000000", 0), ("0", 1)])
def test_a_required_ratio_decides_the_exit_code(bench, stubs, ratio, code):
    stubs(ours=True)
    done = bench(*ENCODER, "--require-ratio", ratio)
    assert done.exit_code == code, done.output
    assert "of the time of the best peer" in done.stdout


def test_a_required_ratio_without_a_peer_is_an_error_that_says_what_is_missing(bench, stubs):
    stubs("absent")
    done = bench(*ENCODER, "--require-ratio", "1.0")
    assert done.exit_code == 1
    assert "error: there is no peer to compare with: nothing is installed: pip install something" in done.stderr


def test_decode_prints_a_table_limits_and_who_is_missing(bench, stubs, tmp_path):
    stubs("int4", "absent", ours=True)
    done = bench(*DECODE, "--chart", str(tmp_path / "out.svg"), "--save", str(tmp_path / "out.json"))
    assert done.exit_code == 0, done.output
    for text in ("Prompt of 3 tokens, 3 new ones, greedy", "Tokens a second", "First token ms", "Start-up s"):
        assert text in done.stdout
    assert "Tokens a second that the memory allows: fp32 " in done.stdout
    assert done.stdout.count("fp32: tfgraph fp32 takes ") == 2
    assert "skipped: stub absent" in done.stdout
    saved = json.loads((tmp_path / "out.json").read_text())
    assert list(saved["models"][0]["results"]) == ["tfgraph fp32", "torch fp32", "stub int4"]
    assert "tokens a second, more is better" in (tmp_path / "out.svg").read_text()


def test_decode_prints_json_alone(bench, stubs):
    stubs()
    done = bench(*DECODE, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["benchmark"] == "decode"


def test_texts_prints_a_table_by_speed(bench, stubs, tmp_path):
    from tokenizers import Tokenizer, models

    stubs("int8", "absent", ours=True)
    Tokenizer(models.WordLevel({"?": 0}, unk_token="?")).save(str(tmp_path / "tokenizer.json"))
    done = bench("texts", "--model", str(tmp_path), "--count", "20", "--runs", "1", "--threads", "1",
                 "--chart", str(tmp_path / "out.svg"))  # fmt: skip
    assert done.exit_code == 0, done.output
    for text in ("20 paragraphs of ", "Paragraphs embedded", "A second", "Worst cosine", "stub int8", "skipped: stub"):
        assert text in done.stdout
    assert "Cosines are to torch fp32, over all paragraphs." in done.stdout
    assert (tmp_path / "out.svg").is_file()


def run_of(layers):
    """What a measuring process reports of a decoder, or, with no layers, of an export."""
    names = ("declare", "trace", "passes", "lower") if layers else ("load", "trace", "passes", "write")
    times = {"seconds": 4.0, "cpu_seconds": 3.5, "copy_seconds": 3.0, "phases": dict.fromkeys(names, 1.0)}
    return {**times, "layers": layers, "parameters": 1e9 * layers, "memory": 10**8, "bytes": 438_000_000}


@pytest.fixture
def measured(monkeypatch):
    """Scale without its processes."""
    from tfgraph.bench import scale

    def measure(settings, **_callbacks):
        decoders = {layers: scale.Measurement([run_of(layers)]) for layers in settings.layers}
        return scale.ScaleReport(settings, {"cpu": "a cpu", "cores": 2, "system": "Linux", "versions": {}}, 0.1,
                                 scale.Measurement([run_of(0)]), decoders)  # fmt: skip

    monkeypatch.setattr(scale, "measure_scale", measure)


@pytest.mark.usefixtures("measured")
def test_scale_prints_both_tables_from_few_layers_to_many(bench):
    done = bench(*SCALE)
    assert done.exit_code == 0, done.output
    for text in ("Export of", "beyond copying, median", "GPT-3's width", "ms a layer", "5 s and 500 MB", "438 MB"):
        assert text in done.stdout
    rows = [line.split()[0] for line in done.stdout.splitlines() if line.strip().startswith(("1 ", "2 "))]
    assert rows == ["1", "2"]
    assert "busy" not in done.stdout


def test_scale_measures_and_prints_json_alone(bench, tmp_path):
    done = bench(*SCALE, "--json", "--save", str(tmp_path / "out.json"))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((tmp_path / "out.json").read_text())


@pytest.mark.usefixtures("measured")
def test_required_limits_decide_the_exit_code(bench, monkeypatch):
    from tfgraph.bench import scale

    monkeypatch.setattr(scale, "DECODER_SECONDS", 0.0)
    assert bench(*SCALE).exit_code == 0
    done = bench(*SCALE, "--require-limits")
    assert done.exit_code == 1
    assert "exceeded: seconds of the largest decoder" in done.stdout


def test_write_measures_and_prints_json_alone(bench, tmp_path):
    done = bench("write", "--rounds", "1", "--folder", str(tmp_path), "--json", "--save", str(tmp_path / "out.json"))
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / "out.json").read_text())
    assert printed["model"]["hidden_size"] == 32
    assert len(printed["copy_seconds"]) == len(printed["exports"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(("seconds", "code"), [(4.0, 0), (40.0, 1)])
def test_write_prints_a_table_and_its_limits_decide_the_exit_code(bench, monkeypatch, seconds, code):
    from tfgraph.bench import write

    def measure(settings, **_callbacks):
        run = {"seconds": seconds, "cpu_seconds": 3.5, "peak_memory": 380_000_000}
        machine = {"cpu": "a cpu", "cores": 2, "system": "Linux", "versions": {}}
        return write.WriteReport(settings, machine, 0.1, 8 * 10**9, [(3.0, 3.2)], [run])

    monkeypatch.setattr(write, "measure_write", measure)
    done = bench("write", "--layers", "3", "--rounds", "1", "--require-limits")
    assert done.exit_code == code, done.output
    for text in ("LLaMA, 3 layers of 32, float16, 8.00 GB of files", "until it is on the disk", "at most 380 MB"):
        assert text in done.stdout
    assert ("exceeded: speed of the export" in done.stdout) is bool(code)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("write", "--model", "llama-7c"), 1, "'llama-7c'"),
        (("write", "--dtype", "int8"), 1, "cannot make a checkpoint in int8: expected float16 or float32"),
        (("write", "--folder", "/absent"), 1, "cannot make files in /absent: there is no such folder"),
        (("encoder", "--shape", "8*128"), 1, "'8*128' is no shape: expected BATCHxLENGTH, such as 8x128"),
        ((*ENCODER, "--only", "tensorflow"), 1, "unknown candidate 'tensorflow'"),
        ((*ENCODER, "--chart", "out.png"), 1, "charts are drawn as SVG, and 'out.png' is no such name"),
        (("decode", "--new", "1"), 2, "--new"),
        (("decode", "--model", "/absent/model"), 1, "/absent/model"),
        (("texts", "--count", "0"), 2, "--count"),
        (("texts", "--model", "/absent/model"), 1, "/absent/model"),
        (("encoder", "--shape", "1x17"), 1, "the model takes at most 16 tokens, and the shape is 1x17"),
        (("encoder", "--runs", "0"), 2, "--runs"),
        (("scale", "--layers", "0"), 2, "--layers"),
    ],
)
def test_wrong_options_are_one_message(bench, arguments, code, message):
    done = bench(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.usefixtures("measured")
def test_a_file_that_cannot_be_saved_is_named(bench, tmp_path):
    done = bench(*SCALE, "--save", str(tmp_path / "absent" / "out.json"))
    assert done.exit_code == 1
    assert "error: cannot write" in done.stderr
