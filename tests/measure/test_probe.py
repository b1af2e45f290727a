"""tcp.probe: the state of each target, one row for each, whatever happens."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

import rsnet

PACKAGES = str(Path(rsnet.__file__).parent.parent)


def test_open_and_refused(served, closed_port):
    before = datetime.now(UTC)
    port = served(lambda sock: None)
    found = rsnet.tcp.probe("127.0.0.1", [port, closed_port], timeout=5)
    by_port = {row.port: row for row in found}
    there, closed = by_port[port], by_port[closed_port]
    assert (there.state, there.errno, there.error, there.attempt) == ("open", None, None, 1)
    assert 0 < there.connect_ns < 5e9
    assert (closed.state, closed.errno, closed.connect_ns) == ("refused", 111, None)
    assert closed.error == "Connection refused"
    assert there.address == "127.0.0.1" and there.name is None and there.resolve_ns is None
    # The clock of the rows has more digits than Python's.
    assert abs((there.time - before).total_seconds()) < 60


def test_no_answer_in_time(silent_port):
    (row,) = rsnet.tcp.probe("127.0.0.1", silent_port, timeout=0.2, retries=2)
    assert (row.state, row.attempt, row.errno, row.connect_ns) == ("filtered", 3, 110, None)


def test_one_that_is_silent_does_not_delay_others(served, silent_port):
    port = served(lambda sock: None)
    found = rsnet.tcp.probe("127.0.0.1", [port, silent_port], timeout=2, concurrency=2)
    there = next(row for row in found if row.port == port)
    assert there.state == "open" and there.connect_ns < 1e9


def test_names(served):
    port = served(lambda sock: None)
    found = rsnet.tcp.probe(f"localhost:{port} no-such-host.invalid:{port}", timeout=10)
    known, unknown = found
    assert (known.name, known.state) == ("localhost", "open")
    assert known.address in ("127.0.0.1", "::1") and known.resolve_ns > 0
    assert (unknown.name, unknown.address, unknown.state) == ("no-such-host.invalid", None, "error")
    # The resolver's own words, which depend on whether there is one.
    assert unknown.error and unknown.errno is None and unknown.resolve_ns > 0


def test_a_name_is_looked_up_once_for_all_its_ports():
    found = rsnet.tcp.probe("localhost", "20001-20050", timeout=10)
    assert len(found) == 50
    assert len({row.resolve_ns for row in found}) == 1


def test_ipv6():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        (row,) = rsnet.tcp.probe(f"[::1]:{server.getsockname()[1]}", timeout=5)
    assert (row.address, row.state) == ("::1", "open")


def test_what_targets_may_be(tmp_path):
    file = tmp_path / "targets.txt"
    file.write_text("127.0.0.3 # one\n\n127.0.0.4:9\n")
    given = [
        "127.0.0.1 127.0.0.2:8",
        ip_address("127.0.0.5"),
        ip_network("127.0.0.8/31"),
        ("127.0.0.6", 7),
        file,
        (f"127.0.0.{number}" for number in (7, 7)),
    ]
    found = rsnet.tcp.probe(given, 9, exclude="127.0.0.9", timeout=5)
    expected = {(f"127.0.0.{number}", 9) for number in (1, 3, 4, 5, 7, 8)}
    assert {(row.address, row.port) for row in found} == expected | {
        ("127.0.0.2", 8),
        ("127.0.0.6", 7),
    }


def test_rows_are_in_the_order_of_the_targets():
    found = rsnet.tcp.probe("127.0.0.2 127.0.0.1", "10-30", timeout=5)
    keys = [(row.address, row.port) for row in found]
    assert keys == sorted(keys) and len(keys) == 42


def test_the_order_of_asking_is_the_seeds():
    def asked(seed):
        found = rsnet.tcp.probe("127.0.0.1", "20001-20100", seed=seed, concurrency=1, timeout=5)
        assert found.metadata["seed"] == str(seed)
        return [row.port for row in sorted(found, key=lambda row: row.time)]

    assert asked(1) == asked(1) != asked(2)
    assert asked(1) != sorted(asked(1))


def test_a_sample_of_too_many():
    with pytest.raises(ValueError, match=r"2\*\*100 targets .* max_targets="):
        rsnet.tcp.probe("2001:db8::/28", 80)
    found = rsnet.tcp.probe("127.0.0.0/8", 9, max_targets=20, timeout=5)
    assert len(found) == 20
    assert len({row.address.split(".")[1] for row in found}) > 5


def test_a_rate_is_kept():
    found = rsnet.tcp.probe("127.0.0.1", "20001-20050", rate=100, timeout=5)
    times = [row.time for row in found]
    # The first may leave at once with those of the first 10 ms.
    assert (max(times) - min(times)).total_seconds() >= 0.4


def test_banner(served):
    talks = served(lambda sock: sock.sendall(b"220 ready\r\nmore"))
    waits = served(lambda sock: sock.recv(1))
    found = {
        row.port: row for row in rsnet.tcp.probe("127.0.0.1", [talks, waits], banner=9, timeout=0.5)
    }
    assert (found[talks].state, found[talks].banner) == ("open", b"220 ready")
    assert (found[waits].state, found[waits].banner) == ("open", None)
    assert "banner" not in rsnet.tcp.probe("127.0.0.1", talks).columns


def test_progress_is_told():
    told = []
    rsnet.tcp.probe(
        "127.0.0.1", "20001-21000", progress=lambda *how_far: told.append(how_far), timeout=5
    )
    assert told[-1] == (1000, 1000)
    assert told == sorted(told)


def test_an_error_of_the_progress_keeps_what_was_done():
    def fail(done, total):
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more") as raised:
        rsnet.tcp.probe("127.0.0.1", "20001-21000", progress=fail, timeout=5)
    assert raised.value.records.partial


INTERRUPTED = """
import sys, rsnet
def tell(done, total):
    print(done, flush=True)
port = int(sys.argv[1])
targets = [("127.0.0.1", 9), ("127.0.0.1", port)]
records = rsnet.tcp.probe(targets, timeout=50, progress=tell)
print("partial", records.partial, [row.port for row in records])
print(repr(records).splitlines()[0])
"""


def test_ctrl_c_gives_what_is_done(silent_port):
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(silent_port)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": PACKAGES},
        text=True,
    ) as program:
        while program.stdout.readline() != "1\n":
            pass
        program.send_signal(signal.SIGINT)
        said = [line for line in program.stdout if not line.strip().isdigit()]
    assert program.returncode == 0
    assert said[0] == "partial True [9]\n"
    assert said[1] == "1 row, 1 refused, interrupted: not all were asked\n"


def test_too_few_descriptors_lose_nothing(silent_port):
    code = """if True:
        import resource, rsnet, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        targets = [f"127.0.{a}.{b}" for a in range(4) for b in range(1, 51)]
        found = rsnet.tcp.probe(targets, [9, int(sys.argv[1])], timeout=0.3, concurrency=5000)
        print(len(found), {row.state for row in found if row.address != "127.0.0.1"})
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(silent_port)],
        capture_output=True,
        env={"PYTHONPATH": PACKAGES},
        text=True,
        timeout=60,
    )
    assert done.stdout == "400 {'refused'}\n", done.stderr


def test_the_limit_of_descriptors_is_as_before(silent_port):
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    during = []
    rsnet.tcp.probe(
        "127.0.0.1",
        silent_port,
        timeout=0.2,
        progress=lambda *_: during.append(resource.getrlimit(resource.RLIMIT_NOFILE)),
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    assert during and all(soft >= before[0] for soft, _ in during)


def test_no_descriptor_is_left(served, silent_port):
    port = served(lambda sock: None)

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in range(3):
        rsnet.tcp.probe("127.0.0.1 localhost", [port, silent_port, 9], timeout=0.2, banner=10)
    # The server's threads may have one in hand; names' threads end when they find nobody asks.
    deadline = time.monotonic() + 20
    while descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert descriptors() <= before


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "text"),
    [
        (("10.0.0.300", 1), {}, ValueError, "item 1: .10.0.0.300.: it looks like an address"),
        ((["::1", "a b"], 1), {"exclude": ["x/y"]}, ValueError, "exclude, item 1: .x/y."),
        ((["::1", "10.0.0.9-3"], 1), {}, ValueError, "item 2: .* write 10.0.0.3-10.0.0.9"),
        (("a", -5), {}, ValueError, "a port is a number from 1 to 65535"),
        (("a", 0), {}, ValueError, "a port is a number from 1 to 65535"),
        (("a", 65536), {}, ValueError, "a port is a number from 1 to 65535"),
        (("a", "9-3"), {}, ValueError, "write 3-9"),
        (("a", True), {}, TypeError, "not bool"),
        (("a", 1.5), {}, TypeError, "not float"),
        (("a", None), {}, ValueError, "ports="),
        ((7, 80), {}, TypeError, "not int"),
        ((b"a", 80), {}, TypeError, "not bytes"),
        ((["a", [None]], 80), {}, TypeError, r"targets\[1\]\[0\]"),
        (("a", 1), {"rate": 0}, ValueError, "rate is a number above 0"),
        (("a", 1), {"rate": float("nan")}, ValueError, "rate is a number above 0"),
        (("a", 1), {"rate": "9"}, TypeError, "rate is a number"),
        (("a", 1), {"concurrency": 0}, ValueError, "concurrency is at least 1"),
        (("a", 1), {"timeout": 0}, ValueError, "timeout is a number above 0"),
        (("a", 1), {"retries": -1}, ValueError, "retries is 0 or more"),
        (("a", 1), {"retries": 255}, ValueError, "retries is at most 254"),
        (("a", 1), {"banner": -1}, ValueError, "banner is 0 or more"),
        (("a", 1), {"seed": -1}, ValueError, "seed is 0 or more"),
        (("a", 1), {"max_targets": 0}, ValueError, "max_targets is at least 1"),
        (("a", 1), {"source_address": "x"}, ValueError, "is no address"),
        (("a", 1), {"progress": 3}, TypeError, "progress is True, or a callable"),
    ],
)
def test_bad_input_is_said_before_anything_is_sent(arguments, settings, error, text):
    with pytest.raises(error, match=text):
        rsnet.tcp.probe(*arguments, **settings)


def test_no_targets_are_no_rows():
    assert len(rsnet.tcp.probe([], 80)) == 0


def test_the_source_address(served):
    peers = []
    port = served(lambda sock: peers.append(sock.getpeername()[0]))
    (row,) = rsnet.tcp.probe("127.0.0.1", port, source_address="127.0.0.77", timeout=5)
    (other,) = rsnet.tcp.probe("127.0.0.1", port, source_address="192.0.2.1", timeout=5)
    assert row.state == "open"
    # Nobody here has that one.
    assert (other.state, other.errno) == ("error", 99)
    while not peers:
        time.sleep(0.001)
    assert peers == ["127.0.0.77"]


# In a network of their own.


def test_every_port_of_a_host(in_namespace):
    found = in_namespace(
        """
        import random
        servers = []
        while len(servers) < 100:
            try:
                servers.append(socket.create_server(("127.0.0.1", random.randrange(1, 65536))))
            except OSError:
                pass
        ports = {server.getsockname()[1] for server in servers}
        wrong = []
        for round in range(3):
            records = rsnet.tcp.probe("127.0.0.1", "1-65535", timeout=5)
            found = {row.port for row in records if row.state == "open"}
            others = {row.state for row in records if row.port not in ports}
            wrong.append([len(records), sorted(found ^ ports), sorted(others)])
        print(json.dumps(wrong))
        """
    )
    assert found == [[65_535, [], ["refused"]]] * 3


def test_what_a_firewall_says(in_namespace):
    found = in_namespace(
        """
        filter("tcp dport 81 drop")
        filter("ip daddr 10.9.0.1 tcp dport 82 reject with icmp type admin-prohibited")
        filter("ip daddr 10.9.0.1 tcp dport 83 reject with icmp type host-unreachable")
        filter("ip daddr 10.9.0.1 tcp dport 84 reject with icmp type port-unreachable")
        filter("ip daddr 10.9.0.1 tcp dport 85 reject with tcp reset")
        records = rsnet.tcp.probe("10.9.0.1", "81-86", timeout=0.5)
        records2 = rsnet.tcp.probe("203.0.113.1", 80, timeout=0.5)
        print(json.dumps([row.state for row in records] + [row.state for row in records2]))
        """
    )
    assert found == [
        "filtered",
        "filtered",
        "unreachable",
        "filtered",
        "refused",
        "refused",
        "unreachable",
    ]


def test_thousands_of_silent_hosts_at_once(in_namespace):
    found = in_namespace(
        """
        filter("tcp dport 81 drop")
        started = time.monotonic()
        records = rsnet.tcp.probe("127.1.0.0/20", 81, timeout=1, concurrency=5000)
        took_s = time.monotonic() - started
        print(json.dumps([len(records), sorted({row.state for row in records}), took_s]))
        """
    )
    assert found[:2] == [4096, ["filtered"]]
    # One after the other they would take more than an hour.
    assert found[2] < 30


def test_all_ports_taken_is_waited_for(in_namespace):
    found = in_namespace(
        """
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
            file.write("40000 40015")
        server = socket.create_server(("127.0.0.1", 82))
        taken = []
        for port in range(40000, 40016):
            taken.append(socket.socket())
            taken[-1].bind(("127.0.0.1", port))
        def tell(done, total):
            told.append(done)
            while len(told) == 3 and taken:
                taken.pop().close()
        told = []
        records = rsnet.tcp.probe("127.0.0.1", [81, 82], timeout=5, progress=tell)
        print(json.dumps([told[:3], [row.state for row in records]]))
        """
    )
    assert found == [[0, 0, 0], ["refused", "open"]]
