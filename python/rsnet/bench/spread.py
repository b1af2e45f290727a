"""Medians with their spread."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

RESAMPLES = 500
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """A median and the interval that it lies in with a confidence of 95%."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The median of the values with its interval, by the percentile bootstrap.

    Raises statistics.StatisticsError for no values. The resampling is seeded: the same values give
    the same interval. Source: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13.

    >>> spread([1.0, 2.0, 3.0]).median
    2.0
    """
    chance = random.Random(len(values))
    medians = sorted(
        median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES if values else 1)
    )
    tail = round((1 - CONFIDENCE) / 2 * (len(medians) - 1))
    return Spread(median(values), medians[tail], medians[-1 - tail])
