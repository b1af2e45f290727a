# The names are the standard module's, and so are their types: what takes a `socket.socket` takes an
# rsnet one, which has more.
import socket as _stdlib
from collections.abc import Iterable
from typing import Any

from _typeshed import WriteableBuffer

from rsnet import records as records
from rsnet import tcp as tcp
from rsnet import udp as udp
from rsnet._patch import patch as patch
from rsnet._patch import patched as patched
from rsnet._patch import unpatch as unpatch
from rsnet._reflector import reflector as reflector
from rsnet._rsnet import Datagram as Datagram
from rsnet._rsnet import QueuedError as QueuedError
from rsnet._tcp_info import TcpInfo as TcpInfo

IP_RECVERR: int
IP_RECVTTL: int
IPV6_RECVERR: int
UDP_GRO: int
UDP_SEGMENT: int

def __getattr__(name: str) -> Any: ...
def gil_policy(policy: str | None = None) -> str: ...

class socket(_stdlib.socket):
    gro: bool
    metadata: bool
    def recverr(self, count: int = 64) -> list[QueuedError]: ...
    def recvmmsg(
        self,
        count: int,
        bufsize: int,
        ancbufsize: int = 0,
        flags: int = 0,
        *,
        timeout: float | None = ...,
    ) -> list[Datagram]: ...
    def recvmmsg_into(
        self,
        buffer: WriteableBuffer,
        bufsize: int = 0,
        flags: int = 0,
        *,
        timeout: float | None = ...,
    ) -> tuple[memoryview, list[Any]]: ...
    def tcp_info(self) -> TcpInfo: ...
    def sendmmsg(self, messages: Iterable[Any], flags: int = 0) -> int: ...

# Behind the class: the first definition of a name is the one that counts.
from socket import *  # type: ignore[assignment]  # noqa: E402
from socket import SocketType as SocketType  # noqa: E402
