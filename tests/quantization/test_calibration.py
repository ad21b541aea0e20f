"""Calibration inputs: texts, files and arrays, split; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tfgraph as tg
from tests.text_checkpoints import write_stories
from tests.tiny_checkpoint import write_checkpoint
from tfgraph.errors import ConfigError, InputError
from tfgraph.quantization.calibration import check_cases, from_arrays, from_texts, read_arrays, read_texts

TEXTS = ["the cat sat", "the dog sat on the mat", "a red cat", "it rains inside", "where is the dog ?"]


def test_texts_of_a_list_and_of_a_file(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("the cat\n\n a dog\n", encoding="utf-8")
    assert read_texts(path) == read_texts(str(path)) == ["the cat", " a dog"]
    assert read_texts(TEXTS) == TEXTS
    assert read_texts([{"x": np.ones(2)}]) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "calibration is nothing"),
        (3, "calibration is int"),
        (["a", {"x": 1}], "only texts, or only dicts"),
        ([1, 2], "holds a int"),
        ("nowhere.txt", "cannot read the calibration texts in nowhere.txt"),
    ],
)
def test_what_is_refused(given, expected):
    with pytest.raises(InputError, match=expected):
        read_texts(given)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(InputError, match="holds no calibration text"):
        read_texts(tmp_path / "empty.txt")


def test_half_of_the_texts_are_held_out_and_none_is_in_both(tmp_path):
    model = tg.load(write_checkpoint(tmp_path / "bert"))
    found = from_texts(model, TEXTS, windows=False)
    rows = [
        tuple(row[row > 0]) for cases in (found.cases, found.held_out) for case in cases for row in case["input_ids"]
    ]
    assert len(set(rows)) == len(rows) == len(TEXTS)
    assert sum(len(case["input_ids"]) for case in found.held_out) == 2
    assert set(found.cases[0]) == set(model.input_specs)


def test_windows_of_running_text(tmp_path):
    model = tg.load(write_stories(tmp_path / "stories"), task="causal-lm")
    text = "Once upon a time there was an old lighthouse by the sea."
    found = from_texts(model, [text] * 40, windows=True)
    shapes = {case["input_ids"].shape for case in (*found.cases, *found.held_out)}
    assert len(shapes) == 1 and shapes.pop()[0] == 1
    assert all(case["attention_mask"].all() for case in found.cases)


def test_too_few(tmp_path):
    model = tg.load(write_checkpoint(tmp_path / "bert"))
    with pytest.raises(InputError, match="1 texts: expected at least 2"):
        from_texts(model, ["the cat"], windows=False)
    with pytest.raises(InputError, match="1 inputs: expected at least 2"):
        from_arrays([{"x": [1.0]}])


def test_a_checkpoint_without_a_tokenizer(tmp_path):
    model = tg.load(write_checkpoint(tmp_path / "bert", tokenizer=False))
    with pytest.raises(InputError, match="has no tokenizer, so that texts cannot calibrate it"):
        from_texts(model, TEXTS, windows=False)


def test_arrays_of_a_file(tmp_path):
    np.savez(tmp_path / "inputs.npz", x=np.arange(6.0).reshape(3, 2), y=np.arange(3))
    cases = read_arrays(tmp_path / "inputs.npz")
    assert [case["x"].tolist() for case in cases] == [[[0, 1]], [[2, 3]], [[4, 5]]]
    assert [case["y"].tolist() for case in cases] == [[0], [1], [2]]


def test_files_that_are_no_arrays(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "uneven.npz", x=np.ones((3, 2)), y=np.ones(2))
    np.savez(tmp_path / "nothing.npz")
    for name, expected in (("text", "cannot read"), ("uneven", "same number of rows"), ("nothing", "holds nothing")):
        with pytest.raises(InputError, match=expected):
            read_arrays(tmp_path / f"{name}.npz")


def test_inputs_of_another_model():
    with pytest.raises(ConfigError, match="calibration input 1 does not fit the model: it lacks y, and has z"):
        check_cases([{"x": np.ones(1), "y": np.ones(1)}, {"x": np.ones(1), "z": np.ones(1)}], ["x", "y"])
