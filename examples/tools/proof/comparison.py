"""From times to a ratio, its interval and a verdict.

The ratio is the standard library's median time over rsnet's: above 1, rsnet is faster. Two things
are in the way of it. The machine is faster in one minute than in the next: so both are measured
side by side by a pair of processes, and only their quotient is used. And a process draws its memory
layout when it starts, which moves all of its times by some percent: so there are several pairs, and
the interval is that of the mean of their quotients, Student's for as many values as there are
pairs. The rounds within a pair say nothing about it, however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, median, stdev

# One round: the standard library's and rsnet's time per operation, one right after the other.
Round = tuple[float, float]

CONFIDENCE = 0.95
# Student's t for it, by the degrees of freedom, from 1 on.
STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131),
)
MOST_PAIRS = len(STUDENT) + 1
# An interval wider than this to either side says too little, and more pairs are measured.
WIDE = 0.02


@dataclass(frozen=True)
class Comparison:
    socket_ns: float
    rsnet_ns: float
    ratio: float
    low: float
    high: float

    @property
    def wide(self) -> bool:
        return self.high - self.low > 2 * WIDE * self.ratio

    @property
    def verdict(self) -> str:
        if self.high < 1:
            return "SLOWER"
        return "faster" if self.low > 1 else "equal"


def compare(pairs: Sequence[Sequence[Round]]) -> Comparison:
    """The ratio over all pairs of processes, at least two, with its interval."""
    # Logarithms: a half and a double are equally far from 1.
    logarithms = [math.log(one / other) for one, other in map(medians, pairs)]
    mean = fmean(logarithms)
    margin = STUDENT[len(pairs) - 2] * stdev(logarithms) / math.sqrt(len(pairs))
    return Comparison(
        *medians(list(chain.from_iterable(pairs))),
        ratio=math.exp(mean),
        low=math.exp(mean - margin),
        high=math.exp(mean + margin),
    )


def medians(rounds: Sequence[Round]) -> tuple[float, float]:
    return median(one for one, _ in rounds), median(other for _, other in rounds)
