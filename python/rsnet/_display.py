"""Records for people: as much of them as a terminal or a notebook shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from shutil import get_terminal_size
from typing import Any, Protocol

# Rows at the beginning and at the end, when there are more than both.
_HEAD, _TAIL = 8, 4
_WIDEST = 40
_BETWEEN = 2

# Numbers that name something, and are written without commas.
_NUMBERED = ("port", "errno", "sequence")


class _Rows(Protocol):
    @property
    def columns(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: slice, /) -> Any: ...


def text(records: _Rows, title: str) -> str:
    """A table no wider than the terminal; columns that do not fit are named below it."""
    rows, gap = _shown_rows(records)
    cells = [
        list(records.columns),
        *([_cell(*one) for one in zip(records.columns, row, strict=True)] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    fitting = _fitting(widths, get_terminal_size().columns)
    numeric = [_is_numeric([row[at] for row in rows]) for at in range(len(widths))]
    lines = [title]
    for number, row in enumerate(cells):
        if gap is not None and number == gap + 1:
            lines.append("...")
        aligned = (
            row[at].rjust(widths[at]) if numeric[at] else row[at].ljust(widths[at])
            for at in range(fitting)
        )
        lines.append((" " * _BETWEEN).join(aligned).rstrip())
    if fitting < len(widths):
        lines.append(f"and {', '.join(records.columns[fitting:])}")
    return "\n".join(lines)


def html(records: _Rows, title: str) -> str:
    """A table as notebooks show it."""
    rows, gap = _shown_rows(records)
    head = "".join(f"<th>{escape(name)}</th>" for name in records.columns)
    body = []
    for number, row in enumerate(rows):
        if number == gap:
            body.append(f'<tr><td colspan="{len(records.columns)}">&#8943;</td></tr>')
        cells = "".join(
            f'<td style="text-align:{"right" if _is_numeric([value]) else "left"}">'
            f"{escape(_cell(name, value))}</td>"
            for name, value in zip(records.columns, row, strict=True)
        )
        body.append(f"<tr>{cells}</tr>")
    return (
        f'<div class="rsnet-records"><p>{escape(title)}</p><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _shown_rows(records: _Rows) -> tuple[list[Any], int | None]:
    """The rows to show, and before which of them others were left out."""
    if len(records) <= _HEAD + _TAIL:
        return list(records[:]), None
    return [*records[:_HEAD], *records[len(records) - _TAIL :]], _HEAD


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        shown = f"{value:,.1f}"
    elif isinstance(value, int) and name not in _NUMBERED:
        shown = f"{value:,}"
    elif isinstance(value, datetime):
        shown = value.strftime("%H:%M:%S.%f")
    elif isinstance(value, bytes):
        shown = repr(value)[2:-1]
    else:
        shown = str(value)
    # What a peer sent must not steer the terminal.
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    return shown if len(shown) <= _WIDEST else f"{shown[: _WIDEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def _is_numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) for value in known)


def _fitting(widths: Sequence[int], room: int) -> int:
    """How many columns fit; at least one."""
    used = 0
    for count, width in enumerate(widths):
        used += width + (_BETWEEN if count else 0)
        if used > room:
            return max(count, 1)
    return len(widths)
