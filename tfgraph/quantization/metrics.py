"""How far the outputs of two models are apart: cosine, agreement of the likeliest token, divergence, perplexity.

A `Tally` gathers one metric over the cases of a calibration set. What bound a user sets is in `budget.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Array

EMBEDDING = "sentence_embedding"
LOGITS = "logits"
_CACHES = ("present", "past")


@dataclass
class Tally:
    """All metrics that apply to the measured outputs, over the cases added so far."""

    outputs: tuple[str, ...]
    _cosine: float = 1.0
    _relative: float = 0.0
    _tokens: int = 0
    _agreeing: int = 0
    _divergence: float = 0.0
    _predicted: int = 0
    _losses: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def add(self, inputs: Mapping[str, Array], expected: Mapping[str, Array], found: Mapping[str, Array]) -> None:
        """Add the outputs of one case; those at padded places do not count."""
        for name in self.outputs:
            wanted, got = (_at_tokens(each[name], inputs) for each in (expected, found))
            self._cosine = _least(self._cosine, cosine(wanted, got))
            self._relative = _most(self._relative, relative(wanted, got))
            if name == LOGITS:
                self._add_scores(wanted, got)
                self._add_losses(inputs, expected[name], found[name])

    def values(self) -> dict[str, float]:
        """The metrics that could be measured, by name."""
        values = {"cosine": self._cosine, "relative": self._relative}
        if self._tokens:
            values["top1"] = self._agreeing / self._tokens
            values["kl"] = max(0.0, self._divergence / self._tokens)
        if self._predicted:
            ours, theirs = (loss / self._predicted for loss in self._losses)
            values["perplexity"] = math.exp(min(ours - theirs, 700.0)) if math.isfinite(ours) else math.nan
        return values

    def value(self, metric: str) -> float:
        """The metric called `metric`.

        Raises:
            ConfigError: it cannot be measured on this model.
        """
        values = self.values()
        if metric not in values:
            raise ConfigError(
                f"{metric} cannot be measured on {', '.join(self.outputs)}: it needs an output '{LOGITS}' with a score "
                f"for each token{' and calibration inputs with input_ids' if metric == 'perplexity' else ''}; choose a "
                f"budget of {' or '.join(values)}"
            )
        return values[metric]

    def _add_scores(self, wanted: Array, got: Array) -> None:
        wide, other = _rows(wanted), _rows(got)
        self._tokens += len(wide)
        self._agreeing += int((wide.argmax(-1) == other.argmax(-1)).sum()) if np.isfinite(other).all() else 0
        ours, theirs = log_softmax(wide), log_softmax(other)
        self._divergence += float((np.exp(ours) * (ours - theirs)).sum())

    def _add_losses(self, inputs: Mapping[str, Array], wanted: Array, got: Array) -> None:
        """Negative log-likelihoods of the tokens that follow, where the model gives scores at every position."""
        ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
        if ids is None or wanted.ndim != 3 or wanted.shape[:2] != ids.shape or ids.shape[1] < 2:
            return
        real = np.ones(ids.shape, bool) if mask is None or mask.shape != ids.shape else mask != 0
        counted = real[:, :-1] & real[:, 1:]
        following = ids[:, 1:][counted]
        self._predicted += len(following)
        for index, scores in enumerate((got, wanted)):
            rows = log_softmax(scores[:, :-1][counted].astype(np.float64))
            self._losses[index] -= float(rows[np.arange(len(following)), following].sum())


def measured_outputs(outputs: Mapping[str, bool]) -> tuple[str, ...]:
    """Which of a model's outputs are compared: the sentence's vector, else the logits, else all floats but caches.

    `outputs` says of each output whether it holds floating-point numbers.

    Raises:
        ConfigError: there is none.
    """
    for name in (EMBEDDING, LOGITS):
        if outputs.get(name):
            return (name,)
    names = tuple(name for name, is_float in outputs.items() if is_float and not name.startswith(_CACHES))
    if not names:
        raise ConfigError(
            f"the model gives {', '.join(outputs) or 'nothing'}: no floating-point result whose error could be measured"
        )
    return names


def cosine(wanted: Array, got: Array) -> float:
    """The smallest cosine of the vectors along the last axis; 1 where both are zero, 0 where one is. NaN stays NaN."""
    a, b = _rows(wanted), _rows(got)
    norms = np.linalg.norm(a, axis=-1), np.linalg.norm(b, axis=-1)
    both = (norms[0] == 0) & (norms[1] == 0)
    lengths = norms[0] * norms[1]
    values = np.where(both, 1.0, (a * b).sum(-1) / np.where(lengths == 0, 1.0, lengths))
    return float(np.minimum(values, 1.0).min()) if values.size else 1.0


def relative(wanted: Array, got: Array) -> float:
    """The Frobenius norm of the difference, relative to that of `wanted`."""
    a, b = _rows(wanted), _rows(got)
    norm = float(np.linalg.norm(a))
    return float(np.linalg.norm(a - b)) / (norm or 1.0)


def log_softmax(scores: Array) -> Array:
    """The logarithms of the probabilities along the last axis, [..., V]."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _rows(array: Array) -> Array:
    """[R, N], in float64."""
    wide = np.asarray(array, np.float64)
    return wide.reshape(-1, wide.shape[-1]) if wide.ndim > 1 else wide.reshape(1, -1)


def _at_tokens(array: Array, inputs: Mapping[str, Array]) -> Array:
    """The rows [R, N] at real tokens, where the output has a row for each; everything elsewhere."""
    mask = inputs.get("attention_mask")
    if mask is None or array.ndim < 3 or array.shape[:2] != mask.shape:
        return array
    return np.asarray(array[mask != 0])


def _least(first: float, second: float) -> float:
    return math.nan if math.isnan(first) or math.isnan(second) else min(first, second)


def _most(first: float, second: float) -> float:
    return math.nan if math.isnan(first) or math.isnan(second) else max(first, second)
