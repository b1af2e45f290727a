"""`python -m rsnet probe` and `python -m rsnet exchange`: many peers asked from a shell."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rsnet import _writing, tcp
from rsnet.records import Records

_TARGETS = """\
targets: 192.0.2.1, example.org:443, '[2001:db8::1]:22,80', 192.0.2.0/24, 192.0.2.1-20

exit codes: 0 if any target answered, 1 if none did, 2 for a wrong command line, 130 after Ctrl-C
(what was done until then is printed).
"""

_PROBE_EXAMPLES = """\
examples:
  python -m rsnet probe 192.0.2.0/24 -p 22,80,443
  python -m rsnet probe localhost -p 1-65535 --json | jq .port
  python -m rsnet probe -i hosts.txt -p 22 --banner 80 --output ssh.csv
"""

_EXCHANGE_EXAMPLES = r"""examples:
  python -m rsnet exchange example.org:80 --data 'HEAD / HTTP/1.0\r\n\r\n'
  python -m rsnet exchange -i caches.txt -p 6379 --data 'PING\r\n' --until '\r\n' --csv
"""

# Fewer rows than this are shown whatever their state is.
_ALL_SHOWN = 20

_COLOURS = {"open": 32, "refused": 31, "filtered": 33, "unreachable": 35, "error": 31}


def probe(arguments: Sequence[str]) -> int:
    parser = _parser("probe", tcp.probe.__doc__, _PROBE_EXAMPLES)
    parser.add_argument(
        "--banner", type=int, default=0, metavar="BYTES", help="of what a peer says first"
    )
    given = parser.parse_args(arguments)
    return _run(
        parser, given, lambda **common: tcp.probe(_targets(given), banner=given.banner, **common)
    )


def exchange(arguments: Sequence[str]) -> int:
    parser = _parser("exchange", tcp.exchange.__doc__, _EXCHANGE_EXAMPLES, timeout=5.0)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument(
        "--data", metavar="TEXT", help=r"what to send; \r, \n, \t, \\ and \xNN as in C"
    )
    data.add_argument("--data-file", type=Path, metavar="FILE", help="what to send, as it is")
    until = parser.add_mutually_exclusive_group()
    until.add_argument(
        "--until", metavar="TEXT", help="the response ends with this (escapes as in --data)"
    )
    until.add_argument(
        "--until-bytes", type=int, metavar="N", help="the response has so many bytes"
    )
    until.add_argument(
        "--until-silence", type=float, metavar="SECONDS", help="nothing came for so long"
    )
    parser.add_argument(
        "--max-bytes", type=int, default=65_536, metavar="N", help="to keep of a response"
    )
    given = parser.parse_args(arguments)

    def ask(**common: Any) -> Records:
        payload = given.data_file.read_bytes() if given.data is None else _unescaped(given.data)
        end: bytes | int | float | None = given.until_bytes or given.until_silence
        if given.until is not None:
            end = _unescaped(given.until)
        return tcp.exchange(
            _targets(given), payload, until=end, max_bytes=given.max_bytes, **common
        )

    return _run(parser, given, ask)


def _parser(
    name: str, doc: str | None, examples: str, timeout: float = 1.0
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m rsnet {name}",
        description=(doc or "").partition("\n")[0],
        epilog=f"{_TARGETS}\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="whom to ask")
    add = parser.add_argument
    add("-i", "--input", metavar="FILE", help="more targets, a line each; - is stdin")
    add("-p", "--ports", help="for targets without ports: 22,80,8000-8100")
    add("-x", "--exclude", action="append", default=[], metavar="TARGET", help="whom to leave out")
    add(
        "-w",
        "--timeout",
        type=float,
        default=timeout,
        metavar="SECONDS",
        help=f"{timeout:g} without it",
    )
    add("--retries", type=int, default=0, metavar="N", help="when no answer came in time")
    add("--concurrency", type=int, metavar="N", help="connections at a time; 10,000 without it")
    add("--rate", type=float, metavar="N", help="connections begun in a second")
    add("--max-targets", type=int, metavar="N", help="of more a random sample is asked")
    add("--seed", type=int, metavar="N", help="of the order; a new one without it")
    add("--source-address", metavar="ADDRESS", help="where to connect from")
    add("--interface", metavar="NAME", help="where to connect through")
    add("--all", action="store_true", help="show every row, and not only those that are open")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="every row as a JSON object, a line each")
    form.add_argument("--csv", action="store_true", help="every row as comma-separated values")
    add("-o", "--output", metavar="FILE", help="every row to a .csv, .jsonl, .json or .parquet")
    add("-q", "--quiet", action="store_true", help="no progress")
    return parser


def _targets(given: argparse.Namespace) -> list[Any]:
    targets: list[Any] = list(given.targets)
    if given.input == "-":
        targets += [line.partition("#")[0] for line in sys.stdin]
    elif given.input is not None:
        targets.append(Path(given.input))
    return targets


def _unescaped(text: str) -> bytes:
    r"""The bytes that a text with \r, \n, \xNN stands for; other characters in UTF-8."""
    return text.encode("utf-8").decode("unicode_escape").encode("latin-1")


def _run(
    parser: argparse.ArgumentParser, given: argparse.Namespace, ask: Callable[..., Records]
) -> int:
    if not given.targets and given.input is None:
        parser.error("whom to ask? give targets, or --input")
    progress = _Line() if not given.quiet and sys.stderr.isatty() else None
    try:
        if given.output is not None:
            _writing.check(given.output)
        records = ask(
            ports=given.ports,
            exclude=given.exclude,
            timeout=given.timeout,
            retries=given.retries,
            concurrency=given.concurrency,
            rate=given.rate,
            max_targets=given.max_targets,
            seed=given.seed,
            source_address=given.source_address,
            interface=given.interface,
            progress=progress,
        )
    except (ValueError, OSError) as error:
        if progress is not None:
            progress.clear()
        parser.error(str(error))
    if progress is not None:
        progress.clear()
    return _tell(given, records)


def _tell(given: argparse.Namespace, records: Records) -> int:
    try:
        _print(given, records)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read it has seen enough; Python must not complain about it at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if given.output is not None:
        try:
            records.save(given.output)
        except (OSError, ImportError) as error:
            print(f"python -m rsnet: {error}", file=sys.stderr)
            return 2
    if records.partial:
        return 130
    return 0 if any(state == "open" for state, _ in records._table.counts("state")) else 1


def _print(given: argparse.Namespace, records: Records) -> None:
    if given.json:
        _writing.write_json_lines(records, sys.stdout)
    elif given.csv:
        _writing.write_csv(records, sys.stdout)
    else:
        _print_table(records, everything=given.all or len(records) <= _ALL_SHOWN)
        print(records._title(), file=sys.stderr)


def _print_table(records: Records, everything: bool) -> None:
    """A line for each row: the target, its state, its times, what it said or what went wrong."""
    is_coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for row in records:
        if not everything and row.state != "open":
            continue
        host = row.address if row.name is None else row.name
        target = f"[{host}]:{row.port}" if ":" in host else f"{host}:{row.port}"
        state = f"{row.state:<11}"
        if is_coloured:
            state = f"\x1b[{_COLOURS[row.state]}m{state}\x1b[0m"
        print(f"{target:<28} {state} {_said(row)}".rstrip())


def _said(row: Any) -> str:
    if row.connect_ns is None:
        return row.error or ""
    parts = [f"{row.connect_ns / 1e6:9.3f} ms"]
    heard = getattr(row, "response", None) or getattr(row, "banner", None)
    if heard:
        text = repr(heard)[2:-1]
        parts.append(text if len(text) <= 100 else f"{text[:99]}\N{HORIZONTAL ELLIPSIS}")
    if getattr(row, "ending", None) not in (None, "complete"):
        parts.append(f"({row.ending})")
    return "  ".join(parts)


class _Line:
    """A line of progress that is written over."""

    def __init__(self) -> None:
        self._width = 0

    def __call__(self, done: int, total: int) -> None:
        text = f"{done:,} of {total:,} ({done / max(total, 1):.0%})"
        self._write(text.ljust(self._width))
        self._width = len(text)

    def clear(self) -> None:
        self._write(" " * self._width)
        self._write("")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text}")
        sys.stderr.flush()
