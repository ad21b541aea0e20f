"""What samples amount to: medians and quartiles, and the ratio of two medians with an interval.

How the samples are taken is in `interleave.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tfgraph.bench.interleave import Sample
from tfgraph.errors import InputError
from tfgraph.ir.constant import Array

CONFIDENCE: Final = 0.95
_RESAMPLES: Final = 2000


@dataclass(frozen=True)
class Timings:
    """The distribution of a candidate's samples, in seconds."""

    best: float
    lower_quartile: float
    median: float
    upper_quartile: float
    cpu_median: float
    samples: tuple[Sample, ...]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Timings:
        """The timings of at least one sample.

        Raises:
            InputError: there is none.
        """
        if not samples:
            raise InputError("there is no sample to summarise: time at least one round")
        seconds = [sample.seconds for sample in samples]
        lower, median, upper = np.percentile(seconds, (25, 50, 75))
        cpu = np.median([sample.cpu_seconds for sample in samples])
        return cls(min(seconds), float(lower), float(median), float(upper), float(cpu), tuple(samples))

    def as_dict(self) -> dict[str, Any]:
        """The timings in milliseconds, for JSON; the samples in the order in which they were taken."""
        return {
            "min_ms": _ms(self.best),
            "lower_quartile_ms": _ms(self.lower_quartile),
            "median_ms": _ms(self.median),
            "upper_quartile_ms": _ms(self.upper_quartile),
            "cpu_median_ms": _ms(self.cpu_median),
            "samples_ms": [_ms(sample.seconds) for sample in self.samples],
            "cpu_samples_ms": [_ms(sample.cpu_seconds) for sample in self.samples],
            "turns": [sample.turn for sample in self.samples],
        }


@dataclass(frozen=True)
class Ratio:
    """A median relative to the best median of the others, below 1 for faster, and the interval that holds it.

    Attributes:
        best: the name of the other with the best median.
        low, high: the interval, with a confidence of `CONFIDENCE`.
        cpu: the same ratio of medians of processor time.
    """

    value: float
    low: float
    high: float
    best: str
    cpu: float

    def as_dict(self) -> dict[str, Any]:
        """The ratio as plain data, for JSON."""
        return {
            "value": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "confidence": CONFIDENCE,
            "best_peer": self.best,
            "cpu": round(self.cpu, 4),
        }


def ratio_to_best(samples: Sequence[Sample], others: Mapping[str, Sequence[Sample]], seed: int = 0) -> Ratio:
    """The median of `samples` relative to the best median of `others`, all of them taken in the same rounds.

    The interval is a percentile bootstrap over rounds: a resample takes the same rounds for all, and picks its own best
    of the others. Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979.

    Raises:
        InputError: nothing to compare with, or numbers of samples that differ.
    """
    if not others or not samples or any(len(each) != len(samples) for each in others.values()):
        counts = {name: len(each) for name, each in others.items()}
        raise InputError(
            f"cannot relate {len(samples)} samples to {counts or 'nothing'}: expected others timed in the same rounds"
        )
    ours = np.array([sample.seconds for sample in samples])
    theirs = {name: np.array([sample.seconds for sample in each]) for name, each in others.items()}
    best = min(theirs, key=lambda name: float(np.median(theirs[name])))
    rounds = np.random.default_rng(seed).integers(0, len(samples), (_RESAMPLES, len(samples)))
    best_medians = np.min([_medians(each[rounds]) for each in theirs.values()], axis=0)  # [resamples]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(_medians(ours[rounds]) / best_medians, (tail, 100 - tail))
    cpu = [np.median([sample.cpu_seconds for sample in each]) for each in (samples, others[best])]
    cpu_ratio = float(cpu[0] / cpu[1]) if cpu[1] > 0 else 1.0  # the clock of processor time may be too coarse
    return Ratio(float(np.median(ours) / np.median(theirs[best])), float(low), float(high), best, cpu_ratio)


def _medians(rows: Array) -> Array:
    """[N, M] -> [N]."""
    medians: Array = np.median(rows, axis=1)
    return medians


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 4)
