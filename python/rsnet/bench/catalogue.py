"""The rows of the scoreboard: what is measured, with what, and what should come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType


class Kind(Enum):
    """What a target compares."""

    STDLIB = "times the standard library"
    FLOOR = "of the floor"
    SHARE = "of what it gets alone"
    THREAD = "times its share with the standard library, for the thread that gets least"
    EXTRA = "more than the standard library"


@dataclass(frozen=True)
class Target:
    """A bound for one figure of a row: at most for EXTRA, at least for all others."""

    kind: Kind
    bound: float
    metric: str = "ns"
    label: str = ""


@dataclass(frozen=True)
class Peer:
    """Another way to do the same, which users have without rsnet."""

    label: str
    workload: str
    module: str = "socket"


@dataclass(frozen=True)
class Row:
    """One row.

    stdlib: the workload of the standard library, where it has to do the same in another way.
    amount: the size of a round; None to find the one that takes a few milliseconds.
    quick_amount: the same for a quick run.
    batch: rounds are rounded up to multiples of this.
    feeding: system calls per operation that are not measured but made by the same process.
    patience: how many times as long as other rows it is measured.
    """

    name: str
    title: str
    targets: tuple[Target, ...]
    stdlib: str = ""
    peer: Peer | None = None
    metric: str = "ns"
    unit: str = "operation"
    amount: int | None = None
    quick_amount: int | None = None
    batch: int = 256
    feeding: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    is_counted: bool = True
    patience: float = 1.0


def faster(bound: float, metric: str = "ns", label: str = "") -> Target:
    return Target(Kind.STDLIB, bound, metric, label)


def of_floor(bound: float) -> Target:
    return Target(Kind.FLOOR, bound)


_NEVER_SLOWER_P99 = faster(1.0, "p99_ns", "99th percentile")
_FED_BY_WRITE = {"write": 1.0}
_EMPTIED_BY_READ = {"read": 1 + 1 / 128}


def _threads(name: str, title: str) -> Row:
    """A row of the harm guard."""
    return Row(
        name,
        title,
        (faster(0.95), Target(Kind.THREAD, 0.8, label="thread that gets least")),
        amount=150,
        quick_amount=40,
        is_counted=False,
    )


def _convoy(name: str, title: str, bound: float) -> Row:
    return Row(
        name,
        title,
        (faster(bound), Target(Kind.SHARE, 0.35, "cpu_share", "the computing thread keeps")),
        peer=Peer("stdlib, setswitchinterval(0.0005)", f"{name}-interval"),
        amount=200,
        quick_amount=60,
        is_counted=False,
        patience=2.0,
    )


def _segmented(name: str, size_bytes: int, bound: float) -> Row:
    return Row(
        name,
        f"sendmmsg {size_bytes} B, segmented, against a sendto loop",
        (faster(bound), of_floor(0.92)),
        stdlib=f"{name}-sendto",
        peer=Peer("stdlib, send loop on a connected socket", f"{name}-send"),
        feeding=_EMPTIED_BY_READ,
    )


ROWS = (
    Row(
        "recv-tcp-timeout",
        "recv 64 B ready, timeout 5 s, TCP",
        (faster(1.95), of_floor(0.85)),
        feeding={"write": 1 / 128},
    ),
    Row(
        "recv-unix-timeout",
        "recv 64 B ready, timeout 5 s, Unix pair",
        (faster(1.90), of_floor(0.85)),
        feeding=_FED_BY_WRITE,
    ),
    Row(
        "pair-unix",
        "send+recv 64 B, blocking, Unix pair",
        (faster(1.20), of_floor(0.85)),
    ),
    Row(
        "recv-tcp",
        "recv 64 B ready, blocking, TCP",
        (faster(1.18), of_floor(0.85)),
        feeding={"write": 1 / 128},
    ),
    Row(
        "instructions",
        "user instructions per send+recv pair, blocking (callgrind)",
        (Target(Kind.STDLIB, 3.0, "instructions"),),
        metric="instructions",
        unit="pair",
        is_counted=False,
    ),
    Row(
        "udp-self-timeout",
        "UDP sendto+recvfrom to itself, timeout 5 s",
        (faster(1.75), of_floor(0.93)),
    ),
    Row(
        "udp-self",
        "UDP sendto+recvfrom to itself, blocking",
        (faster(1.34), of_floor(0.93)),
    ),
    Row(
        "tcp-client",
        "TCP client program, blocking",
        (faster(1.15), of_floor(0.90), _NEVER_SLOWER_P99),
        patience=1.5,
    ),
    Row(
        "tcp-client-timeout",
        "TCP client program, timeout 5 s",
        (faster(1.15), of_floor(0.90), _NEVER_SLOWER_P99),
        patience=1.5,
    ),
    Row(
        "udp-client",
        "UDP client program, blocking",
        (faster(1.10), of_floor(0.90), _NEVER_SLOWER_P99),
        patience=1.5,
    ),
    Row(
        "udp-client-timeout",
        "UDP client program, timeout 5 s",
        (faster(1.18), of_floor(0.90), _NEVER_SLOWER_P99),
        patience=1.5,
    ),
    Row(
        "create-connection",
        "create_connection(numeric, 5)+close",
        (faster(1.6), of_floor(0.80)),
        feeding={"accept4": 1, "close": 1},
    ),
    Row(
        "accept",
        "accept ready",
        (faster(2.3), of_floor(0.80)),
        feeding={"socket": 1, "connect": 1, "close": 2},
    ),
    Row(
        "recv-256k",
        "recv(256 KiB) getting 100 B, Unix pair",
        (faster(10),),
        peer=Peer("stdlib, recv_into", "recv-256k-into"),
        feeding=_FED_BY_WRITE,
    ),
    Row(
        "recv-256k-tcp",
        "recv(256 KiB) getting 100 B, TCP (where recv also acknowledges)",
        (),
        peer=Peer("stdlib, recv_into", "recv-256k-tcp-into"),
        feeding=_FED_BY_WRITE,
    ),
    Row(
        "asyncio-echo",
        "asyncio StreamReader echo of 100 B",
        (faster(1.7),),
        peer=Peer("uvloop", "asyncio-echo-uvloop"),
    ),
    Row(
        "makefile-readline",
        "makefile readline of 1 KiB lines",
        (faster(1.2),),
        feeding={"write": 1 / 64},
    ),
    Row("http-get", "http.client keep-alive GET, timeout 5 s", (faster(1.09),)),
    Row("redis-get", "redis-py GET, timeout 5 s", (faster(1.05),)),
    _convoy("convoy-stream", "beside a computing thread: recv 4 KiB of a stream", 30),
    _convoy("convoy-request", "beside a computing thread: request and response", 10),
    _threads("harm-stream-request", "threads: 1 streams, 1 asks"),
    _threads("harm-sendall-requests", "threads: 1 in sendall, 3 ask"),
    _threads("harm-4-requests", "threads: 4 ask"),
    _threads("harm-16-requests", "threads: 16 ask"),
    _threads("harm-large", "threads: 1 sends and 1 receives by the MiB"),
    Row(
        "sendmmsg-one",
        "sendmmsg, a batch of one, against sendto",
        (faster(1.0),),
        stdlib="sendmmsg-one-sendto",
        feeding={"read": 2},
    ),
    Row(
        "sendmmsg-64",
        "sendmmsg 64 B, plain, against a sendto loop",
        (faster(1.55), of_floor(0.95)),
        stdlib="sendmmsg-64-sendto",
        peer=Peer("stdlib, send loop on a connected socket", "sendmmsg-64-send"),
        feeding=_EMPTIED_BY_READ,
    ),
    Row(
        "sendmmsg-64-addressed",
        "sendmmsg 64 B, plain, (buffer, address), against a sendto loop",
        (),
        stdlib="sendmmsg-64-sendto",
        feeding=_EMPTIED_BY_READ,
    ),
    _segmented("sendmmsg-64-segmented", 64, 7),
    _segmented("sendmmsg-1200-segmented", 1200, 5.8),
    Row(
        "recvmmsg-64",
        "recvmmsg 64 B, plain, against a recvfrom loop",
        (faster(3.2), of_floor(0.90)),
        stdlib="recvmmsg-64-recvfrom",
        feeding=_FED_BY_WRITE,
    ),
    Row(
        "recvmmsg-64-offload",
        "recvmmsg 64 B, offloaded, against a recvfrom loop",
        (faster(28), of_floor(0.45)),
        stdlib="recvmmsg-64-offload-recvfrom",
        feeding={"sendmsg": 1 / 64},
    ),
    Row(
        "recvmmsg-1200-offload",
        "recvmmsg 1200 B, offloaded, against a recvfrom loop",
        (faster(9.5), of_floor(0.45)),
        stdlib="recvmmsg-1200-offload-recvfrom",
        batch=216,
        feeding={"sendmsg": 1 / 54},
    ),
    Row(
        "sendall-bulk",
        "sendall of 1 MiB, until 1 GiB",
        (faster(0.97), of_floor(0.95)),
        unit="MiB",
        amount=32,
        quick_amount=16,
        batch=16,
        patience=1.5,
    ),
    Row(
        "recv-into-bulk",
        "recv_into of 256 KiB, until 1 GiB",
        (faster(0.97), of_floor(0.95)),
        unit="MiB",
        amount=32,
        quick_amount=16,
        batch=16,
        patience=1.5,
    ),
    Row(
        "import",
        "import, beside import socket",
        (Target(Kind.EXTRA, 4e6),),
        unit="import",
        amount=1,
        quick_amount=1,
        is_counted=False,
    ),
    Row(
        "idle-sockets",
        "10,000 idle sockets: memory each",
        (Target(Kind.STDLIB, 1.0, "bytes"),),
        metric="bytes",
        unit="socket",
        amount=1,
        quick_amount=1,
        is_counted=False,
    ),
)
