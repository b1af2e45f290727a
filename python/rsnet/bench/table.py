"""The table that people read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from .catalogue import Kind
from .measure import Measured
from .spread import Spread
from .verdict import Outcome, ratios, row_outcomes, worst

HEADINGS = (
    "row",
    "stdlib",
    "rsnet",
    "against stdlib",
    "target",
    "of the floor",
    "target",
    "calls s/r/f",
    "verdict",
)
_LEFT = (0, 8)


# Above this, rows with several threads say more about the other programs than about rsnet.
QUIET_SHARE = 0.05


def table(rows: Sequence[Measured], has_floor: bool, others_share: float) -> str:
    """The rows as text, with a legend. Without the floor its two columns are left out.

    others_share: of the cores' time, what other programs took.
    """
    lines = [HEADINGS, *(line for measured in rows for line in _lines(measured))]
    columns = [n for n in range(len(HEADINGS)) if has_floor or n not in (5, 6)]
    widths = {n: max(len(line[n]) for line in lines if len(line) > 1) for n in columns}
    return (
        "\n".join(_laid_out(line, widths) for line in lines)
        + "\n\n"
        + _legend(has_floor, others_share)
    )


def _laid_out(line: Sequence[str], widths: dict[int, int]) -> str:
    if len(line) == 1:
        return line[0]
    cells = [
        line[n].ljust(width) if n in _LEFT else line[n].rjust(width) for n, width in widths.items()
    ]
    return "  ".join(cells).rstrip()


def _legend(has_floor: bool, others_share: float) -> str:
    text = (
        "Medians of the rounds; in brackets the interval of the median (bootstrap, 95%).\n"
        "Ratios: time of the standard library over time of the other, round by round; above 1 is\n"
        "faster. calls s/r/f: system calls per operation of stdlib, rsnet and the floor.\n"
        "near: the median misses the target, the interval reaches it. missing: not measured here."
    )
    text += f"\nOther programs took {percent(others_share)} of the cores' time meanwhile"
    text += "." if others_share < QUIET_SHARE else ": too much for the rows with several threads."
    if has_floor:
        return text
    return text + "\nThe floor is left out: --floor names no program (`make bench` builds it)."


def _lines(measured: Measured) -> list[Sequence[str]]:
    row = measured.row
    if measured.missing:
        return [(row.title, "", "", "", "", "", "", "", f"missing: {measured.missing}")]
    outcomes = row_outcomes(row, measured.rounds)
    main = {o.target.kind: o for o in outcomes if not o.target.label}
    against = main.get(Kind.STDLIB) or main.get(Kind.EXTRA)
    first = (
        row.title,
        _median(measured, "stdlib"),
        _median(measured, "rsnet"),
        _with_interval(ratios(measured.rounds, "rsnet", row.metric), times),
        _bound(against),
        _value(main.get(Kind.FLOOR)),
        _bound(main.get(Kind.FLOOR)),
        _calls(measured),
        worst([each.verdict for each in outcomes]),
    )
    return [first, *_further(measured, outcomes)]


def _further(measured: Measured, outcomes: Sequence[Outcome]) -> list[Sequence[str]]:
    """Lines below a row: targets of other figures, the peer, and what is to be said."""
    lines: list[Sequence[str]] = []
    for each in outcomes:
        if each.target.kind is Kind.EXTRA:
            lines.append(_line_below("the difference", _value(each), _bound(each), each.verdict))
        elif each.target.label:
            lines.append(_line_below(each.target.label, _value(each), _bound(each), each.verdict))
    if measured.row.peer and "peer" in measured.rounds[0]:
        ratio = ratios(measured.rounds, "peer", measured.row.metric)
        lines.append(_line_below(measured.row.peer.label, _with_interval(ratio, times), "", ""))
    lines += [(f"    {note}",) for note in measured.notes]
    return lines


def _line_below(label: str, value: str, bound: str, verdict: str) -> Sequence[str]:
    return (f"    {label}", "", "", value, bound, "", "", "", verdict)


def _median(measured: Measured, variant: str) -> str:
    row = measured.row
    value = median(one[variant][row.metric] for one in measured.rounds)
    return span(value) if row.metric == "ns" else f"{value:.0f} {row.metric}"


def _calls(measured: Measured) -> str:
    if not measured.calls:
        return ""
    sums = [
        f"{sum(measured.calls[name].values()):.3g}" if name in measured.calls else "-"
        for name in ("stdlib", "rsnet", "floor")
    ]
    return "/".join(sums)


def _value(outcome: Outcome | None) -> str:
    return _with_interval(outcome.value, _format(outcome)) if outcome else ""


def _bound(outcome: Outcome | None) -> str:
    return _format(outcome)(outcome.target.bound) if outcome else ""


def _format(outcome: Outcome) -> Callable[[float], str]:
    return {
        Kind.STDLIB: times,
        Kind.THREAD: times,
        Kind.FLOOR: percent,
        Kind.SHARE: percent,
        Kind.EXTRA: span,
    }[outcome.target.kind]


def _with_interval(value: Spread, form: Callable[[float], str]) -> str:
    if value.low == value.high:
        return form(value.median)
    return f"{form(value.median)} [{form(value.low)}, {form(value.high)}]"


def times(ratio: float) -> str:
    return f"{ratio:.3g}x" if ratio >= 10 else f"{ratio:.2f}x"


def percent(share: float) -> str:
    return f"{share:.0%}"


def span(ns: float) -> str:
    """A time with a unit that suits it.

    >>> span(1530)
    '1.53 µs'
    """
    for limit, unit in ((1e3, "ns"), (1e6, "µs"), (1e9, "ms")):
        if abs(ns) < limit:
            return f"{ns / limit * 1e3:.3g} {unit}"
    return f"{ns / 1e9:.3g} s"
