"""The workloads by name."""

from __future__ import annotations

from . import batches, bulk, calls, clients, footprint, protocols, threads
from .round import Workload

_EQUAL_64 = (64,) * batches.BATCH
_EQUAL_1200 = (1200,) * batches.BATCH
_FOUR = ("ask",) * 4

WORKLOADS: dict[str, Workload] = {
    "recv-tcp": calls.ready("tcp", None),
    "recv-tcp-timeout": calls.ready("tcp", 5.0),
    "recv-unix-timeout": calls.ready("unix", 5.0),
    "pair-unix": calls.send_and_recv,
    "udp-self": calls.udp_self(None),
    "udp-self-timeout": calls.udp_self(5.0),
    "recv-256k": calls.large("unix", "recv"),
    "recv-256k-into": calls.large("unix", "recv_into"),
    "recv-256k-tcp": calls.large("tcp", "recv"),
    "recv-256k-tcp-into": calls.large("tcp", "recv_into"),
    "makefile-readline": calls.makefile_readline,
    "tcp-client": clients.tcp_client(None),
    "tcp-client-timeout": clients.tcp_client(5.0),
    "udp-client": clients.udp_client(None),
    "udp-client-timeout": clients.udp_client(5.0),
    "create-connection": clients.create_connection,
    "accept": clients.accept,
    "asyncio-echo": protocols.asyncio_echo(None),
    "asyncio-echo-uvloop": protocols.asyncio_echo("uvloop"),
    "http-get": protocols.http_get,
    "redis-get": protocols.redis_get,
    "convoy-stream": threads.beside_a_computing_thread("read", None),
    "convoy-stream-interval": threads.beside_a_computing_thread("read", 5e-4),
    "convoy-request": threads.beside_a_computing_thread("ask", None),
    "convoy-request-interval": threads.beside_a_computing_thread("ask", 5e-4),
    "harm-stream-request": threads.among_themselves("read", "ask"),
    "harm-sendall-requests": threads.among_themselves("send", "ask", "ask", "ask"),
    "harm-4-requests": threads.among_themselves(*_FOUR),
    "harm-16-requests": threads.among_themselves(*_FOUR * 4),
    "harm-large": threads.among_themselves("send 1 MiB", "read 1 MiB"),
    "sendmmsg-one": batches.send((64,), "sendmmsg-addressed"),
    "sendmmsg-one-sendto": batches.send((64,), "sendto"),
    "sendmmsg-64": batches.send(batches.UNEQUAL_SIZES, "sendmmsg"),
    "sendmmsg-64-addressed": batches.send(batches.UNEQUAL_SIZES, "sendmmsg-addressed"),
    "sendmmsg-64-sendto": batches.send(batches.UNEQUAL_SIZES, "sendto"),
    "sendmmsg-64-send": batches.send(batches.UNEQUAL_SIZES, "send"),
    "sendmmsg-64-segmented": batches.send(_EQUAL_64, "sendmmsg"),
    "sendmmsg-64-segmented-sendto": batches.send(_EQUAL_64, "sendto"),
    "sendmmsg-64-segmented-send": batches.send(_EQUAL_64, "send"),
    "sendmmsg-1200-segmented": batches.send(_EQUAL_1200, "sendmmsg"),
    "sendmmsg-1200-segmented-sendto": batches.send(_EQUAL_1200, "sendto"),
    "sendmmsg-1200-segmented-send": batches.send(_EQUAL_1200, "send"),
    "recvmmsg-64-recvfrom": batches.receive(batched=False),
    "recvmmsg-64": batches.receive(batched=True),
    "recvmmsg-64-offload-recvfrom": batches.receive_offloaded(64, 64, batched=False),
    "recvmmsg-64-offload": batches.receive_offloaded(64, 64, batched=True),
    "recvmmsg-1200-offload-recvfrom": batches.receive_offloaded(1200, 54, batched=False),
    "recvmmsg-1200-offload": batches.receive_offloaded(1200, 54, batched=True),
    "sendall-bulk": bulk.sendall,
    "recv-into-bulk": bulk.recv_into,
    "import": footprint.import_time,
    "idle-sockets": footprint.idle_sockets,
}
