"""`python -m rsnet ping` and `python -m rsnet serve`: both ends of a measurement by UDP."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from rsnet import _writing, udp
from rsnet._asking_command import _Line
from rsnet._reflector import reflector
from rsnet.records import Records

_PING_EXAMPLES = """\
The far end is `python -m rsnet serve`, or any STAMP reflector (RFC 8762) or UDP echo (RFC 862).

exit codes: 0 if any reply came, 1 if none did, 2 for a wrong command line or a socket that cannot
be, 130 after Ctrl-C (what was done until then is printed).

examples:
  python -m rsnet ping 192.0.2.7
  python -m rsnet ping 192.0.2.7:7 --count 10000 --interval 0.0001 --output replies.parquet
"""

_SERVE_EXAMPLES = """\
examples:
  python -m rsnet serve
  python -m rsnet serve --host 0.0.0.0 --stamp-port 862 --echo-port 7
"""


def ping(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rsnet ping",
        description=(udp.ping.__doc__ or "").partition("\n")[0],
        epilog=_PING_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("target", help="host:port, or a host alone for STAMP's port 862")
    add("-c", "--count", type=int, default=10, metavar="N", help="probes; 10 without it")
    add("-i", "--interval", type=float, default=1.0, metavar="SECONDS", help="1 without it")
    add("-w", "--timeout", type=float, default=1.0, metavar="SECONDS", help="1 without it")
    add("-s", "--payload-bytes", type=int, default=44, metavar="N", help="of a probe; 44 at least")
    add("--poisson", action="store_true", help="random times between probes (RFC 2330)")
    add("--seed", type=int, metavar="N", help="of these times")
    add("--source-address", metavar="ADDRESS", help="where to send from")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object for each probe")
    form.add_argument("--csv", action="store_true", help="comma-separated values")
    add("-o", "--output", metavar="FILE", help="every row to a .csv, .jsonl, .json or .parquet")
    add("-q", "--quiet", action="store_true", help="no progress")
    given = parser.parse_args(arguments)
    progress = _Line() if not given.quiet and sys.stderr.isatty() else None
    try:
        if given.output is not None:
            _writing.check(given.output)
        records = udp.ping(
            given.target,
            count=given.count,
            interval=given.interval,
            timeout=given.timeout,
            payload_bytes=given.payload_bytes,
            poisson=given.poisson,
            seed=given.seed,
            source_address=given.source_address,
            progress=progress,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    finally:
        if progress is not None:
            progress.clear()
    _print(given, records)
    if given.output is not None:
        try:
            records.save(given.output)
        except (OSError, ImportError) as error:
            parser.error(str(error))
    if records.partial:
        return 130
    return 0 if records.totals["received"] else 1


def _print(given: argparse.Namespace, records: Records) -> None:
    if given.json:
        _writing.write_json_lines(records, sys.stdout)
    elif given.csv:
        _writing.write_csv(records, sys.stdout)
    else:
        _print_summary(records)


def _print_summary(records: Records) -> None:
    totals = records.totals
    print(
        f"{totals['sent']:,} sent, {totals['received']:,} received, {totals['late']:,} late, "
        f"{totals['lost']:,} lost, {totals['errors']:,} errors: {totals['loss_ratio']:.2%} loss"
    )
    if totals["lost_forward"] is not None:
        there, back = totals["lost_forward"], totals["lost_backward"]
        print(f"{there:,} lost on the way there, {back:,} on the way back")
    print(f"{totals['duplicates']:,} duplicates, {totals['reordered']:,} out of order")
    for row in records.summary():
        if row.state == "received" and row.metric in ("rtt_ns", "forward_ns", "backward_ns"):
            name = row.metric.removesuffix("_ns")
            times = (row.min, row.p50, row.p90, row.p99, row.max)
            shown = "  ".join(f"{time / 1e6:.3f}" for time in times)
            print(f"{name:<9} min/p50/p90/p99/max  {shown} ms")
    if totals["jitter_ns"] is not None:
        print(f"jitter    {totals['jitter_ns'] / 1e6:.3f} ms")
    for text, count in _errors(records).items():
        print(f"{count:,} x {text}")


def _errors(records: Records) -> dict[str, int]:
    texts = [text for text in records.column("error") if text is not None]
    return {text: texts.count(text) for text in dict.fromkeys(texts)}


def serve(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rsnet serve",
        description="Answer UDP echo and STAMP until interrupted, as far end of `ping`.",
        epilog=_SERVE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="loopback without it")
    add("--echo-port", type=int, default=0, metavar="N", help="any free one without it")
    add(
        "--stamp-port", type=int, default=862, metavar="N", help="862 without it; 0 is any free one"
    )
    add("--rate", type=float, default=200_000, metavar="N", help="answers a second, at most")
    given = parser.parse_args(arguments)
    try:
        far_end = reflector(
            given.host, echo_port=given.echo_port, stamp_port=given.stamp_port, rate=given.rate
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    # A service manager ends it by SIGTERM, which is no failure.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with far_end:
        print(f"echo {_shown(far_end.echo)}")
        print(f"stamp {_shown(far_end.stamp)}", flush=True)
        try:
            while True:
                signal.pause()
        except KeyboardInterrupt:
            pass
    counts = far_end.counts()
    print(", ".join(f"{count:,} {what}" for what, count in counts.items()), file=sys.stderr)
    return 0


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
