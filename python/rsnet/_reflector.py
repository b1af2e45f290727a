"""The far end of measurements."""

from __future__ import annotations

from rsnet import _asking, _rsnet


class reflector:
    """A far end for `rsnet.udp.ping`: answers UDP echo and STAMP in a thread of its own.

    It never makes more of what it gets: a reply is as long as its request, at most `rate` a second
    are answered, and none that come from a port below 1024, behind which another echo may be.

    host: the literal address to listen on; another than loopback's lets others measure against this
    machine. echo_port, stamp_port: 0 for any free one; the registered ones are 7 and 862. rate:
    datagrams answered in a second, at most.

    echo and stamp are the addresses, (host, port), that it listens on. counts() gives how many
    datagrams were received, answered and refused so far. stop() ends it, as the end of a `with`
    block does.

    Raises OSError for what the system says of the addresses, ValueError for numbers out of range.

    Source: RFC 862; RFC 8762, stateful, unauthenticated mode.

    >>> import rsnet
    >>> with rsnet.reflector() as far_end:
    ...     sock = rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM)
    ...     sock.sendto(b"hello", far_end.echo)
    ...     sock.recv(100)
    ...     sock.close()
    5
    b'hello'
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        echo_port: int = 0,
        stamp_port: int = 0,
        rate: float = 200_000,
    ) -> None:
        for name, port in (("echo_port", echo_port), ("stamp_port", stamp_port)):
            if not 0 <= _asking.positive_integer(name, port, or_zero=True) <= 65_535:
                raise ValueError(f"{name} is a number from 0 to 65535, not {port}")
        limit = _asking.positive("rate", rate)
        self._native = _rsnet.Reflector(host, echo_port, stamp_port, limit)

    @property
    def echo(self) -> tuple[str, int]:
        """Where UDP is echoed."""
        return self._native.echo

    @property
    def stamp(self) -> tuple[str, int]:
        """Where STAMP packets are reflected."""
        return self._native.stamp

    def counts(self) -> dict[str, int]:
        """Datagrams received, answered and refused so far."""
        counts = self._native.counts()
        return dict(zip(("received", "answered", "refused"), counts, strict=True))

    def stop(self) -> None:
        """End it; its ports are free then."""
        self._native.stop()

    def __enter__(self) -> reflector:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        (host, echo_port), (_, stamp_port) = self.echo, self.stamp
        return f"<rsnet.reflector on {host}: echo {echo_port}, STAMP {stamp_port}>"


reflector.__module__ = "rsnet"
