"""Datagrams by the batch, against a loop of single calls."""

from __future__ import annotations

import os
import socket as standard
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from time import perf_counter_ns
from typing import Any

from .round import Figures, Round, Setting, Workload, attribute, mean

# Datagrams a call.
BATCH = 128
# 64 on average, and each larger than the one before: no two of them can be sent as segments.
UNEQUAL_SIZES = tuple(33 + number % 64 for number in range(BATCH))
# Sends of many segments that wait to be received. A segmented send has at most 64 segments here: so
# many a network card's offload puts together (UDP_GRO_CNT_MAX), though loopback would take more.
SENDS_FED = 4
RECEIVE_BUFFER_BYTES = 4 << 20
LARGEST_BYTES = 2048
# From linux/udp.h; the socket module does not have them.
UDP_SEGMENT = 103


@contextmanager
def udp_receiver(module: Any) -> Iterator[Any]:
    with module.socket(module.AF_INET, module.SOCK_DGRAM) as receiver:
        receiver.setsockopt(module.SOL_SOCKET, module.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        receiver.bind(("127.0.0.1", 0))
        yield receiver


def send(sizes: tuple[int, ...], how: str) -> Workload:
    """One batch of datagrams to one peer.

    how: "sendto" and "send" make a call for each, on a connected socket in the latter case;
        "sendmmsg" makes one on a connected socket, "sendmmsg-addressed" one with (buffer, address).
    """

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        module = setting.module
        with (
            udp_receiver(standard) as receiver,
            module.socket(module.AF_INET, module.SOCK_DGRAM) as sender,
        ):
            receiver.setblocking(False)
            if how in ("send", "sendmmsg"):
                sender.connect(receiver.getsockname())
            payloads = [b"x" * size for size in sizes]
            send_batch = batch_sender(sender, payloads, receiver.getsockname(), how)

            def run(amount: int) -> Figures:
                batches = -(-amount // len(payloads))
                total_ns = 0
                for _ in repeat(None, batches):
                    started_ns = perf_counter_ns()
                    send_batch()
                    total_ns += perf_counter_ns() - started_ns
                    empty(receiver.fileno())
                return mean(total_ns, batches * len(payloads))

            yield run

    return open_workload


def batch_sender(
    sender: Any, payloads: list[bytes], address: tuple[str, int], how: str
) -> Callable[[], None]:
    if how.startswith("sendmmsg"):
        sendmmsg = attribute(sender, "sendmmsg")
        addressed = [(payload, address) for payload in payloads]
        messages = addressed if how == "sendmmsg-addressed" else payloads
        return lambda: sendmmsg(messages)
    sendto, send = sender.sendto, sender.send

    def send_each_to() -> None:
        for payload in payloads:
            sendto(payload, address)

    def send_each() -> None:
        for payload in payloads:
            send(payload)

    return send_each_to if how == "sendto" else send_each


def empty(fd: int) -> None:
    """Takes everything out of a non-blocking socket, by read(2)."""
    try:
        while True:
            os.read(fd, LARGEST_BYTES)
    except BlockingIOError:
        return


def receive(batched: bool) -> Workload:
    """One batch of 64-byte datagrams that are there: by recvmmsg, or by recvfrom for each."""

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        payload = b"x" * 64
        with (
            udp_receiver(setting.module) as receiver,
            standard.socket(standard.AF_INET, standard.SOCK_DGRAM) as sender,
        ):
            sender.connect(receiver.getsockname())
            fd = sender.fileno()

            def feed() -> None:
                for _ in repeat(None, BATCH):
                    os.write(fd, payload)

            yield rounds(feed, taker(receiver, BATCH, batched), BATCH)

    return open_workload


def receive_offloaded(size: int, segments: int, batched: bool) -> Workload:
    """Datagrams that were sent as segments: handed over in one piece and cut, or one by one."""

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        segment = [(standard.SOL_UDP, UDP_SEGMENT, struct.pack("=H", size))]
        payload = b"x" * (size * segments)
        with (
            udp_receiver(setting.module) as receiver,
            standard.socket(standard.AF_INET, standard.SOCK_DGRAM) as sender,
        ):
            if batched:
                attribute(receiver, "gro")
                receiver.gro = True
            sender.connect(receiver.getsockname())

            def feed() -> None:
                for _ in repeat(None, SENDS_FED):
                    sender.sendmsg([payload], segment)

            datagrams = SENDS_FED * segments
            yield rounds(feed, taker(receiver, datagrams, batched), datagrams)

    return open_workload


def taker(receiver: Any, datagrams: int, batched: bool) -> Callable[[], None]:
    """What takes that many datagrams that are there."""
    if not batched:
        recvfrom = receiver.recvfrom

        def take_each() -> None:
            for _ in repeat(None, datagrams):
                recvfrom(LARGEST_BYTES)

        return take_each
    recvmmsg = attribute(receiver, "recvmmsg")

    def take_batches() -> None:
        missing = datagrams
        while missing > 0:
            missing -= len(recvmmsg(missing, LARGEST_BYTES))

    return take_batches


def rounds(feed: Callable[[], None], take: Callable[[], None], datagrams: int) -> Round:
    def run(amount: int) -> Figures:
        batches = -(-amount // datagrams)
        total_ns = 0
        for _ in repeat(None, batches):
            feed()
            started_ns = perf_counter_ns()
            take()
            total_ns += perf_counter_ns() - started_ns
        return mean(total_ns, batches * datagrams)

    return run
