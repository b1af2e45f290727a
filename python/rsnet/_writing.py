"""Records in files, for programs that read no Arrow."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol


class _Rows(Protocol):
    @property
    def columns(self) -> tuple[str, ...]: ...
    def __iter__(self) -> Any: ...


def check(path: str | os.PathLike[str]) -> None:
    """Whether something can be written there, to be known before it takes long to come by.

    Raises ValueError for an ending that stands for no format, OSError if the folder is not there.
    """
    _writer(path)
    folder = Path(path).parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _writer(path: str | os.PathLike[str]) -> Callable[[_Rows, IO[str]], None] | None:
    """What writes a file of this name; None for Parquet."""
    writers = {
        ".csv": write_csv,
        ".jsonl": write_json_lines,
        ".json": write_json,
        ".parquet": None,
    }
    ending = Path(path).suffix.lower()
    if ending not in writers:
        raise ValueError(f"{os.fspath(path)!r} ends with none of {', '.join(writers)}")
    return writers[ending]


def save(records: _Rows, table: object, path: str | os.PathLike[str]) -> None:
    """Writes the records as the ending of the path says: .csv, .jsonl, .json or .parquet."""
    writer = _writer(path)
    if writer is None:
        _write_parquet(table, path)
        return
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer(records, file)


def write_csv(records: _Rows, file: IO[str]) -> None:
    """Comma-separated values (RFC 4180) with a line of names; nothing stands for None."""
    lines = csv.writer(file)
    lines.writerow(records.columns)
    lines.writerows([_plain(value) for value in row] for row in records)


def write_json_lines(records: _Rows, file: IO[str]) -> None:
    """An object a line."""
    for row in _objects(records):
        file.write(json.dumps(row) + "\n")


def write_json(records: _Rows, file: IO[str]) -> None:
    """A list of objects."""
    json.dump(list(_objects(records)), file, indent=1)
    file.write("\n")


def _objects(records: _Rows) -> Iterable[dict[str, Any]]:
    names = records.columns
    for row in records:
        yield {name: _plain(value) for name, value in zip(names, row, strict=True)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        # As in a Python literal: exact, and without line ends or control characters.
        return repr(value)[2:-1]
    return value


def _write_parquet(table: object, path: str | os.PathLike[str]) -> None:
    try:
        import_module("pyarrow.parquet").write_table(import_module("pyarrow").table(table), path)
        return
    except ImportError:
        pass
    try:
        import_module("polars").DataFrame(table).write_parquet(path)
    except ImportError:
        raise ImportError("Parquet is written by pyarrow or polars: pip install polars") from None
