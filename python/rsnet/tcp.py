"""TCP clients and measurements: one call for many peers, and a row for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rsnet import _asking, _fan_out, _progress, _rsnet
from rsnet.records import Records

if TYPE_CHECKING:
    from rsnet._fan_out import Executor
    from rsnet._progress import Progress

__all__ = ["exchange", "ping", "probe"]

# Connections at a time, where descriptors allow it.
_CONCURRENCY = 10_000


def probe(
    targets: Any,
    ports: Any = None,
    *,
    timeout: float = 1.0,
    concurrency: int | None = None,
    rate: float | None = None,
    retries: int = 0,
    banner: int = 0,
    exclude: Any = (),
    max_targets: int | None = None,
    seed: int | None = None,
    source_address: str | None = None,
    interface: str | None = None,
    progress: bool | Progress | None = None,
    executor: Executor | None = None,
    shards: int | None = None,
) -> Records:
    """Ask which TCP ports are open: connect to every target, and say what came of it.

    targets: a text ('192.0.2.1', 'example.org:443', '192.0.2.0/24', '192.0.2.1-20', several with
    blanks between them), an ipaddress object, a (host, port) pair, the path of a file with
    targets (a pathlib.Path), or an iterable of these. Each pair of a host and a port is asked
    once. ports: for targets without ports of their own: a number, a text ('22,80,8000-8100'), a
    range, or several. timeout: seconds a name's lookup, a handshake and a banner may take each.
    concurrency: connections at a time, at most; 10,000 without it, fewer where there are not as
    many descriptors. rate: connections begun in a second, at most. retries: how often a target is
    asked again that did not answer in time, 0 to 254. banner: bytes to keep of what a peer says
    first; 0 does not wait for it. exclude: hosts to leave out. max_targets: the most targets; of
    more than these a random sample is asked. seed: of the random order, 0 to 2**64-1; without it
    a new one, which `metadata` has. source_address, interface: where to connect from. progress:
    True for a bar, or a callable that is given (done, total). executor: what runs parts of it
    elsewhere, anything with submit(); shards: how many parts, 16 without it.

    Returns Records, a row for each target, in the order of the targets: address (None for a name
    that has none), name (None for an address), port, state, errno, error (in words), resolve_ns,
    connect_ns (from connect(2) to the completed handshake), banner (with `banner`), attempt, time.
    state is 'open' (handshake completed), 'refused' (reset), 'filtered' (no answer in time, or an
    ICMP prohibition), 'unreachable' (the network says so) or 'error' (anything local, and names
    that are not known). Ctrl-C gives the rows that are done, with `partial` set.

    Raises ValueError for what is no target, for ports that are none, for numbers out of range and
    for more than 2**24 targets without max_targets; TypeError for values of other types; OSError if
    there is no descriptor for the measurement itself. What a target lacks is in its row.

    Source: connect(2); RFC 9293 section 3.5; the states are those of nmap, refined.

    >>> import rsnet
    >>> with rsnet.create_server(("127.0.0.1", 0)) as server:
    ...     row, = rsnet.tcp.probe("127.0.0.1", server.getsockname()[1])
    >>> row.state, row.attempt, row.connect_ns > 0
    ('open', 1, True)
    """
    settings = {
        "timeout": _asking.positive("timeout", timeout),
        "concurrency": _concurrency(concurrency),
        "rate": None if rate is None else _asking.positive("rate", rate),
        "retries": _retries(retries),
        "source": source_address,
        "interface": interface,
    }
    most_bytes = _asking.positive_integer("banner", banner, or_zero=True)
    if most_bytes:
        settings |= {"most_bytes": most_bytes, "response_timeout": settings["timeout"]}
    asked = _asking.Asked(targets, ports, exclude)
    return _ask("tcp.probe", asked, settings, max_targets, seed, progress, executor, shards)


def exchange(
    targets: Any,
    payload: bytes | bytearray | memoryview | str,
    ports: Any = None,
    *,
    until: bytes | int | float | None = None,
    max_bytes: int = 65_536,
    timeout: float = 5.0,
    concurrency: int | None = None,
    rate: float | None = None,
    retries: int = 0,
    exclude: Any = (),
    max_targets: int | None = None,
    seed: int | None = None,
    source_address: str | None = None,
    interface: str | None = None,
    progress: bool | Progress | None = None,
    executor: Executor | None = None,
    shards: int | None = None,
) -> Records:
    """Connect to every target, send the same request, and keep each response.

    targets, ports, concurrency, rate, retries, exclude, max_targets, seed, source_address,
    interface, progress, executor, shards: as for `probe`. payload: what is sent; a str in UTF-8.
    until: what ends a response: bytes (up to and with this delimiter), an int (so many bytes), a
    float (so many seconds of silence) or None (the peer's close). max_bytes: the most bytes to keep
    of a response. timeout: seconds a name's lookup, a handshake, and the exchange may take each.

    Returns Records, a row for each target: address, name, port, state, errno, error, resolve_ns,
    connect_ns, first_byte_ns (from the request written to the first byte read), total_ns (from
    connect(2) to the end), ending ('complete'; 'closed' by the peer before; 'timed out';
    'full' after max_bytes; 'broken' by an error), response (what came, complete or not),
    attempt, time. Without a connection, ending and response are None. Ctrl-C gives the rows that
    are done.

    Raises ValueError, TypeError and OSError as `probe` does.

    Source: connect(2), send(2), recv(2); the times are curl's, see curl(1), --write-out.

    >>> import rsnet, threading
    >>> def greet(server):
    ...     sock, _ = server.accept()
    ...     with sock:
    ...         sock.sendall(b"hello " + sock.recv(100))
    >>> with rsnet.create_server(("127.0.0.1", 0)) as server:
    ...     threading.Thread(target=greet, args=(server,)).start()
    ...     row, = rsnet.tcp.exchange("127.0.0.1", b"you", server.getsockname()[1])
    >>> row.response, row.ending
    (b'hello you', 'complete')
    """
    limit_s = _asking.positive("timeout", timeout)
    settings = {
        "timeout": limit_s,
        "response_timeout": limit_s,
        "concurrency": _concurrency(concurrency),
        "rate": None if rate is None else _asking.positive("rate", rate),
        "retries": _retries(retries),
        "source": source_address,
        "interface": interface,
        "payload": payload.encode() if isinstance(payload, str) else bytes(memoryview(payload)),
        "most_bytes": _asking.positive_integer("max_bytes", max_bytes),
        **_until(until),
    }
    asked = _asking.Asked(targets, ports, exclude)
    return _ask("tcp.exchange", asked, settings, max_targets, seed, progress, executor, shards)


def ping(
    targets: Any,
    ports: Any = None,
    *,
    count: int = 10,
    interval: float = 1.0,
    timeout: float = 1.0,
    source_address: str | None = None,
    interface: str | None = None,
    progress: bool | Progress | None = None,
) -> Records:
    """Measure the time of a TCP handshake to one or more targets, again and again.

    All targets are connected to in each round, and each connection is closed at once. Rounds begin
    on a fixed schedule, whether or not those before have an answer: a stall cannot hide itself.

    targets, ports, source_address, interface: as for `probe`. count: how many rounds, 1 to
    2**32-1. interval: seconds from one round to the next. timeout: seconds a name's lookup and a
    handshake may take each. progress: True for a bar, or a callable that is given (done, total).

    Returns Records, a row for each target and round, in this order: address, name, port, sequence
    (the round's number), state, errno, error, resolve_ns, connect_ns (from connect(2) to the
    completed handshake), send_late_ns (how late it began), attempt, time. The states are those of
    `probe`. A name is looked up once, in the first round. Ctrl-C gives the rows that are done.

    Raises ValueError, TypeError and OSError as `probe` does.

    Source: connect(2); RFC 9293 section 3.5.

    >>> import rsnet
    >>> with rsnet.create_server(("127.0.0.1", 0)) as server:
    ...     times = rsnet.tcp.ping(server.getsockname(), count=3, interval=0.01)
    >>> [(row.sequence, row.state) for row in times]
    [(0, 'open'), (1, 'open'), (2, 'open')]
    """
    rounds = _asking.positive_integer("count", count)
    if rounds >= 1 << 32:
        raise ValueError(f"count is below 2**32, not {rounds}")
    settings = {
        "timeout": _asking.positive("timeout", timeout),
        "concurrency": _CONCURRENCY,
        "rate": None,
        "every": _asking.positive("interval", interval),
        "rounds": rounds,
        "source": source_address,
        "interface": interface,
    }
    asked = _asking.Asked(targets, ports, ())
    return _ask("tcp.ping", asked, settings, None, 0, progress, None, None)


def _until(until: bytes | int | float | None) -> dict[str, Any]:
    if until is None:
        return {"until_close": True}
    if isinstance(until, float):
        return {"until_silence": _asking.positive("until", until)}
    if isinstance(until, bytes | bytearray | memoryview):
        if not until:
            raise ValueError("until is a delimiter of at least one byte")
        return {"until_delimiter": bytes(until)}
    return {"until_bytes": _asking.positive_integer("until", until)}


def _concurrency(concurrency: int | None) -> int:
    if concurrency is None:
        return _CONCURRENCY
    return _asking.positive_integer("concurrency", concurrency)


def _retries(retries: int) -> int:
    number = _asking.positive_integer("retries", retries, or_zero=True)
    if number > 254:
        raise ValueError(f"retries is at most 254, not {number}")
    return number


def _ask(
    kind: str,
    asked: _asking.Asked,
    settings: dict[str, Any],
    max_targets: int | None,
    seed: int | None,
    progress: bool | Progress | None,
    executor: Executor | None,
    shards: int | None,
) -> Records:
    """Checks everything, then asks."""
    native = asked.native()
    total = _asking.most_targets(native.count(), max_targets)
    settings |= {"most_targets": total, "seed": _asking.seed_of(seed)}
    tell = _progress.shown(progress, "targets")
    try:
        if executor is None:
            return _ask_part(kind, native, settings, tell)
        count = _fan_out.SHARDS if shards is None else _asking.positive_integer("shards", shards)
        count = max(1, min(count, total))
        if settings["rate"] is not None:
            # All parts together keep to it.
            settings["rate"] /= count
        done = _fan_out.run(executor, _ask_shard, (kind, asked, settings), count, tell, total)
        if done.partial:
            return done
        return Records(done._table.take(native.places(settings["seed"], total, count)))
    finally:
        _progress.close(tell)


def _ask_shard(
    kind: str, asked: _asking.Asked, settings: dict[str, Any], shard: int, shards: int
) -> Records:
    """A part, wherever it is run."""
    part = {**settings, "shard": shard, "shards": shards}
    return _ask_part(kind, asked.native(), part, None)


def _ask_part(
    kind: str, native: _rsnet.Targets, settings: dict[str, Any], tell: Progress | None
) -> Records:
    table, error = _rsnet.tcp_clients(native, settings, tell)
    metadata = {"measurement": kind, "seed": str(settings["seed"])}
    if error is not None:
        metadata["partial"] = "true"
    records = Records(table.with_metadata(metadata))
    if error is None or isinstance(error, KeyboardInterrupt):
        return records
    # Whatever else a signal's handler or the callable raised: with what was done until then.
    error.__dict__["records"] = records
    raise error
