"""Vectors for many texts: the same whatever is run together, in their order, and no more padded than asked."""

from __future__ import annotations

import random

import numpy as np
import pytest

import tfgraph as tg
from tests.tiny_checkpoint import CONFIG, WORDS, write_checkpoint
from tfgraph import artefact
from tfgraph.errors import InputError


@pytest.fixture(scope="module", params=[False, True], ids=["padded", "unpadded"])
def embedder(request, tmp_path_factory) -> tg.Artefact:
    folder = tmp_path_factory.mktemp("embedder")
    tg.export(tg.load(write_checkpoint(folder / "checkpoint")), folder / "out", unpad=request.param)
    return tg.open(folder / "out")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(1)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 25))) for _ in range(60)]


@pytest.fixture(scope="module")
def alone(embedder, texts) -> np.ndarray:
    return np.concatenate([embedder.encode([text]) for text in texts])


@pytest.fixture
def batches(embedder, monkeypatch) -> list[np.ndarray]:
    """The masks of the batches that are run from now on."""
    masks: list[np.ndarray] = []
    run = embedder.session.run

    def record(inputs, outputs=None):
        masks.append(inputs["attention_mask"])
        return run(inputs, outputs)

    monkeypatch.setattr(embedder.session, "run", record)
    return masks


@pytest.mark.parametrize("max_tokens", [1, 40, 200, 100_000])
def test_vectors_do_not_depend_on_the_batches(embedder, texts, alone, batches, max_tokens):
    np.testing.assert_allclose(embedder.encode(texts, max_tokens=max_tokens), alone, atol=1e-5)
    assert all(mask.size <= max_tokens or len(mask) == 1 for mask in batches)
    assert len(batches) == len(texts) if max_tokens == 1 else len(batches) < len(texts)


def test_batches_are_of_equal_lengths_in_tokens_not_characters(embedder, batches):
    """Each of the many characters of `.` is a token; a word is one."""
    texts = ["." * 12, "sleeps inside sleeps inside", "." * 11, "sleeps inside sleeps"] * 3
    embedder.encode(texts, batch_size=6)
    assert [mask.shape for mask in batches] == [(6, 14), (6, 6)]


def test_windows_keep_the_order(embedder, texts, alone, batches, monkeypatch):
    monkeypatch.setattr(artefact, "WINDOW", 7)
    np.testing.assert_allclose(embedder.encode(texts), alone, atol=1e-5)
    assert len(batches) == 9 and max(map(len, batches)) == 7


def test_progress(embedder, texts):
    calls: list[tuple[int, int]] = []
    embedder.encode(texts, max_tokens=100, on_progress=lambda *call: calls.append(call))
    done = [count for count, _ in calls]
    assert done[0] == 0 and done[-1] == len(texts) and done == sorted(set(done))
    assert {total for _, total in calls} == {len(texts)}


def test_limits(embedder):
    with pytest.raises(InputError, match="max_tokens is 0: expected a whole number of at least 1"):
        embedder.encode(["cat"], max_tokens=0)
    with pytest.raises(InputError, match="batch_size is 'many': expected a whole number"):
        embedder.encode(["cat"], batch_size="many")
    assert embedder.encode([], max_tokens=5).shape == (0, CONFIG["hidden_size"])


def test_the_place_of_a_text_that_is_no_unicode(embedder, monkeypatch):
    monkeypatch.setattr(artefact, "WINDOW", 600)
    texts = ["cat"] * 700 + ["a \ud800"]
    with pytest.raises(InputError, match=r"texts\[700\] has '\\ud800', half of a surrogate pair"):
        embedder.encode(texts)


def test_texts_without_words_have_vectors(embedder):
    vectors = embedder.encode(["", "the cat", "   "])
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
