"""`tfgraph.open`: vectors and answers for texts, checked against what they are defined as; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph as tg
from tests.tiny_checkpoint import CONFIG, VOCABULARY, write_checkpoint
from tfgraph.errors import CheckpointError, ConfigError, InputError, OnnxError
from tfgraph.predictions import Answer, Choice, Classification, MaskedToken, TokenLabel

TEXTS = ["the cat sat on the mat.", "a dog", "it rains", "the red dog runs to the blue cat, the cat sleeps.", "who?"]
PAIR = ("who sat on the mat?", "the red cat sat on the mat. a dog runs.")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tg.Artefact]:
    """`exported(task, **settings)`: a tiny checkpoint, exported and opened; made once for the same arguments."""
    made: dict[str, tg.Artefact] = {}

    def export(task: str = "sentence-embedding", **settings: Any) -> tg.Artefact:
        key = json.dumps([task, settings], sort_keys=True)
        if key not in made:
            folder = tmp_path_factory.mktemp(task)
            checkpoint = write_checkpoint(folder / "checkpoint", task, **settings)
            tg.export(tg.load(checkpoint), folder / "out")
            made[key] = tg.open(folder / "out")
        return made[key]

    return export


@pytest.fixture
def embedder(exported: Callable[..., tg.Artefact]) -> tg.Artefact:
    return exported()


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(np.asarray(scores, np.float64))
    return powers / powers.sum(-1, keepdims=True)


# -- sentence embeddings ---------------------------------------------------------------------------------------------


def test_encode_is_the_normalised_mean_of_the_hidden_states(embedder):
    for text, vector in zip(TEXTS, embedder.encode(TEXTS), strict=True):
        hidden = embedder.run(embedder.inputs_of([text]))["last_hidden_state"][0]  # [S, H], no padding
        mean = hidden.astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_encode_keeps_the_order_whatever_the_batch_size(embedder, batch_size):
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    together = embedder.encode(TEXTS, batch_size=batch_size)
    assert together.dtype == np.float32 and together.shape == (len(TEXTS), CONFIG["hidden_size"])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_encode_runs_the_longest_texts_together(embedder, monkeypatch):
    batches = []
    run = embedder.session.run

    def record(inputs, outputs=None):
        batches.append(inputs["input_ids"].shape)
        return run(inputs, outputs)

    monkeypatch.setattr(embedder.session, "run", record)
    embedder.encode(TEXTS, batch_size=2)
    assert [rows for rows, _ in batches] == [2, 2, 1]
    lengths = [columns for _, columns in batches]
    assert lengths == sorted(lengths, reverse=True)


def test_encode_cuts_texts_to_the_length_of_the_checkpoint(embedder):
    cut = embedder.inputs_of(["cat " * 30])
    assert cut["input_ids"].shape == (1, 20)
    np.testing.assert_allclose(embedder.encode(["cat " * 30]), embedder.encode(["cat " * 18]), atol=1e-6)


def test_encode_of_no_texts_is_empty(embedder):
    assert embedder.encode([]).shape == (0, CONFIG["hidden_size"])


def test_encode_takes_pairs(embedder):
    assert embedder.inputs_of([PAIR])["token_type_ids"].max() == 1
    assert embedder.encode([PAIR, ("a", "dog")]).shape == (2, CONFIG["hidden_size"])


def test_texts_are_lower_cased_where_the_checkpoint_says_so(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    (checkpoint / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    (checkpoint / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    tg.export(tg.load(checkpoint), tmp_path / "out")
    lowered = tg.open(tmp_path / "out")
    assert lowered.inputs_of(["The CAT"])["input_ids"].tolist() == lowered.inputs_of(["the cat"])["input_ids"].tolist()
    assert lowered.inputs_of([("The", "CAT")])["input_ids"].tolist() == [[2, 5, 3, 7, 3]]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("the cat", "expected a list of texts, found str; for one text, give [text]"),
        (3, "expected a list of texts, found int"),
        (["cat", 3], "texts[1] is 3: expected a text, or a pair of texts"),
        ([("a", "b", "c")], "texts[0] is ('a', 'b', 'c'): expected a text, or a pair of texts"),
        (["cat", ("a", "b")], "texts[0] and texts[1]: one is a text, one a pair"),
    ],
)
def test_what_is_no_list_of_texts(embedder, texts, message):
    with pytest.raises(InputError) as caught:
        embedder.encode(texts)
    assert message in str(caught.value)


def test_batch_size_below_one(embedder):
    with pytest.raises(InputError, match="batch_size is 0: expected a whole number of at least 1"):
        embedder.encode(TEXTS, batch_size=0)


# -- answers ---------------------------------------------------------------------------------------------------------


def test_classification_is_the_softmax_over_the_labels(exported):
    model = exported("sequence-classification", id2label={"0": "bad", "1": "fine", "2": "good"})
    answers = model.predict(TEXTS, batch_size=2)
    for text, answer in zip(TEXTS, answers, strict=True):
        expected = softmax(model.run(model.inputs_of([text]))["logits"][0])
        assert isinstance(answer, Classification)
        assert list(answer.scores) == ["bad", "fine", "good"]
        np.testing.assert_allclose(list(answer.scores.values()), expected, atol=1e-5)
        assert answer.score == max(answer.scores.values()) == answer.scores[answer.label]


def test_several_labels_at_once_are_independent(exported):
    model = exported("sequence-classification", problem_type="multi_label_classification")
    logits = model.run(model.inputs_of(TEXTS[:1]))["logits"][0].astype(np.float64)
    (answer,) = model.predict(TEXTS[:1])
    np.testing.assert_allclose(list(answer.scores.values()), 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_regression_gives_the_number_itself(exported):
    model = exported("sequence-classification", problem_type="regression", id2label={"0": "stars"})
    (answer,) = model.predict(TEXTS[:1])
    assert answer.label == "stars"
    np.testing.assert_allclose(answer.score, model.run(model.inputs_of(TEXTS[:1]))["logits"][0, 0], rtol=1e-5)


def test_masked_tokens(exported):
    model = exported("masked-lm")
    text = "the [MASK] sat on the [MASK]."
    ((first, second),) = model.predict([text], top=3)
    assert isinstance(first, MaskedToken) and (first.position, second.position) == (2, 6)
    logits = model.run(model.inputs_of([text]))["logits"][0]
    for mask in (first, second):
        scores = softmax(logits[mask.position])
        best = np.argsort(-scores)[:3]
        assert [choice.token for choice in mask.choices] == [VOCABULARY[number] for number in best]
        np.testing.assert_allclose([choice.score for choice in mask.choices], scores[best], rtol=1e-5)


def test_a_text_without_a_mask(exported):
    with pytest.raises(InputError, match=r"'a dog' has no \[MASK\]: put one where the model is to predict a token"):
        exported("masked-lm").predict(["a [MASK]", "a dog"])


def test_token_labels(exported):
    model = exported("token-classification", id2label={"0": "O", "1": "ANIMAL"})
    texts = ["A Dog runs", "the cats sat on the mat."]  # "cats" is cat and ##s
    for text, labels in zip(texts, model.predict(texts), strict=True):
        scores = softmax(model.run(model.inputs_of([text]))["logits"][0])[1:-1]  # without [CLS] and [SEP]
        assert len(labels) == len(scores) and all(isinstance(label, TokenLabel) for label in labels)
        assert [label.label for label in labels] == [("O", "ANIMAL")[number] for number in scores.argmax(-1)]
        np.testing.assert_allclose([label.score for label in labels], scores.max(-1), rtol=1e-4)
        for label in labels:
            assert text[label.start : label.end].lower() == label.token.removeprefix("##")


def test_an_answer_is_the_likeliest_span_of_the_second_text(exported):
    model = exported("question-answering")
    pairs = [PAIR, ("where is it?", "the blue mat is inside"), ("where?", "cat")]
    for pair, answer in zip(pairs, model.predict(pairs), strict=True):
        tokens = model.tokenizer.tokens([pair])[0]
        outputs = model.run(model.inputs_of([pair]))
        places = [index for index, token in enumerate(tokens) if token.part == 1]
        start, end = (softmax(outputs[name][0, places]) for name in ("start_logits", "end_logits"))
        spans = {(i, j): start[i] * end[j] for i in range(len(places)) for j in range(i, min(len(places), i + 30))}
        first, last = max(spans, key=lambda span: spans[span])
        expected = pair[1][tokens[places[first]].start : tokens[places[last]].end]
        assert isinstance(answer, Answer)
        assert answer.text == expected == pair[1][answer.start : answer.end]
        assert answer.score == pytest.approx(spans[first, last], rel=1e-4)


def test_whether_a_sentence_follows(exported):
    model = exported("next-sentence")
    (answer,) = model.predict([PAIR])
    expected = softmax(model.run(model.inputs_of([PAIR]))["logits"][0])
    assert answer.scores == pytest.approx({"next": expected[0], "random": expected[1]}, rel=1e-4)


def test_the_best_of_several_texts(exported):
    model = exported("multiple-choice")
    choices = [("a cat", "sleeps"), ("a cat", "runs to the mat"), ("a cat", "rains")]
    (choice,) = model.predict([choices])
    logits = [model.run(model.inputs_of([each]))["logits"][0, 0] for each in choices]
    assert isinstance(choice, Choice) and choice.best == int(np.argmax(logits))
    np.testing.assert_allclose(choice.scores, softmax(np.array(logits)), rtol=1e-4)


@pytest.mark.parametrize("task", ["question-answering", "next-sentence"])
def test_a_text_where_a_pair_is_needed(exported, task):
    with pytest.raises(InputError, match=rf"a model for {task} takes pairs of texts, .*; found the one text 'a dog'"):
        exported(task).predict(["a dog"])


def test_an_empty_text_has_no_answer(exported):
    with pytest.raises(InputError, match=r"the second text of \('who\?', ''\) has no tokens"):
        exported("question-answering").predict([("who?", "")])


@pytest.mark.parametrize("task", ["base", "pre-training"])
def test_a_task_without_answers(exported, task):
    model = exported(task)
    with pytest.raises(InputError, match=f"a model for {task} answers nothing by itself: `run` gives its "):
        model.predict(TEXTS)
    with pytest.raises(InputError, match=r'no sentence_embedding: export the checkpoint with task="sentence-embed'):
        model.encode(TEXTS)


def test_vectors_are_no_answers(embedder):
    with pytest.raises(InputError, match="gives vectors, not answers: call `encode`"):
        embedder.predict(TEXTS)


# -- what `open` refuses ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(embedder: tg.Artefact, tmp_path: Path) -> Path:
    """A copy of an export, to be damaged."""
    for path in embedder.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_no_such_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere does not exist: expected a folder that tfgraph exported"):
        tg.open(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"has no tfgraph\.json: .*`tfgraph export CHECKPOINT OUT`"):
        tg.open(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        tg.open(tmp_path / ("x" * 300))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        tg.open(tmp_path / "file")


def test_a_model_that_is_missing_or_cut_off(folder):
    size = (folder / "model.onnx").stat().st_size
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-7])
    with pytest.raises(ConfigError, match=rf"has {size - 7} bytes where tfgraph\.json says {size}: the export is"):
        tg.open(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(ConfigError, match=r"model\.onnx is missing: the export is damaged"):
        tg.open(folder)


def test_a_model_of_the_right_size_that_is_damaged(folder):
    path = folder / "model.onnx"
    path.write_bytes(b"\xff" * path.stat().st_size)
    model = tg.open(folder)
    with pytest.raises(OnnxError, match="damaged"):
        model.session  # noqa: B018 - it is loaded when it is asked for


def test_no_tokenizer(folder):
    (folder / "vocab.txt").unlink()
    model = tg.open(folder)
    with pytest.raises(InputError, match="has no tokenizer: give `run` the model's inputs as arrays"):
        model.encode(["cat"])
    model.run({name: np.ones((1, 4), np.int64) for name in model.manifest.inputs})


def test_a_damaged_tokenizer(folder):
    (folder / "vocab.txt").write_text("cat\n")
    with pytest.raises(CheckpointError, match="lacks the special tokens"):
        tg.open(folder).encode(["cat"])


def test_labels_that_do_not_fit_the_model(exported, tmp_path):
    source = exported("sequence-classification").folder
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((tmp_path / "tfgraph.json").read_text())
    manifest["model"]["labels"] = ["only"]
    (tmp_path / "tfgraph.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"names 1 labels, and the model gives 2 scores: export it again"):
        tg.open(tmp_path).predict(["cat"])


def test_inputs_that_texts_do_not_give(tmp_path):
    tg.export(tg.trace(lambda x: x + 1, x=tg.spec("float32", ["n"])), tmp_path / "out")
    model = tg.open(tmp_path / "out")
    (tmp_path / "out" / "vocab.txt").write_text("\n".join(VOCABULARY))
    with pytest.raises(InputError, match="the model takes 'x', which texts do not give: call `run` with arrays"):
        model.inputs_of(["cat"])
    with pytest.raises(InputError, match="did not come from a checkpoint with a task: `run` gives its output"):
        model.predict(["cat"])


def test_session_settings_are_passed_on(embedder):
    model = tg.open(embedder.folder, provider="CPUExecutionProvider", num_threads=1)
    np.testing.assert_allclose(model.encode(TEXTS), embedder.encode(TEXTS), atol=1e-5)
