"""The ratios as a picture. Needs matplotlib, which rsnet does not install."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from .catalogue import Kind
from .measure import Measured
from .verdict import ratios


class NoPlot(Exception):
    """It cannot be drawn; the text says what to do about it."""


def pyplot() -> Any:
    """matplotlib's pyplot, drawing to files only. Raises NoPlot without matplotlib."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        # Letters as text, not as outlines: a third of the size, and it can be searched.
        matplotlib.rcParams["svg.fonttype"] = "none"
        return importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise NoPlot("--plot needs matplotlib: install it, or leave --plot away.") from None


def plot(rows: Sequence[Measured], path: str) -> None:
    """Draws each row's ratio to the standard library, its interval and its target into a file.

    path: its suffix says which format: png, svg, pdf.

    Raises NoPlot, also when the file cannot be written.
    """
    drawing = pyplot()
    shown = [measured for measured in rows if measured.rounds]
    figure, axes = drawing.subplots(figsize=(9, 1.2 + 0.32 * len(shown)), layout="constrained")
    for height, measured in enumerate(reversed(shown)):
        _draw_row(axes, height, measured)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [measured.row.title for measured in reversed(shown)])
    axes.set_xlabel("times as fast as the standard library (log scale)")
    axes.grid(axis="x", which="both", alpha=0.25)
    axes.legend(*_legend(axes), loc="lower right")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise NoPlot(f"{path} cannot be written: {error}.") from error
    finally:
        drawing.close(figure)


def _draw_row(axes: Any, height: int, measured: Measured) -> None:
    row = measured.row
    for variant, colour, marker in (
        ("floor", "0.6", "s"),
        ("peer", "tab:orange", "D"),
        ("rsnet", "tab:blue", "o"),
    ):
        if variant in measured.rounds[0] and row.metric in measured.rounds[0][variant]:
            ratio = ratios(measured.rounds, variant, row.metric)
            error = [[ratio.median - ratio.low], [ratio.high - ratio.median]]
            axes.errorbar(ratio.median, height, xerr=error, fmt=marker, color=colour, label=variant)
    for target in row.targets:
        if target.kind is Kind.STDLIB and target.metric == row.metric:
            axes.plot(target.bound, height, "|", color="tab:red", markersize=14, label="target")


def _legend(axes: Any) -> tuple[list[Any], list[str]]:
    """Each label once."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return list(handles.values()), list(handles)
