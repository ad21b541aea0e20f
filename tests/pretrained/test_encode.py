"""From texts to a model's inputs, with the checkpoint's tokenizer and limits."""

from __future__ import annotations

import pytest

from tfgraph.errors import CheckpointError, InputError
from tfgraph.ir.interpret import interpret
from tfgraph.pretrained import load


def test_texts_become_inputs(tmp_path, folders):
    folder = folders.write(tmp_path)
    folders.write_vocabulary(folder)
    inputs = load(folder).encode(["a b", "c"], padding="left")
    assert {name: array.tolist() for name, array in inputs.items()} == {
        "input_ids": [[2, 5, 6, 3], [0, 2, 7, 3]],
        "attention_mask": [[1, 1, 1, 1], [0, 1, 1, 1]],
        "token_type_ids": [[0, 0, 0, 0], [0, 0, 0, 0]],
    }
    assert load(folder).encode([("a", "b c")])["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1]]


def test_texts_are_truncated_to_what_the_model_takes(tmp_path, folders):
    folder = folders.write(tmp_path)
    folders.write_vocabulary(folder)
    assert load(folder).encode(["a " * 30])["input_ids"].shape == (1, 10)
    assert load(folder).encode(["a " * 30], max_length=5)["input_ids"].shape == (1, 5)
    folders.write_pooling(folder, max_seq_length=6)
    assert load(folder).encode(["a " * 30])["input_ids"].shape == (1, 6)
    assert load(folder).encode(["a " * 30], max_length=9)["input_ids"].shape == (1, 9)
    with pytest.raises(InputError, match="max_length is 11, and this model takes at most 10 tokens"):
        load(folder).encode(["a"], max_length=11)
    with pytest.raises(InputError, match="max_length must be an integer above 2"):
        load(folder).encode(["a"], max_length=0)


def test_texts_are_lower_cased_where_the_settings_say_so(tmp_path, folders):
    folder = folders.write(tmp_path)
    folders.write_vocabulary(folder)
    folders.write_pooling(folder, do_lower_case=True)
    pretrained = load(folder)
    assert pretrained.encode(["A b"])["input_ids"].tolist() == [[2, 5, 6, 3]]
    assert pretrained.encode([("A", "B")])["input_ids"].tolist() == [[2, 5, 3, 6, 3]]
    assert load(folder, task="base").encode(["A b"])["input_ids"].tolist() == [[2, 1, 6, 3]]
    for wrong in ("A b", [3], [("A", 3)], 3):
        with pytest.raises(InputError):
            pretrained.encode(wrong)


def test_choices_are_those_of_one_question(tmp_path, folders):
    folder = folders.write(tmp_path, "BertForMultipleChoice")
    folders.write_vocabulary(folder)
    pretrained = load(folder)
    inputs = pretrained.encode([("a", "b"), ("a", "c d")])
    assert inputs["input_ids"].shape == (1, 2, 6)
    assert interpret(pretrained.trace(), inputs)["logits"].shape == (1, 2)


def test_a_folder_without_tokenizer(tmp_path, folders):
    pretrained = load(folders.write(tmp_path))
    assert pretrained.tokenizer is None
    with pytest.raises(InputError, match=r"has no tokenizer, tokenizer.json or vocab.txt: give the model token ids"):
        pretrained.encode(["a"])


def test_a_damaged_tokenizer_does_not_hinder_the_model(tmp_path, folders):
    folder = folders.write(tmp_path)
    (folder / "tokenizer.json").write_text("{")
    pretrained = load(folder)
    assert "last_hidden_state" in folders.run(pretrained)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        pretrained.encode(["a"])
