"""`python -m rsnet ping` and `serve`: both ends, and their exit codes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import rsnet

PACKAGES = str(Path(rsnet.__file__).parent.parent)
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES}


def ping(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "rsnet", "ping", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
    )


@pytest.fixture
def far_end():
    with rsnet.reflector() as reflector:
        yield reflector


def test_a_summary(far_end):
    done = ping(f"127.0.0.1:{far_end.stamp[1]}", "-c", 20, "-i", 0.001)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "20 sent, 20 received, 0 late, 0 lost, 0 errors: 0.00% loss"
    assert lines[1] == "0 lost on the way there, 0 on the way back"
    assert lines[2] == "0 duplicates, 0 out of order"
    assert [line.split()[0] for line in lines[3:]] == ["rtt", "forward", "backward", "jitter"]


def test_json_and_a_file(far_end, tmp_path):
    file = tmp_path / "replies.csv"
    done = ping(f"127.0.0.1:{far_end.echo[1]}", "-c", 3, "-i", 0.001, "--json", "-o", file)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["sequence"], row["state"]) for row in rows] == [
        (0, "received"),
        (1, "received"),
        (2, "received"),
    ]
    assert len(file.read_text().splitlines()) == 4


def test_nobody_there():
    with rsnet.reflector() as reflector:
        port = reflector.echo[1]
    done = ping(f"127.0.0.1:{port}", "-c", 2, "-i", 0.01)
    assert done.returncode == 1
    assert "2 errors" in done.stdout and "2 x Connection refused" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["127.0.0.1:x"], "1 to 65535"),
        (["127.0.0.1:9", "-c", "0"], "count is at least 1"),
        (["no-such-host.invalid", "-c", "1"], "ping: error: "),
        (["127.0.0.1:9", "-c", "1", "-w", "0.1", "-o", "x.doc"], "ends with none of"),
    ],
)
def test_what_is_wrong_is_said(arguments, text):
    done = ping(*arguments)
    assert done.returncode == 2 and text in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve(number):
    with subprocess.Popen(
        [sys.executable, "-m", "rsnet", "serve", "--stamp-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    ) as program:
        addresses = dict(program.stdout.readline().split() for _ in range(2))
        for where in ("echo", "stamp"):
            found = rsnet.udp.ping(addresses[where], count=5, interval=0.001)
            assert found.totals["received"] == 5
        program.send_signal(number)
        _, said = program.communicate(timeout=30)
    assert (program.returncode, said) == (0, "10 received, 10 answered, 0 refused\n")


def test_serve_where_it_cannot():
    done = subprocess.run(
        [sys.executable, "-m", "rsnet", "serve", "--host", "192.0.2.1"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
    )
    assert done.returncode == 2 and "Cannot assign requested address" in done.stderr
