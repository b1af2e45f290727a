"""From times to a ratio, its interval and a verdict.

The ratio is the standard library's median time over rsnet's: above 1, rsnet is faster. A process
draws its memory layout when it starts, which moves all of its times by a percent or two; so the
rounds of one pair of processes are not independent, and the interval comes from drawing pairs of
processes first and rounds within them second (a bootstrap in two stages).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

# One round: the standard library's and rsnet's time per operation, one right after the other.
Round = tuple[float, float]

RESAMPLES = 1000
CONFIDENCE = 0.99
# An interval wider than this to either side says too little, and more pairs are measured.
WIDE = 0.03


@dataclass(frozen=True)
class Comparison:
    socket_ns: float
    rsnet_ns: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        return self.socket_ns / self.rsnet_ns

    @property
    def wide(self) -> bool:
        return self.high - self.low > 2 * WIDE * self.ratio

    @property
    def verdict(self) -> str:
        if self.high < 1:
            return "SLOWER"
        return "faster" if self.low > 1 else "equal"


def compare(pairs: Sequence[Sequence[Round]]) -> Comparison:
    """The medians over all rounds, and the interval of their ratio."""
    socket_ns, rsnet_ns = medians(list(chain.from_iterable(pairs)))
    # Seeded, so that one set of times has one interval.
    draw = random.Random(0)
    ratios = []
    for _ in range(RESAMPLES):
        chosen = chain.from_iterable(
            draw.choices(pair, k=len(pair)) for pair in draw.choices(pairs, k=len(pairs))
        )
        one, other = medians(list(chosen))
        ratios.append(one / other)
    ratios.sort()
    outside = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Comparison(socket_ns, rsnet_ns, ratios[outside], ratios[-1 - outside])


def medians(rounds: Sequence[Round]) -> tuple[float, float]:
    return median(one for one, _ in rounds), median(other for _, other in rounds)
