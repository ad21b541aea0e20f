"""From a model's scores to answers: labels with probabilities, tokens for masks, spans of text; one function a task.

All are numpy over the outputs of one batch. Cutting texts into batches and running them is in `artefact.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tfgraph.errors import ConfigError, InputError
from tfgraph.ir.constant import Array
from tfgraph.manifest import MANIFEST_FILE, Manifest
from tfgraph.tokenizer import Token, Tokenizer

NEXT_SENTENCE_LABELS: Final = ("next", "random")
_LONGEST_ANSWER: Final = 30  # tokens


@dataclass(frozen=True)
class Classification:
    """The likeliest label, its score, and the score of every label.

    Scores are probabilities that add up to 1; independent ones where several labels may hold at once; and the model's
    own number where it was trained for regression.
    """

    label: str
    score: float
    scores: dict[str, float]


@dataclass(frozen=True)
class TokenChoice:
    """A token of the vocabulary and its probability."""

    token: str
    score: float


@dataclass(frozen=True)
class MaskedToken:
    """A masked place: which token of the text it is, from 0, and what it is likely to be, the likeliest first."""

    position: int
    choices: tuple[TokenChoice, ...]


@dataclass(frozen=True)
class TokenLabel:
    """A token, the characters `start` to `end` of the text (or of text number `part` of a pair), and its label."""

    token: str
    part: int
    start: int
    end: int
    label: str
    score: float


@dataclass(frozen=True)
class Answer:
    """An answer: characters `start` to `end` of the second text, and its probability among the spans of that text."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Choice:
    """Which of several texts fits best, from 0, and the probability of each."""

    best: int
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Batch:
    """Texts that were run together.

    Attributes:
        texts: the texts, or pairs of texts.
        inputs: what the model got, [B, S] each, padded on the right.
        outputs: what it gave, by name.
        top: how many candidates to give where there are many.
    """

    texts: Sequence[Any]
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    manifest: Manifest
    tokenizer: Tokenizer
    top: int

    def tokens(self) -> list[list[Token]]:
        """The tokens of each text, with their places in it."""
        return self.tokenizer.tokens(self.texts, max_length=self.manifest.max_length)


def softmax(scores: Array) -> Array:
    """Probabilities over the last axis: `exp(x_i) / sum_j exp(x_j)`, in float64."""
    wide = scores.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def classify(batch: Batch) -> list[Classification]:
    """`logits` [B, N] as one classification a text."""
    logits, problem = batch.outputs["logits"], batch.manifest.model.get("problem_type")
    if problem == "regression":
        scores = logits.astype(np.float64)
    elif problem == "multi_label_classification":
        scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    else:
        scores = softmax(logits)
    return [_classification(row, _labels(batch)) for row in scores]


def follows(batch: Batch) -> list[Classification]:
    """`logits` [B, 2] as whether the second text of each pair follows the first: "next", or "random".

    Raises:
        InputError: a text is no pair.
    """
    _require_pairs(batch, "a text and one that may follow it")
    return [_classification(row, NEXT_SENTENCE_LABELS) for row in softmax(batch.outputs["logits"])]


def _labels(batch: Batch) -> tuple[str, ...]:
    """The names of the classes.

    Raises:
        ConfigError: there is not one for each score.
    """
    labels, count = batch.manifest.labels, batch.outputs["logits"].shape[-1]
    if len(labels) != count:
        raise ConfigError(
            f"{MANIFEST_FILE} names {len(labels)} labels, and the model gives {count} scores: export it again"
        )
    return labels


def _classification(scores: Array, labels: Sequence[str]) -> Classification:
    named = {label: float(score) for label, score in zip(labels, scores, strict=True)}
    best = labels[int(scores.argmax())]
    return Classification(best, named[best], named)


def fill_masks(batch: Batch) -> list[tuple[MaskedToken, ...]]:
    """`logits` [B, S, vocab] as the likeliest tokens at each masked place of each text.

    Raises:
        InputError: the tokenizer has no mask token, or a text has none in it.
    """
    mask = batch.tokenizer.special_tokens.get("mask_token")
    if mask is None:
        raise InputError("the tokenizer has no mask token, so that no text can have a masked place")
    masked = batch.inputs["input_ids"] == batch.tokenizer.token_id(mask)  # [B, S]
    filled = []
    for text, row, places in zip(batch.texts, batch.outputs["logits"], masked, strict=True):
        positions = np.flatnonzero(places)
        if not len(positions):
            raise InputError(f"{text!r} has no {mask}: put one where the model is to predict a token")
        filled.append(tuple(MaskedToken(int(place), _likeliest(row[place], batch)) for place in positions))
    return filled


def _likeliest(logits: Array, batch: Batch) -> tuple[TokenChoice, ...]:
    """The likeliest tokens of one place; `logits` [vocab]."""
    scores = softmax(logits)
    best = np.argsort(-scores, kind="stable")[: batch.top]
    return tuple(TokenChoice(batch.tokenizer.decode([int(number)], False), float(scores[number])) for number in best)


def label_tokens(batch: Batch) -> list[tuple[TokenLabel, ...]]:
    """`logits` [B, S, N] as a label for each token of each text; special tokens are left out."""
    scores = softmax(batch.outputs["logits"])
    best = scores.argmax(axis=-1)  # [B, S]
    labels = _labels(batch)
    return [
        tuple(
            TokenLabel(token.text, token.part, token.start, token.end, labels[number], float(row[place, number]))
            for place, (token, number) in enumerate(zip(tokens, numbers, strict=False))  # the rest is padding
            if token.part is not None
        )
        for tokens, row, numbers in zip(batch.tokens(), scores, best, strict=True)
    ]


def answer(batch: Batch) -> list[Answer]:
    """`start_logits`, `end_logits` [B, S] as the likeliest span of the second text of each pair.

    The score of a span is `P(start) P(end)`, both over the tokens of the second text; a span has at most 30 tokens.
    What was cut off a text that is too long is not searched.

    Source: Devlin et al., "BERT", 2019, section 4.2.

    Raises:
        InputError: a text is no pair, or its second text has no tokens.
    """
    _require_pairs(batch, "a question and a text that has the answer")
    starts, ends = batch.outputs["start_logits"], batch.outputs["end_logits"]
    answers = []
    for pair, tokens, start, end in zip(batch.texts, batch.tokens(), starts, ends, strict=True):
        places = [place for place, token in enumerate(tokens) if token.part == 1]
        if not places:
            raise InputError(f"there is nothing to find an answer in: the second text of {pair!r} has no tokens")
        spans = np.outer(softmax(start[places]), softmax(end[places]))  # [start, end]
        spans = np.tril(np.triu(spans), _LONGEST_ANSWER - 1)
        first, last = np.unravel_index(int(spans.argmax()), spans.shape)
        begin, finish = tokens[places[int(first)]].start, tokens[places[int(last)]].end
        answers.append(Answer(pair[1][begin:finish], begin, finish, float(spans[first, last])))
    return answers


def _require_pairs(batch: Batch, what: str) -> None:
    for text in batch.texts:
        if isinstance(text, str):
            task = batch.manifest.task
            raise InputError(f"a model for {task} takes pairs of texts, {what}; found the one text {text!r}")


def choose_text(outputs: Mapping[str, Array]) -> Choice:
    """`logits` [1, C] as a choice among C texts."""
    scores = softmax(outputs["logits"][0])
    return Choice(int(scores.argmax()), tuple(float(score) for score in scores))


PREDICTIONS: Final[Mapping[str, Callable[[Batch], Sequence[Any]]]] = {
    "sequence-classification": classify,
    "next-sentence": follows,
    "masked-lm": fill_masks,
    "token-classification": label_tokens,
    "question-answering": answer,
}
"""Task to what makes answers of its outputs. Multiple choice, whose texts belong together, is apart: `choose_text`."""
