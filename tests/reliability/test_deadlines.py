"""One deadline per call, however many system calls it takes."""

import os
import threading
import time
from socket import AF_INET, AF_UNIX, SOCK_DGRAM

import pytest

import rsnet

TIMEOUT_S = 0.15
LATE_S = 5


@pytest.mark.parametrize("family", [AF_INET, AF_UNIX])
def test_sendall_to_a_peer_that_reads_slowly(pair, in_thread, family):
    # Each part goes out in time; the whole does not.
    sock, peer = pair(rsnet, family)
    sock.settimeout(TIMEOUT_S)
    over = threading.Event()

    def read_slowly():
        while not over.wait(0.005):
            peer.recv(100_000)

    reading = in_thread(read_slowly)
    began = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        sock.sendall(bytes(1_000_000_000))
    assert TIMEOUT_S <= time.monotonic() - began < LATE_S
    assert caught.value.bytes_sent > 0
    over.set()
    reading.result()


def test_recv_of_everything_from_a_peer_that_sends_slowly(pair, in_thread):
    sock, peer = pair(rsnet)
    sock.settimeout(TIMEOUT_S)
    over = threading.Event()

    def send_slowly():
        while not over.wait(0.005):
            peer.send(b"x")

    sending = in_thread(send_slowly)
    began = time.monotonic()
    # What is there when it is first read is what a call with a timeout gives.
    assert sock.recv(1_000_000)
    assert time.monotonic() - began < LATE_S
    over.set()
    sending.result()


def test_the_deadline_begins_anew_with_each_call(pair):
    sock, _ = pair(rsnet)
    sock.settimeout(0.05)
    for _ in range(4):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert 0.05 <= time.monotonic() - began < LATE_S


@pytest.mark.parametrize("timeout_s", [0.001, 0.01, 0.0333, 0.1])
def test_never_early(pair, timeout_s):
    sock, _ = pair(rsnet, AF_INET, SOCK_DGRAM)
    sock.settimeout(timeout_s)
    for _ in range(5):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert time.monotonic() - began >= timeout_s


def test_a_false_alarm_does_not_end_the_wait(pair, in_thread):
    # Readiness that somebody else used up: the call goes back to waiting, on the same deadline.
    sock, peer = pair(rsnet, AF_INET, SOCK_DGRAM)
    sock.settimeout(2)
    waiting = [in_thread(sock.recv, 9) for _ in range(4)]
    for call in waiting:
        call.until_blocked()
    peer.send(b"one")
    while all(call.is_running for call in waiting):
        os.sched_yield()
    peer.send(b"two")
    peer.send(b"three")
    peer.send(b"four")
    assert sorted(call.result() for call in waiting) == [b"four", b"one", b"three", b"two"]


def test_time_that_the_interpreter_was_busy_counts(pair, in_thread):
    # Other threads that compute do not keep a call from its deadline for long.
    sock, _ = pair(rsnet)
    sock.settimeout(TIMEOUT_S)
    over = threading.Event()

    def compute():
        while not over.is_set():
            sum(range(1000))

    busy = [in_thread(compute) for _ in range(2)]
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        sock.recv(1)
    assert TIMEOUT_S <= time.monotonic() - began < LATE_S
    over.set()
    for call in busy:
        call.result()
