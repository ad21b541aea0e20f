"""Prefixes and old names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.checkpoints.names import detect_prefix, modern_name, spellings

BODY = ["embeddings.word.weight", "encoder.layer.0.query.weight", "encoder.layer.0.norm.weight", "pooler.dense.bias"]
HEAD = ["classifier.weight", "classifier.bias"]


def _with(prefix, names):
    return [prefix + name for name in names]


@pytest.mark.parametrize(
    "names, expected, prefix",
    [
        (BODY, BODY, ""),
        (_with("bert.", BODY), _with("bert.", BODY), ""),
        (_with("bert.", BODY), BODY, "bert."),
        (BODY, _with("bert.", BODY), "bert."),
        (BODY, _with("bert.", BODY) + HEAD, "bert."),
        (_with("bert.", BODY) + HEAD, BODY, "bert."),
        (_with("model.encoder.", BODY), BODY, "model.encoder."),
        (_with("model.bert.", BODY), _with("bert.", BODY), "model."),
        (["bert.norm.gamma", "bert.norm.beta"], ["norm.weight", "norm.bias"], "bert."),
        (["something.else"], BODY, ""),
        ([], BODY, ""),
        (BODY, [], ""),
    ],
)
def test_detect_prefix(names, expected, prefix):
    assert detect_prefix(names, expected) == prefix


def test_a_suffix_that_happens_to_agree_is_no_prefix():
    assert detect_prefix([*BODY, "other.pooler.dense.bias"], BODY) == ""


PART = st.text("abc", min_size=1, max_size=2)
NAMES = st.lists(st.lists(PART, min_size=1, max_size=4).map(".".join), min_size=1, max_size=8, unique=True)


@settings(derandomize=True, deadline=None)
@given(names=NAMES, prefix=st.lists(PART, min_size=1, max_size=2).map(lambda parts: ".".join(parts) + "."))
def test_a_prefix_on_either_side_pairs_as_many_names_as_that_prefix_would(names, prefix):
    longer = _with(prefix, names)
    for given_names, expected in ((longer, names), (names, longer)):
        found = detect_prefix(given_names, expected)
        paired = {each for name in given_names for each in spellings(name, found)} & set(expected)
        assert len(paired) == len(expected)


@pytest.mark.parametrize(
    "name, modern",
    [
        ("a.LayerNorm.gamma", "a.LayerNorm.weight"),
        ("a.LayerNorm.beta", "a.LayerNorm.bias"),
        ("gamma", "weight"),
        ("a.gamma.b", "a.gamma.b"),
        ("a.my_gamma", "a.my_gamma"),
    ],
)
def test_modern_name(name, modern):
    assert modern_name(name) == modern


def test_spellings_begin_with_the_name_itself():
    assert list(spellings("bert.norm.gamma", "bert.")) == [
        "bert.norm.gamma",
        "norm.gamma",
        "bert.bert.norm.gamma",
        "bert.norm.weight",
        "norm.weight",
        "bert.bert.norm.weight",
    ]
    assert list(spellings("norm.weight", "")) == ["norm.weight"]
