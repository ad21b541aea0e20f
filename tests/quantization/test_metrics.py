"""The metrics against their definitions, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tfgraph.errors import ConfigError
from tfgraph.quantization.metrics import Tally, cosine, log_softmax, measured_outputs, relative


def test_the_worst_cosine_of_the_rows():
    wanted = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert cosine(wanted, np.array([[2.0, 0.0], [1.0, 0.0]])) == pytest.approx(math.sqrt(0.5))
    assert cosine(np.zeros((1, 2)), np.zeros((1, 2))) == 1.0
    assert cosine(wanted, np.zeros((2, 2))) == 0.0
    assert math.isnan(cosine(wanted, np.full((2, 2), np.nan)))


def test_the_relative_error():
    assert relative(np.array([3.0, 4.0]), np.array([3.0, 4.5])) == pytest.approx(0.1)
    assert relative(np.zeros(3), np.zeros(3)) == 0.0


def test_agreement_divergence_and_perplexity(rng):
    wanted, got = rng.standard_normal((2, 2, 5, 7))
    ids = rng.integers(0, 7, (2, 5))
    tally = Tally(("logits",))
    tally.add({"input_ids": ids}, {"logits": wanted}, {"logits": got})
    p, q = np.exp(log_softmax(wanted)), np.exp(log_softmax(got))
    values = tally.values()
    assert values["top1"] == (wanted.argmax(-1) == got.argmax(-1)).mean()
    assert values["kl"] == pytest.approx((p * np.log(p / q)).sum(-1).mean())
    nll = [-np.log(np.take_along_axis(each[:, :-1], ids[:, 1:, None], 2)).mean() for each in (q, p)]
    assert values["perplexity"] == pytest.approx(math.exp(nll[0] - nll[1]))


def test_an_unchanged_model_has_no_error(rng):
    logits = rng.standard_normal((1, 4, 9)).astype(np.float32)
    tally = Tally(("logits",))
    tally.add({"input_ids": np.zeros((1, 4), np.int64)}, {"logits": logits}, {"logits": logits})
    assert tally.values() == pytest.approx({"cosine": 1, "relative": 0, "top1": 1, "kl": 0, "perplexity": 1})


def test_padding_does_not_count(rng):
    wanted = rng.standard_normal((2, 3, 4))
    got = wanted.copy()
    got[1, 2] = -100.0
    tally = Tally(("hidden",))
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    tally.add({"attention_mask": mask}, {"hidden": wanted}, {"hidden": got})
    assert tally.values() == pytest.approx({"cosine": 1.0, "relative": 0.0})


def test_cases_add_up_to_the_worst(rng):
    wanted = rng.standard_normal((3, 4))
    tally = Tally(("vector",))
    tally.add({}, {"vector": wanted}, {"vector": -wanted})
    tally.add({}, {"vector": wanted}, {"vector": wanted})
    assert tally.value("cosine") == pytest.approx(-1.0)
    assert tally.value("relative") == pytest.approx(2.0)


def test_a_metric_that_cannot_be_measured():
    tally = Tally(("sentence_embedding",))
    tally.add({}, {"sentence_embedding": np.ones((1, 2))}, {"sentence_embedding": np.ones((1, 2))})
    with pytest.raises(ConfigError, match="perplexity cannot be measured on sentence_embedding"):
        tally.value("perplexity")


def test_results_that_are_not_finite_are_no_agreement():
    scores = np.ones((1, 2, 3))
    tally = Tally(("logits",))
    tally.add({}, {"logits": scores}, {"logits": scores * np.nan})
    assert tally.value("top1") == 0.0
    assert math.isnan(tally.value("cosine"))


def test_which_outputs_are_compared():
    assert measured_outputs({"last_hidden_state": True, "sentence_embedding": True}) == ("sentence_embedding",)
    assert measured_outputs({"logits": True, "present.0.key": True}) == ("logits",)
    assert measured_outputs({"a": True, "ids": False, "present.0.key": True, "b": True}) == ("a", "b")
    with pytest.raises(ConfigError, match="no floating-point result"):
        measured_outputs({"ids": False})
