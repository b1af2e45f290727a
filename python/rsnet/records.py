"""What a measurement gives: rows to go through, columns to hand on."""

from __future__ import annotations

import json
import os
from collections import namedtuple
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, overload

from rsnet import _display, _plot, _rsnet, _writing

__all__ = ["Records", "join"]

_ROWS_AT_ONCE = 4096


class Records(Sequence[Any]):
    """The rows of a measurement, in columns.

    A sequence of named tuples, and an Arrow stream: `pandas.DataFrame(records)`,
    `polars.DataFrame(records)`, `pyarrow.table(records)` and DuckDB's `FROM records` take it as it
    is. Times with `_ns` in their name are whole nanoseconds; `time` is the wall clock's, in UTC.
    What does not apply is None.

    Source: own; the Arrow PyCapsule interface.

    >>> import rsnet
    >>> records = rsnet.tcp.probe("127.0.0.1:9", timeout=5)
    >>> len(records), records[0].address, records[0].port
    (1, '127.0.0.1', 9)
    """

    def __init__(self, table: _rsnet.Table) -> None:
        self._table = table

    # A sequence.

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return type(self)(self._table.slice(start, max(start, stop)))
            return type(self)(self._table.take(list(range(start, stop, step))))
        number = index.__index__()
        if number < 0:
            number += len(self)
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} rows, and none with the number {index}")
        return self._row(*self._table.rows(number, number + 1)[0])

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _ROWS_AT_ONCE):
            for fields in self._table.rows(start, start + _ROWS_AT_ONCE):
                yield self._row(*fields)

    @cached_property
    def _row(self) -> Any:
        return namedtuple("Row", self.columns)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Records):
            return NotImplemented
        return (
            self.columns == other.columns
            and len(self) == len(other)
            and all(mine == theirs for mine, theirs in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]

    # Columns.

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self._table.names)

    def column(self, name: str) -> list[Any]:
        """The values of one column.

        name: one of `columns`.

        Returns a list with one value for each row.

        Raises KeyError for another name.

        Source: own.

        >>> import rsnet
        >>> rsnet.tcp.probe("127.0.0.1:9", timeout=5).column("port")
        [9]
        """
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns)}")
        return self._table.column(name)

    @property
    def metadata(self) -> dict[str, str]:
        """What is known of all rows together: what was measured, with which seed."""
        return dict(self._table.metadata)

    @property
    def totals(self) -> dict[str, Any]:
        """What all rows come to, for measurements that say so in their description."""
        totals: dict[str, Any] = json.loads(self._table.metadata.get("totals", "{}"))
        return totals

    @property
    def partial(self) -> bool:
        """True if the measurement was interrupted: the rows are those that were done."""
        return self._table.metadata.get("partial") == "true"

    @property
    def nbytes(self) -> int:
        """How many bytes the columns take."""
        return self._table.nbytes

    def summary(self) -> Records:
        """The distribution of the times, by state where there are states.

        Minimum, percentiles, maximum, mean and standard deviation of each column of nanoseconds;
        percentiles have three significant digits.

        Returns Records: state, metric, count, min, p50, p90, p99, p999, max, mean, stddev. A state
        without a single time has a row of its count alone.

        Source: HdrHistogram.

        >>> import rsnet
        >>> rsnet.tcp.probe("127.0.0.1:9", timeout=5).summary()[0].count
        1
        """
        return Records(self._table.summary())

    # To other libraries.

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> Any:
        """The records as a pandas DataFrame.

        Returns pandas.DataFrame with the same columns: missing numbers are NaN or NA as pandas has
        it, `time` is a timestamp in UTC, states are categories.

        Raises ImportError without pandas.

        Source: the Arrow PyCapsule interface.

        >>> import rsnet
        >>> rsnet.tcp.probe("127.0.0.1:9", timeout=5).to_pandas().shape[0]
        1
        """
        pandas = _imported("pandas")
        if hasattr(pandas.DataFrame, "from_arrow"):
            try:
                return pandas.DataFrame.from_arrow(self._table)
            except ImportError:
                # It goes by way of pyarrow, which weighs 170 MB and need not be there.
                pass
        columns = {name: self._table.column(name) for name in self.columns}
        return pandas.DataFrame(columns)

    def to_polars(self) -> Any:
        """The records as a polars DataFrame.

        Returns polars.DataFrame with the same columns, without a copy of most of them.

        Raises ImportError without polars.

        Source: the Arrow PyCapsule interface.

        >>> import rsnet
        >>> rsnet.tcp.probe("127.0.0.1:9", timeout=5).to_polars().height
        1
        """
        # The columns as they are; of a sequence polars would go through the rows.
        return _imported("polars").DataFrame(self._table)

    def to_arrow(self) -> Any:
        """The records as a pyarrow Table.

        Returns pyarrow.Table with the same columns, without a copy.

        Raises ImportError without pyarrow.

        Source: the Arrow PyCapsule interface.

        >>> import rsnet
        >>> rsnet.tcp.probe("127.0.0.1:9", timeout=5).to_arrow().num_rows
        1
        """
        return _imported("pyarrow").table(self._table)

    def plot(self, kind: str | None = None, *, column: str | None = None, ax: Any = None) -> Any:
        """Draw the records.

        kind: 'time' (a column of times over the clock, by state), 'ecdf' (which share took no
        longer), 'histogram', or 'states' (a cell for each address and port). Without it 'time' for
        pings, 'states' for several ports of several hosts, and 'ecdf' for others. column: a column
        of nanoseconds; without it the round-trip or connect time. ax: matplotlib axes to draw into;
        new ones without it.

        Returns the axes.

        Raises ValueError for another kind or column, and for more than 2,000 hosts or ports in a
        picture of states; ImportError without matplotlib.

        Source: own.

        >>> import rsnet
        >>> with rsnet.reflector() as far_end:
        ...     axes = rsnet.udp.ping(far_end.echo, count=5, interval=0.001).plot()
        >>> axes.get_ylabel()
        'rtt (ms)'
        """
        return _plot.plot(self, kind, column, ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the records to a file, in the format that its name ends with.

        path: the file; '.csv' (RFC 4180), '.jsonl' (a JSON object a line), '.json' (a list of
        objects) or '.parquet'. Bytes are written as in a Python literal, times in ISO 8601.

        Returns None.

        Raises ValueError for another ending, OSError for what the system says, ImportError if
        neither pyarrow nor polars is there to write Parquet.

        Source: RFC 4180; Apache Parquet.

        >>> import rsnet, tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        ...     rsnet.tcp.probe("127.0.0.1:9", timeout=5).save(file.name)
        ...     file.readline()[:18]
        b'address,name,port,'
        """
        _writing.save(self, self._table, path)

    # To look at.

    def __repr__(self) -> str:
        return _display.text(self, self._title())

    def _repr_html_(self) -> str:
        return _display.html(self, self._title())

    def _title(self) -> str:
        parts = [f"{len(self):,} row{'s' if len(self) != 1 else ''}"]
        if "state" in self.columns:
            parts += [f"{count:,} {state}" for state, count in self._table.counts("state")]
        if self.partial:
            parts.append("interrupted: not all were asked")
        return ", ".join(parts)

    # To other processes.

    def __reduce__(self) -> Any:
        return _of_state, self._table.state()


def _of_state(metadata: dict[str, str], columns: list[Any]) -> Records:
    return Records(_rsnet.Table.of_state(metadata, columns))


def join(parts: Iterable[Records]) -> Records:
    """The rows of several records with the same columns, one after the other.

    parts: the records, at least one.

    Returns Records with the metadata of the first; partial if any of them is.

    Raises ValueError for none, or for different columns.

    Source: own.

    >>> import rsnet
    >>> one = rsnet.tcp.probe("127.0.0.1:9", timeout=5)
    >>> len(rsnet.records.join([one, one]))
    2
    """
    first, *others = parts
    every = list(chain([first], others))
    table = _rsnet.Table.joined([part._table for part in every])
    if any(part.partial for part in every):
        table = table.with_metadata({**table.metadata, "partial": "true"})
    return Records(table)


def _imported(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is not installed: pip install {name}") from error
