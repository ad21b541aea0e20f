"""Drawing a token from the scores of one row: temperature, top-k, top-p and min-p narrow them down, then it is drawn.

The filters are transformers', in its order, except that tokens tied with the last one that a filter keeps are kept as
well: which of them an unstable sort puts first would depend on the machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tfgraph.generation.decoder import Ids, Scores
from tfgraph.generation.selection import kth_largest
from tfgraph.generation.settings import GenerationSettings

_BLOCK = 256  # tokens summed up at a time, to find where a draw falls
SMALLEST_TEMPERATURE = float(np.finfo(np.float32).tiny)
"""What a lower temperature counts as; 0 itself is greedy decoding and does not come here."""


def distribution(scores: Scores, settings: GenerationSettings) -> tuple[Ids, NDArray[np.float32]]:
    """The tokens that may be drawn and how likely each is.

    Args:
        scores: float32 [V], with a finite largest one.
        settings: `temperature` above 0, `top_k`, `top_p` and `min_p`.

    Returns:
        Token ids in ascending order, int64 [K], and their weights relative to the likeliest, float32 [K], all above 0.
    """
    token_ids = None
    if 0 < settings.top_k < scores.size:
        token_ids = np.flatnonzero(scores >= kth_largest(scores, settings.top_k))
        scores = scores[token_ids]
    temperature = np.float32(max(settings.temperature, SMALLEST_TEMPERATURE))
    with np.errstate(over="ignore"):  # a tiny temperature leaves the likeliest alone: exp(-inf) = 0
        weights = np.exp((scores - scores.max()) / temperature)
    keep = weights > 0
    if settings.top_p < 1:
        keep &= weights >= nucleus_threshold(weights, settings.top_p)
    if settings.min_p > 0:
        keep &= weights >= np.float32(settings.min_p)  # the likeliest weighs 1
    if keep.all():
        return np.arange(scores.size) if token_ids is None else token_ids, weights
    kept = np.flatnonzero(keep)
    return kept if token_ids is None else token_ids[kept], weights[kept]


def nucleus_threshold(weights: NDArray[np.float32], top_p: float) -> np.float32:
    """The weight of the least likely token of the nucleus: the fewest of the likeliest that reach `top_p` together.

    From "The Curious Case of Neural Text Degeneration" (Holtzman et al. 2019, section 3.1). Only the tokens near the
    edge are sorted: the bits of floats from 0 are in the order of the floats, so their upper halves are a histogram.

    Args:
        weights: float32 [K], from 0, one of them above 0.
        top_p: from 0 to 1.
    """
    bins = weights.view(np.uint32) >> 16  # [K]
    reached = np.cumsum(np.bincount(bins, weights)[::-1])  # from the heaviest bin down
    needed = top_p * reached[-1]
    heavier = int(np.searchsorted(reached, needed))  # how many bins lie wholly inside
    edge = np.sort(weights[bins == reached.size - 1 - heavier])[::-1]
    inside = np.cumsum(edge, dtype=np.float64) + (reached[heavier - 1] if heavier else 0.0)
    threshold: np.float32 = edge[min(int(np.searchsorted(inside, needed)), edge.size - 1)]
    return threshold


def draw(token_ids: Ids, weights: NDArray[np.float32], generator: np.random.Generator) -> int:
    """One of the tokens, each with a probability in proportion to its weight; takes one number of the generator."""
    blocks = np.cumsum(np.add.reduceat(weights, np.arange(0, weights.size, _BLOCK), dtype=np.float64))
    target = generator.random() * blocks[-1]
    block = _place(blocks, target)
    before = blocks[block - 1] if block else 0.0
    inside = np.cumsum(weights[block * _BLOCK : (block + 1) * _BLOCK], dtype=np.float64)
    return int(token_ids[block * _BLOCK + _place(inside, target - before)])


def make_generators(seed: int | None, prompts: int, sequences: int) -> list[np.random.Generator]:
    """A source of random numbers for each result, those of a prompt after each other.

    Each depends on the seed, the place of its prompt in the batch and its place among the prompt's results: not on the
    other prompts, nor on how many results there are.
    """
    root = np.random.SeedSequence(seed).entropy  # drawn afresh if there is no seed
    return [
        np.random.Generator(np.random.PCG64(np.random.SeedSequence(root, spawn_key=(prompt, sequence))))
        for prompt in range(prompts)
        for sequence in range(sequences)
    ]


def _place(reached: NDArray[np.float64], target: float) -> int:
    """The first place whose running sum is above the target; the last one if rounding leaves none."""
    return min(int(np.searchsorted(reached, target, side="right")), reached.size - 1)
