"""Records as pictures, by matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

KINDS = ("time", "ecdf", "histogram", "states")

# The times that are looked at first, of those that are there.
_FIRST = ("rtt_ns", "connect_ns", "total_ns")

_COLOURS = {
    "open": "tab:green",
    "received": "tab:green",
    "refused": "tab:red",
    "filtered": "tab:orange",
    "late": "tab:orange",
    "unreachable": "tab:purple",
    "lost": "tab:red",
    "error": "tab:gray",
}

# A matrix of more cells than these shows no cells.
_MOST_LINES, _MOST_TICKS = 2000, 40


class _Rows(Protocol):
    @property
    def columns(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...
    def column(self, name: str) -> list[Any]: ...


def plot(records: _Rows, kind: str | None, column: str | None, ax: Any) -> Any:
    """Draws into the axes, or into new ones, which are returned."""
    kind = _usual_kind(records) if kind is None else kind
    if kind not in KINDS:
        raise ValueError(f"kind is one of {', '.join(map(repr, KINDS))}, not {kind!r}")
    draw: Callable[[Any], None]
    if kind == "states":
        if not {"address", "port", "state"} <= set(records.columns):
            raise ValueError("these records have no states of addresses and ports")
        draw = _Matrix(records).draw
    else:
        draw = _Times(records, kind, _time_column(records, column)).draw
    if ax is None:
        ax = _pyplot().subplots(layout="constrained")[1]
    draw(ax)
    return ax


def _pyplot() -> Any:
    try:
        return import_module("matplotlib.pyplot")
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'rsnet[notebook]'") from None


def _usual_kind(records: _Rows) -> str:
    if "rtt_ns" in records.columns:
        return "time"
    if "state" in records.columns and "address" in records.columns:
        hosts, ports = set(records.column("address")), set(records.column("port"))
        if len(hosts) > 1 and len(ports) > 1:
            return "states"
    return "ecdf"


def _time_column(records: _Rows, column: str | None) -> str:
    known = [name for name in records.columns if name.endswith("_ns")]
    if column is None:
        column = next((name for name in _FIRST if name in known), None)
    if column not in known:
        raise ValueError(f"column is one of {', '.join(map(repr, known))}, not {column!r}")
    return column


class _Times:
    """One column of nanoseconds, in milliseconds."""

    def __init__(self, records: _Rows, kind: str, column: str) -> None:
        self._records = records
        self._kind = kind
        self._column = column
        self._name = column.removesuffix("_ns")

    def draw(self, ax: Any) -> None:
        {"time": self._over_time, "ecdf": self._ecdf, "histogram": self._histogram}[self._kind](ax)

    def _known(self) -> list[float]:
        return [ns / 1e6 for ns in self._records.column(self._column) if ns is not None]

    def _over_time(self, ax: Any) -> None:
        times, values = self._records.column("time"), self._records.column(self._column)
        states = (
            self._records.column("state") if "state" in self._records.columns else [""] * len(times)
        )
        start = min(times, default=None)
        for state in dict.fromkeys(states):
            of_state = [
                ((time - start).total_seconds(), value)
                for time, value, each in zip(times, values, states, strict=True)
                if each == state
            ]
            dots = [(at, value / 1e6) for at, value in of_state if value is not None]
            colour = _COLOURS.get(state)
            if dots:
                ax.plot(*zip(*dots, strict=True), ".", markersize=3, color=colour, label=state)
            else:
                # What has no time has a moment: marks at the foot.
                foot = ax.get_xaxis_transform()
                moments = [at for at, _ in of_state]
                zeros = [0.02] * len(moments)
                ax.plot(moments, zeros, "|", color=colour, label=state, transform=foot)
        ax.set(xlabel="seconds since the first", ylabel=f"{self._name} (ms)")
        if any(states):
            ax.legend()

    def _ecdf(self, ax: Any) -> None:
        values = self._known()
        if values:
            ax.ecdf(values)
        ax.set(xlabel=f"{self._name} (ms)", ylabel="share that took no longer", ylim=(0, 1))

    def _histogram(self, ax: Any) -> None:
        ax.hist(self._known(), bins="auto" if self._known() else 1)
        ax.set(xlabel=f"{self._name} (ms)", ylabel="how often")


class _Matrix:
    """A cell for each address and port, coloured by its state."""

    def __init__(self, records: _Rows) -> None:
        names = records.column("name") if "name" in records.columns else [None] * len(records)
        hosts = [
            address if name is None else name
            for address, name in zip(records.column("address"), names, strict=True)
        ]
        self._hosts = list(dict.fromkeys(hosts))
        self._ports = sorted(set(records.column("port")))
        if max(len(self._hosts), len(self._ports)) > _MOST_LINES:
            raise ValueError(
                f"{len(self._hosts):,} hosts and {len(self._ports):,} ports are too many for a "
                f"picture of states; slice the records to {_MOST_LINES:,} of each"
            )
        self._states = list(dict.fromkeys(records.column("state")))
        rows = {host: number for number, host in enumerate(self._hosts)}
        columns = {port: number for number, port in enumerate(self._ports)}
        # Nobody asked: no colour.
        self._cells = [[float("nan")] * len(self._ports) for _ in self._hosts]
        triples = zip(hosts, records.column("port"), records.column("state"), strict=True)
        for host, port, state in triples:
            self._cells[rows[host]][columns[port]] = self._states.index(state)

    def draw(self, ax: Any) -> None:
        colours = import_module("matplotlib.colors")
        patches = import_module("matplotlib.patches")
        palette = [_COLOURS.get(state, "black") for state in self._states]
        ax.imshow(
            self._cells,
            cmap=colours.ListedColormap(palette),
            vmin=-0.5,
            vmax=len(palette) - 0.5,
            aspect="auto",
            interpolation="nearest",
        )
        _label(ax.set_xticks, self._ports, rotation=90)
        _label(ax.set_yticks, self._hosts)
        ax.set(xlabel="port")
        named = zip(palette, self._states, strict=True)
        handles = [patches.Patch(color=colour, label=state) for colour, state in named]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1))


def _label(set_ticks: Callable[..., Any], names: Sequence[Any], **how: Any) -> None:
    step = -(-len(names) // _MOST_TICKS)
    set_ticks(range(0, len(names), step), [str(name) for name in names[::step]], **how)
