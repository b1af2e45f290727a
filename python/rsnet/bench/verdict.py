"""From the figures of the rounds to ratios, and from ratios to verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .catalogue import Kind, Row, Target
from .spread import Spread, spread

# The figures of all variants in one round, by variant and by name.
RoundFigures = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Outcome:
    """What came out for a target. verdict: "met", "near" (the interval reaches it) or "missed"."""

    target: Target
    value: Spread
    verdict: str


def ratios(rounds: Sequence[RoundFigures], variant: str, metric: str) -> Spread:
    """How many times better than the standard library a variant did, round by round."""
    return spread([one["stdlib"][metric] / one[variant][metric] for one in rounds])


def outcome(target: Target, rounds: Sequence[RoundFigures]) -> Outcome | None:
    """The outcome for a target; None where the floor that it asks for was not measured."""
    if target.kind is Kind.FLOOR and "floor" not in rounds[0]:
        return None
    value = _value(target, rounds)
    return Outcome(target, value, _judge(target, value))


def _value(target: Target, rounds: Sequence[RoundFigures]) -> Spread:
    metric = target.metric
    if target.kind is Kind.STDLIB:
        return ratios(rounds, "rsnet", metric)
    if target.kind is Kind.FLOOR:
        return spread([one["floor"][metric] / one["rsnet"][metric] for one in rounds])
    if target.kind is Kind.EXTRA:
        return spread([one["rsnet"][metric] - one["stdlib"][metric] for one in rounds])
    if target.kind is Kind.SHARE:
        return spread([one["rsnet"][metric] for one in rounds])
    return _least_thread(rounds)


def _least_thread(rounds: Sequence[RoundFigures]) -> Spread:
    """Of the thread that gets least: its rate beside that of its peer with stdlib.

    Its peer is the thread of its kind and rank: of threads that are alike, the one that shares its
    core with the busiest other gets a third of what the rest get, with stdlib as well.
    """
    shares: dict[tuple[str, int], list[float]] = {}
    for one in rounds:
        rates, peers = _rates_by_kind(one["rsnet"]), _rates_by_kind(one["stdlib"])
        for kind in rates:
            for rank, (rate, peer) in enumerate(zip(rates[kind], peers[kind], strict=True)):
                shares.setdefault((kind, rank), []).append(rate / peer)
    return min((spread(ratios) for ratios in shares.values()), key=lambda each: each.median)


def _rates_by_kind(figures: Mapping[str, float]) -> dict[str, list[float]]:
    """The threads' rates in ascending order, for each kind of thread."""
    rates: dict[str, list[float]] = {}
    for name in sorted(figures, key=lambda name: figures[name]):
        if name.startswith("rate of "):
            rates.setdefault(name.rpartition(" ")[0], []).append(figures[name])
    return rates


def _judge(target: Target, value: Spread) -> str:
    if target.kind is Kind.EXTRA:
        met, near = value.median <= target.bound, value.low <= target.bound
    else:
        met, near = value.median >= target.bound, value.high >= target.bound
    return "met" if met else "near" if near else "missed"


def worst(verdicts: Sequence[str]) -> str:
    """The verdict of a row with several targets; of one without any, "no target"."""
    for verdict in ("missed", "near", "met"):
        if verdict in verdicts:
            return verdict
    return "no target"


def row_outcomes(row: Row, rounds: Sequence[RoundFigures]) -> list[Outcome]:
    found = [outcome(target, rounds) for target in row.targets]
    return [each for each in found if each is not None]
