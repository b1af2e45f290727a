"""UDP measurements: probes on a schedule, and what came back of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rsnet import _asking, _progress, _rsnet, _socket
from rsnet.records import Records

if TYPE_CHECKING:
    from rsnet._progress import Progress

__all__ = ["ping"]

# RFC 8762 section 4.1.
_STAMP_PORT = 862
_STAMP_BYTES, _MOST_BYTES = 44, 65_507


def ping(
    target: Any,
    *,
    count: int = 10,
    interval: float = 0.1,
    timeout: float = 1.0,
    payload_bytes: int = _STAMP_BYTES,
    poisson: bool = False,
    seed: int | None = None,
    source_address: str | None = None,
    progress: bool | Progress | None = None,
) -> Records:
    """Measure round-trip time, loss, order and variation to a far end that answers by UDP.

    The far end is an echo (RFC 862) or a STAMP Session-Reflector (RFC 8762; `rsnet.reflector` is
    both); which of them is seen from the replies. Probes leave on a fixed schedule, whether or not
    replies come: a stall cannot hide itself.

    target: 'host:port', a (host, port) pair, or a host alone for STAMP's port 862. count: how
    many probes, 1 to 2**32-1. interval: seconds from one to the next. timeout: seconds after which
    a reply is late; the call ends that long after the last probe, or with the last reply.
    payload_bytes: the length of each probe's payload, 44 to 65507. poisson: draw the times between
    probes from an exponential distribution with `interval` as its mean (RFC 2330). seed: of these
    times. source_address: the address to send from. progress: True for a bar, or a callable that
    is given (done, count).

    Returns Records, a row for each probe that was sent: sequence; state ('received', 'late',
    'lost', or 'error' with errno and error: what this system or the network by ICMP said); rtt_ns
    (RFC 2681; a late reply has one too); forward_ns and backward_ns (one-way delays, RFC 7679, of
    STAMP only, and as right as both ends' clocks agree); ipdv_ns (against the probe before, signed,
    RFC 3393); pdv_ns (against the fastest, RFC 5481); send_late_ns (how late it left); copies
    (replies that came: 2 is a duplicate, RFC 5560); reorder_extent (RFC 4737, 0 in order); clock
    ('kernel' if the kernel noted the reply's arrival, 'user' if we did); time. `totals` has sent,
    received, lost, late, errors, loss_ratio (RFC 7680; late is lost), lost_forward and
    lost_backward (of STAMP), duplicates, reordered, reorder_extent (the largest), jitter_ns
    (RFC 3550). Ctrl-C gives the rows of the probes that were sent, with `partial` set.

    Raises ValueError for numbers out of range, TypeError for values of other types, socket.gaierror
    for a name that is not known, OSError for what the system says of the socket.

    Source: RFC 2681, RFC 7680 and the others named above.

    >>> import rsnet
    >>> with rsnet.reflector() as far_end:
    ...     replies = rsnet.udp.ping(far_end.stamp, count=5, interval=0.001)
    >>> replies.totals["received"], replies[0].state, replies[0].rtt_ns > 0
    (5, 'received', True)
    """
    host, port = _address(target)
    arguments = (
        host,
        port,
        _in_range("count", count, 1, 2**32 - 1),
        round(_asking.positive("interval", interval) * 1e9),
        round(_asking.positive("timeout", timeout) * 1e9),
        _in_range("payload_bytes", payload_bytes, _STAMP_BYTES, _MOST_BYTES),
        _asking.seed_of(seed) if poisson else None,
        source_address,
    )
    tell = _progress.shown(progress, "probes")
    try:
        table, totals, error = _rsnet.udp_ping(*arguments, tell)
    finally:
        _progress.close(tell)
    metadata = {"measurement": "udp.ping", "totals": json.dumps(_whole(totals))}
    if arguments[6] is not None:
        metadata["seed"] = str(arguments[6])
    if error is not None:
        metadata["partial"] = "true"
    records = Records(table.with_metadata(metadata))
    if error is None or isinstance(error, KeyboardInterrupt):
        return records
    error.__dict__["records"] = records
    raise error


def _whole(totals: list[tuple[str, float | None]]) -> dict[str, float | int | None]:
    """Counts as whole numbers."""
    ratios = ("loss_ratio", "jitter_ns")
    return {
        name: value if value is None or name in ratios else int(value) for name, value in totals
    }


def _in_range(name: str, value: int, least: int, most: int) -> int:
    number = _asking.positive_integer(name, value)
    if not least <= number <= most:
        raise ValueError(f"{name} is a number from {least:,} to {most:,}, not {number:,}")
    return number


def _address(target: Any) -> tuple[str, int]:
    """The far end's address and port, its name resolved."""
    if isinstance(target, tuple) and len(target) in (2, 4):
        host, port = str(target[0]), target[1]
    elif isinstance(target, str):
        host, port = _split(target)
    else:
        raise TypeError(f"target is 'host:port' or (host, port), not {type(target).__name__}")
    if not 1 <= port <= 65_535:
        raise ValueError(f"a port is a number from 1 to 65535, not {port}")
    found = _socket.getaddrinfo(host, port, type=2)
    return found[0][4][0], port


def _split(target: str) -> tuple[str, int]:
    host, colon, port = target.rpartition(":")
    if target.startswith("[") and target.endswith("]"):
        host, colon = target, ""
    if not colon or (":" in host and not host.startswith("[")):
        return target.strip("[]"), _STAMP_PORT
    if not port.isdecimal():
        raise ValueError(f"{target!r}: after the colon comes a port, a number from 1 to 65535")
    return host.strip("[]"), int(port)
