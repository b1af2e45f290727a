"""udp.ping against far ends that do one thing each, and the reflector."""

import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

import rsnet

PACKAGES = str(Path(rsnet.__file__).parent.parent)


@pytest.fixture
def far_end():
    """`far_end(behave)`: an address where datagrams are given to `behave(sock, packet, peer)`."""
    ends = []

    def make(behave):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=serve, args=(sock, behave))
        thread.start()
        ends.append((sock, thread))
        return sock.getsockname()

    yield make
    for sock, thread in ends:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"stop", sock.getsockname())
        thread.join()
        sock.close()


def serve(sock, behave):
    while True:
        packet, peer = sock.recvfrom(65536)
        if packet == b"stop":
            return
        behave(sock, packet, peer)


def sequence_of(packet):
    return int.from_bytes(packet[:4], "big")


def states(records):
    return [row.state for row in records]


def test_an_echo(far_end):
    address = far_end(lambda sock, packet, peer: sock.sendto(packet, peer))
    found = rsnet.udp.ping(address, count=20, interval=0.001)
    assert states(found) == ["received"] * 20
    assert [row.sequence for row in found] == list(range(20))
    for row in found:
        assert 0 < row.rtt_ns < 1e9 and (row.copies, row.reorder_extent) == (1, 0)
        assert row.forward_ns is None and row.backward_ns is None and row.clock == "kernel"
    totals = found.totals
    assert (totals["sent"], totals["received"], totals["lost"], totals["loss_ratio"]) == (
        20,
        20,
        0,
        0,
    )
    assert totals["lost_forward"] is None and totals["jitter_ns"] >= 0


def test_the_variations_are_those_of_the_times(far_end):
    address = far_end(lambda sock, packet, peer: sock.sendto(packet, peer))
    found = rsnet.udp.ping(address, count=50, interval=0.001)
    rtts = found.column("rtt_ns")
    expected = [None, *(now - before for before, now in pairwise(rtts))]
    assert found.column("ipdv_ns") == expected
    assert found.column("pdv_ns") == [rtt - min(rtts) for rtt in rtts]
    jitter = abs(expected[1])
    for difference in expected[2:]:
        jitter += (abs(difference) - jitter) / 16
    assert found.totals["jitter_ns"] == pytest.approx(jitter)


def test_a_reflector_tells_the_ways_apart():
    with rsnet.reflector() as reflector:
        found = rsnet.udp.ping(reflector.stamp, count=50, interval=0.001)
    assert states(found) == ["received"] * 50
    for row in found:
        # Both ends have the same clock here.
        assert row.forward_ns > 0 and row.backward_ns > 0
        assert row.forward_ns + row.backward_ns <= row.rtt_ns + 1000
    assert (found.totals["lost_forward"], found.totals["lost_backward"]) == (0, 0)
    assert reflector.counts() == {"received": 50, "answered": 50, "refused": 0}


def test_losses(far_end):
    def lose_some(sock, packet, peer):
        if sequence_of(packet) % 3:
            sock.sendto(packet, peer)

    found = rsnet.udp.ping(far_end(lose_some), count=9, interval=0.001, timeout=0.2)
    assert states(found) == ["lost", "received", "received"] * 3
    assert found[0].rtt_ns is None and found[0].copies == 0 and found[1].ipdv_ns is None
    totals = found.totals
    assert (totals["lost"], totals["received"], totals["loss_ratio"]) == (
        3,
        6,
        pytest.approx(1 / 3),
    )


class Lossy:
    """A STAMP reflector that hears nothing of some probes, and whose replies to others are lost."""

    def __init__(self, unheard, unsaid):
        self.unheard, self.unsaid = unheard, unsaid
        self.number = 0

    def __call__(self, sock, packet, peer):
        now = struct.pack("!II", int(time.time()) + 2_208_988_800, 0)
        if (sequence := sequence_of(packet)) in self.unheard:
            return
        head = struct.pack("!I8sHH8s", self.number, now, 1, 0, now)
        self.number += 1
        if sequence not in self.unsaid:
            sock.sendto(head + packet[:14] + bytes(2) + b"\x40" + bytes(3), peer)


def test_losses_by_direction(far_end):
    address = far_end(Lossy(unheard={3, 4, 7}, unsaid={5, 8}))
    found = rsnet.udp.ping(address, count=12, interval=0.001, timeout=0.2)
    totals = found.totals
    assert (totals["lost"], totals["lost_forward"], totals["lost_backward"]) == (5, 3, 2)


def test_duplicates(far_end):
    def twice(sock, packet, peer):
        for _ in range(1 + sequence_of(packet) % 2):
            sock.sendto(packet, peer)

    # The last one is not a duplicate: nobody waits after the last reply.
    found = rsnet.udp.ping(far_end(twice), count=5, interval=0.005)
    assert [row.copies for row in found] == [1, 2, 1, 2, 1]
    assert (found.totals["duplicates"], found.totals["received"]) == (2, 5)


def test_reordering(far_end):
    held = []

    def hold_third(sock, packet, peer):
        if sequence_of(packet) == 2:
            held.append(packet)
            return
        sock.sendto(packet, peer)
        if sequence_of(packet) == 5:
            sock.sendto(held.pop(), peer)

    found = rsnet.udp.ping(far_end(hold_third), count=8, interval=0.005)
    assert [row.reorder_extent for row in found] == [0, 0, 3, 0, 0, 0, 0, 0]
    assert (found.totals["reordered"], found.totals["reorder_extent"]) == (1, 3)


def test_late_is_counted_apart(far_end):
    def late_once(sock, packet, peer):
        if sequence_of(packet) == 1:
            held.append(packet)
        else:
            sock.sendto(packet, peer)
            if sequence_of(packet) == 40:
                sock.sendto(held.pop(), peer)

    held = []
    found = rsnet.udp.ping(far_end(late_once), count=60, interval=0.01, timeout=0.2)
    assert found[1].state == "late" and found[1].rtt_ns > 0.2e9
    assert (found.totals["late"], found.totals["lost"], found.totals["received"]) == (1, 0, 59)
    assert found.totals["loss_ratio"] == pytest.approx(1 / 60)


def test_nobody_there_is_an_error_and_not_a_loss(closed_udp_port):
    found = rsnet.udp.ping(("127.0.0.1", closed_udp_port), count=5, interval=0.01, timeout=0.5)
    assert states(found) == ["error"] * 5
    assert {(row.errno, row.error) for row in found} == {(111, "Connection refused")}


@pytest.fixture
def closed_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_foreign_replies_are_not_ours(far_end):
    def confuse(sock, packet, peer):
        for wrong in (b"", b"x" * 44, packet[:43], bytes(4) + packet[4:12][::-1] + packet[12:]):
            sock.sendto(wrong, peer)

    found = rsnet.udp.ping(far_end(confuse), count=3, interval=0.001, timeout=0.2)
    assert states(found) == ["lost"] * 3


def test_the_schedule_does_not_wait_for_replies(far_end):
    address = far_end(lambda sock, packet, peer: None)
    found = rsnet.udp.ping(address, count=100, interval=0.002, timeout=0.1)
    times = found.column("time")
    assert (times[-1] - times[0]).total_seconds() == pytest.approx(0.198, abs=0.1)
    assert all(late is not None and late >= 0 for late in found.column("send_late_ns"))


def test_poisson_gaps_are_the_seeds():
    with rsnet.reflector() as reflector:

        def gaps(seed):
            found = rsnet.udp.ping(
                reflector.echo, count=200, interval=0.001, poisson=True, seed=seed
            )
            due = [row.time.timestamp() - row.send_late_ns / 1e9 for row in found]
            return [round((b - a) * 1e3, 1) for a, b in pairwise(due)]

        one = gaps(1)
    # The largest of 199 is some five times the mean; all would be equal without.
    assert max(one) > 3 and min(one) < 0.3
    assert sum(one) == pytest.approx(199, rel=0.5)


def test_large_payloads_and_ipv6():
    with rsnet.reflector("::1") as reflector:
        found = rsnet.udp.ping(reflector.stamp, count=3, interval=0.001, payload_bytes=1400)
        host, port = reflector.echo
        echoed = rsnet.udp.ping(f"[{host}]:{port}", count=3, interval=0.001, payload_bytes=9000)
    assert states(found) == ["received"] * 3
    # Longer than what is kept of a reply, but told apart by its beginning.
    assert states(echoed) == ["received"] * 3


INTERRUPTED = """
import sys, rsnet
with rsnet.reflector() as far_end:
    found = rsnet.udp.ping(far_end.echo, count=10**6, interval=0.001,
                           progress=lambda done, total: print(done, flush=True))
    print("partial", found.partial, len(found) > 10, found.totals["sent"] == len(found))
"""


def test_ctrl_c_gives_what_was_sent():
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": PACKAGES},
        text=True,
    ) as program:
        while int(program.stdout.readline()) < 20:
            pass
        program.send_signal(signal.SIGINT)
        said = program.stdout.read().splitlines()
    assert said[-1] == "partial True True True"


@pytest.mark.parametrize(
    ("target", "settings", "error", "text"),
    [
        ("127.0.0.1:x", {}, ValueError, "a number from 1 to 65535"),
        (("127.0.0.1", 0), {}, ValueError, "a number from 1 to 65535"),
        (7, {}, TypeError, "not int"),
        ("127.0.0.1:9", {"count": 0}, ValueError, "count is at least 1"),
        ("127.0.0.1:9", {"interval": 0}, ValueError, "interval is a number above 0"),
        ("127.0.0.1:9", {"timeout": -1}, ValueError, "timeout is a number above 0"),
        ("127.0.0.1:9", {"payload_bytes": 43}, ValueError, "from 44 to 65,507"),
        ("127.0.0.1:9", {"payload_bytes": 65_508}, ValueError, "from 44 to 65,507"),
        ("127.0.0.1:9", {"source_address": "x"}, ValueError, "is no address"),
        ("no-such-host.invalid", {}, socket.gaierror, "."),
    ],
)
def test_bad_input(target, settings, error, text):
    with pytest.raises(error, match=text):
        rsnet.udp.ping(target, **settings)


# The reflector.


def ask(address, packet, port=0, timeout_s=5.0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        sock.settimeout(timeout_s)
        sock.sendto(packet, address)
        return sock.recv(65536)


def test_a_stamp_reply_is_as_the_rfc_has_it():
    request = struct.pack("!I8sH", 7, b"\xee" * 8, 0x8001) + bytes(30) + b"padding"
    with rsnet.reflector() as reflector:
        before = time.time() + 2_208_988_800
        reply = ask(reflector.stamp, request)
        after = time.time() + 2_208_988_800
        again = ask(reflector.stamp, request)
    assert len(reply) == len(request) and reply[44:] == b"padding"
    sequence, seconds, fraction, estimate, zero, at, at_fraction = struct.unpack_from(
        "!IIIHHII", reply
    )
    assert (sequence, zero) == (0, 0) and estimate & 0xFF
    assert before - 1e-3 <= at + at_fraction / 2**32 <= seconds + fraction / 2**32 <= after + 1e-3
    # What the sender said: number, time, error estimate; then the time to live.
    assert reply[24:38] == request[:14] and reply[38:40] == bytes(2)
    assert reply[40] == 64 and reply[41:44] == bytes(3)
    # Another port is another session, numbered for itself.
    assert again[:4] == bytes(4)


def test_the_replies_of_a_session_are_numbered():
    request = bytes(4) + b"\xee" * 8 + bytes(32)
    with rsnet.reflector() as reflector, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        numbers = []
        for _ in range(3):
            sock.sendto(request, reflector.stamp)
            numbers.append(sequence_of(sock.recv(100)))
    assert numbers == [0, 1, 2]


def test_it_answers_no_more_than_it_may():
    with rsnet.reflector(rate=100) as reflector, socket.socket(type=socket.SOCK_DGRAM) as sock:
        for number in range(1, 1001):
            sock.sendto(b"x", reflector.echo)
            # One after the other: the kernel drops what nobody has taken yet.
            while reflector.counts()["received"] < number:
                time.sleep(0)
        counts = reflector.counts()
    assert counts["answered"] + counts["refused"] == 1000 and counts["answered"] < 200


def test_it_does_not_answer_what_is_too_short():
    with rsnet.reflector() as reflector:
        with pytest.raises(TimeoutError):
            ask(reflector.stamp, b"x" * 43, timeout_s=0.2)
        assert reflector.counts() == {"received": 1, "answered": 0, "refused": 1}


def test_it_never_answers_a_well_known_port(in_namespace):
    found = in_namespace(
        """
        with rsnet.reflector() as reflector, socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 7))
            sock.sendto(b"x" * 44, reflector.echo)
            sock.sendto(b"x" * 44, reflector.stamp)
            while reflector.counts()["received"] < 2:
                time.sleep(0.001)
            print(json.dumps(reflector.counts()))
        """
    )
    assert found == {"received": 2, "answered": 0, "refused": 2}


def test_stop_frees_the_ports():
    reflector = rsnet.reflector()
    echo, stamp = reflector.echo, reflector.stamp
    assert f"{echo[1]}" in repr(reflector) and echo != stamp
    reflector.stop()
    reflector.stop()
    for address in (echo, stamp):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.bind(address)
    assert reflector.counts()["received"] == 0


FORKED = """
import os, rsnet
with rsnet.reflector() as reflector:
    child = os.fork()
    if not child:
        reflector.stop()
        os._exit(7)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, rsnet.udp.ping(reflector.echo, count=3, interval=0.001).totals["received"])
"""


def test_a_child_does_not_stop_its_parents():
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED],
        capture_output=True,
        env={"PYTHONPATH": PACKAGES},
        text=True,
        timeout=30,
    )
    assert done.stdout == "7 3\n", done.stderr


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"host": "localhost"}, ValueError),
        ({"echo_port": 65_536}, ValueError),
        ({"stamp_port": -1}, ValueError),
        ({"rate": 0}, ValueError),
        ({"host": "192.0.2.1"}, OSError),
    ],
)
def test_a_reflector_that_cannot_be(settings, error):
    with pytest.raises(error):
        rsnet.reflector(**settings)
