"""`tfgraph run`, for each task."""

from __future__ import annotations

import numpy as np
import pytest

import tfgraph as tg

TEXTS = ("--text", "the cat sat", "--text", "a dog [x]", "--text", "it rains")


def rows_of(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines() if line.strip()]


def test_embeddings(cli, exported):
    done = cli("run", exported(), *TEXTS)
    assert (done.code, done.stderr) == (0, "")
    vectors = tg.open(exported()).encode(["the cat sat", "a dog [x]", "it rains"])
    rows = rows_of(done.stdout)
    assert ["Sentence", "embeddings,", "16", "dimensions"] in rows
    first = [f"{value:+.4f}" for value in vectors[0][:4]]
    assert ["1", "the", "cat", "sat", "1.0000", *first, "…"] in rows
    assert "a dog [x]" in done.stdout
    for number, cosines in enumerate(vectors @ vectors.T, 1):
        assert [str(number), *(f"{cosine:.3f}" for cosine in cosines)] in rows


def test_one_text_has_nothing_to_be_similar_to(cli, exported):
    assert "Cosine" not in cli("run", exported(), "--text", "a cat").stdout


def test_embeddings_as_json(cli, exported):
    found = cli("run", exported(), *TEXTS, "--json").json
    assert found["task"] == "sentence-embedding"
    assert [result["text"] for result in found["results"]] == ["the cat sat", "a dog [x]", "it rains"]
    expected = tg.open(exported()).encode(["the cat sat", "a dog [x]", "it rains"])
    np.testing.assert_allclose([result["embedding"] for result in found["results"]], expected, atol=1e-6)


def test_numbers_that_json_lacks_become_null(cli, exported, monkeypatch):
    from tfgraph.artefact import Artefact

    monkeypatch.setattr(Artefact, "encode", lambda *arguments: np.array([[np.nan, np.inf, 1.0]], np.float32))
    assert cli("run", exported(), "--text", "a cat", "--json").json["results"][0]["embedding"] == [None, None, 1.0]


def test_texts_from_a_file_and_from_standard_input(cli, exported, tmp_path):
    (tmp_path / "texts").write_text("a cat\n\nthe größe\n", encoding="utf-8")
    texts = [
        result["text"] for result in cli("run", exported(), "--file", tmp_path / "texts", "--json").json["results"]
    ]
    assert texts == ["a cat", "the größe"]
    found = cli("run", exported(), "--file", "-", "--json", stdin="who?\tit was a cat\n").json
    assert found["results"][0]["text"] == ["who?", "it was a cat"]


def test_classification(cli, exported):
    out = exported("sequence-classification", id2label={"0": "bad", "1": "good"})
    answer, _ = tg.open(out).predict(["the cat", "it rains"])
    rows = rows_of(cli("run", out, "--text", "the cat", "--text", "it rains").stdout)
    other = "good" if answer.label == "bad" else "bad"
    assert ["the", "cat", answer.label, f"{answer.score:.4f}", other, f"{answer.scores[other]:.4f}"] in rows
    found = cli("run", out, "--text", "the cat", "--json").json["results"][0]["answer"]
    assert found["label"] == answer.label and found["scores"] == pytest.approx(answer.scores, rel=1e-5)


def test_masked_tokens(cli, exported):
    out = exported("masked-lm")
    ((mask,),) = tg.open(out).predict(["the [MASK] sat"], top=2)
    done = cli("run", out, "--text", "the [MASK] sat", "--top", "2")
    rows = rows_of(done.stdout)
    assert ["the", "[MASK]", "sat"] in rows
    assert ["mask", "at", "token", "2", mask.choices[0].token, f"{mask.choices[0].score:.4f}"] in rows
    assert [mask.choices[1].token, f"{mask.choices[1].score:.4f}"] in rows
    found = cli("run", out, "--text", "the [MASK] sat", "--top", "2", "--json").json["results"][0]["answer"]
    assert [choice["token"] for choice in found[0]["choices"]] == [choice.token for choice in mask.choices]


def test_answers(cli, exported):
    out = exported("question-answering")
    pair = ("who sat?", "the red cat sat on the mat")
    (answer,) = tg.open(out).predict([pair])
    found = cli("run", out, "--pair", *pair, "--json").json["results"][0]
    assert found["text"] == list(pair)
    assert found["answer"]["text"] == answer.text == pair[1][found["answer"]["start"] : found["answer"]["end"]]
    rows = rows_of(cli("run", out, "--pair", *pair).stdout)
    assert [
        "who",
        "sat?",
        *answer.text.split(),
        str(answer.start),
        "to",
        str(answer.end),
        f"{answer.score:.4f}",
    ] in rows


def test_token_labels(cli, exported):
    out = exported("token-classification", id2label={"0": "O", "1": "ANIMAL"})
    (labels,) = tg.open(out).predict(["the cat sat"])
    rows = rows_of(cli("run", out, "--text", "the cat sat").stdout)
    for label in labels:
        assert [label.token, label.label, f"{label.score:.4f}", str(label.start), "to", str(label.end)] in rows
    found = cli("run", out, "--text", "the cat sat", "--json").json["results"][0]["answer"]
    assert [part["token"] for part in found] == ["the", "cat", "sat"]


def test_choices(cli, exported):
    out = exported("multiple-choice")
    found = cli("run", out, *TEXTS, "--json").json
    assert sum(found["result"]["scores"]) == pytest.approx(1)
    rows = rows_of(cli("run", out, *TEXTS).stdout)
    chosen = [row for row in rows if "chosen" in row]
    assert len(chosen) == 1 and chosen[0][-1] == f"{max(found['result']['scores']):.4f}"


def test_whether_a_sentence_follows(cli, exported):
    found = cli("run", exported("next-sentence"), "--pair", "it rains", "the dog runs inside", "--json").json
    assert set(found["results"][0]["answer"]["scores"]) == {"next", "random"}


def test_a_task_without_answers_gives_the_outputs(cli, exported):
    out = exported("base")
    done = cli("run", out, "--text", "the cat")
    assert rows_of(done.stdout)[3][:4] == ["last_hidden_state", "float32[1,", "4,", "16]"]
    assert "--json prints all of their values." in done.stdout
    found = cli("run", out, "--text", "the cat", "--json").json["outputs"]
    assert found["last_hidden_state"]["shape"] == list(np.shape(found["last_hidden_state"]["values"])) == [1, 4, 16]


def test_a_long_text_is_shortened_in_tables(cli, exported):
    text = "cat " * 40
    assert f"{text[:59]}…" in cli("run", exported(), "--text", text).stdout


def test_errors(cli, exported, tmp_path):
    (tmp_path / "latin").write_bytes(b"\xe9\n")
    (tmp_path / "blank").write_text("\n\n")
    for arguments, message in (
        ((exported("masked-lm"), "--text", "a cat"), "'a cat' has no [MASK]"),
        ((exported("question-answering"), "--text", "a cat"), "takes pairs of texts"),
        ((exported(), "--file", tmp_path / "nowhere"), "nowhere: No such file or directory"),
        ((exported(), "--file", tmp_path / "latin"), "latin is not UTF-8 text"),
        ((exported(), "--text", "a", "--pair", "a", "b"), "one is a text, one a pair"),
    ):
        done = cli("run", *arguments)
        assert (done.code, done.stdout) == (1, "")
        assert message in done.stderr
    assert cli("run", exported(), "--file", tmp_path / "blank").code == 2
