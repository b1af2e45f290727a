"""tcp.ping: handshakes on a schedule."""

import signal
import socket
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

import rsnet

PACKAGES = str(Path(rsnet.__file__).parent.parent)


def test_rounds_of_several_targets(served, closed_port):
    port = served(lambda sock: None)
    found = rsnet.tcp.ping("127.0.0.1", [port, closed_port], count=4, interval=0.01, timeout=5)
    keys = [(row.port, row.sequence) for row in found]
    assert keys == [(each, number) for each in sorted((port, closed_port)) for number in range(4)]
    for row in found:
        expected = "open" if row.port == port else "refused"
        assert row.state == expected and (row.connect_ns is not None) == (expected == "open")
    (summary,) = (row for row in found.summary() if row[:2] == ("open", "connect_ns"))
    assert summary.count == 4


def test_the_schedule_is_kept(served):
    port = served(lambda sock: None)
    found = rsnet.tcp.ping(("127.0.0.1", port), count=50, interval=0.01)
    starts = [row.time.timestamp() - row.send_late_ns / 1e9 for row in found]
    gaps = [after - before for before, after in pairwise(starts)]
    # The stamps are whole microseconds here.
    assert gaps == pytest.approx([0.01] * 49, abs=1e-4)
    assert all(row.send_late_ns >= 0 for row in found)


def test_it_does_not_wait_for_answers(silent_port):
    found = rsnet.tcp.ping(("127.0.0.1", silent_port), count=10, interval=0.02, timeout=1)
    assert [row.state for row in found] == ["filtered"] * 10
    times = found.column("time")
    assert (max(times) - min(times)).total_seconds() < 0.9


def test_a_stall_does_not_hide_itself():
    """Who does not accept for a while is seen in every round of that while."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        taken = []

        def take(done, total):
            if done >= 1 and not taken:
                taken.append(threading.Timer(0.3, drain))
                taken[0].start()

        def drain():
            server.settimeout(5)
            for _ in range(5):
                server.accept()[0].close()

        found = rsnet.tcp.ping(
            server.getsockname(), count=5, interval=0.02, timeout=10, progress=take
        )
        taken[0].join()
    slow = [row for row in found if row.connect_ns > 0.1e9]
    assert len(found) == 5 and len(slow) >= 2


def test_a_name_is_looked_up_once():
    found = rsnet.tcp.ping("localhost:9", count=3, interval=0.01, timeout=10)
    assert len({row.resolve_ns for row in found}) == 1


INTERRUPTED = """
import sys, rsnet
found = rsnet.tcp.ping("127.0.0.1:9", count=10**6, interval=0.001,
                       progress=lambda done, total: print(done, flush=True))
print(found.partial, len(found) >= 20, [row.sequence for row in found[:3]])
"""


def test_ctrl_c_gives_what_is_done():
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
    assert said[-1] == "True True [0, 1, 2]"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"count": 0}, "count is at least 1"),
        ({"count": 2**32}, r"count is below 2\*\*32"),
        ({"interval": 0}, "interval is a number above 0"),
        ({"timeout": float("inf")}, "timeout is a number above 0"),
    ],
)
def test_bad_input(settings, text):
    with pytest.raises(ValueError, match=text):
        rsnet.tcp.ping("127.0.0.1:9", **settings)
