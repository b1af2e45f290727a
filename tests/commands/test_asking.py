"""`python -m rsnet probe` and `exchange`: what they print, and their exit codes."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import rsnet

PACKAGES = str(Path(rsnet.__file__).parent.parent)


def command(*arguments, stdin=""):
    return subprocess.run(
        [sys.executable, "-m", "rsnet", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES},
        timeout=60,
    )


@pytest.fixture
def echo_port():
    """A server that answers what it hears, once for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            while True:
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                with sock:
                    sock.sendall(sock.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_probe(echo_port):
    done = command("probe", "127.0.0.1", "-p", f"9,{echo_port}", "--timeout", "5")
    assert done.returncode == 0
    refused, there = sorted(done.stdout.splitlines(), key=lambda line: "open" in line)
    assert refused.split() == ["127.0.0.1:9", "refused", "Connection", "refused"]
    assert there.split()[:2] == [f"127.0.0.1:{echo_port}", "open"] and there.endswith(" ms")
    assert done.stderr == "2 rows, 1 open, 1 refused\n"


def test_nothing_is_open():
    done = command("probe", "127.0.0.1:9")
    assert (done.returncode, done.stderr) == (1, "1 row, 1 refused\n")


def test_of_many_only_those_that_are_open_are_shown():
    few = command("probe", "127.0.0.1", "-p", "20001-20100", "-w", "5")
    every = command("probe", "127.0.0.1", "-p", "20001-20100", "-w", "5", "--all")
    assert few.stdout == "" and len(every.stdout.splitlines()) == 100


def test_json_and_csv(echo_port):
    done = command("probe", f"127.0.0.1:{echo_port}", "localhost:9", "--json", "-w", "5")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["port"]: row["state"] for row in rows} == {echo_port: "open", 9: "refused"}
    done = command("exchange", f"127.0.0.1:{echo_port}", "--data", r"a\r\n\x00", "--csv")
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert (row["state"], row["ending"], row["response"]) == ("open", "complete", r"a\r\n\x00")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet"])
def test_output(echo_port, tmp_path, ending):
    file = tmp_path / f"found.{ending}"
    done = command("probe", f"127.0.0.1:{echo_port}", "-w", "5", "-o", file)
    assert done.returncode == 0, done.stderr
    import pandas

    read = {
        "csv": pandas.read_csv,
        "json": pandas.read_json,
        "jsonl": lambda file: pandas.read_json(file, lines=True),
        "parquet": pandas.read_parquet,
    }[ending]
    assert list(read(file)["port"]) == [echo_port]


def test_targets_from_a_file_and_from_stdin(tmp_path):
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1 # here\n127.0.0.2\n")
    for arguments, stdin in ((["-i", file], ""), (["-i", "-"], file.read_text())):
        done = command("probe", *arguments, "-p", 9, "-w", 5, stdin=stdin)
        hosts = [line.split()[0] for line in done.stdout.splitlines()]
        assert hosts == ["127.0.0.1:9", "127.0.0.2:9"], done.stderr


def test_exchange(echo_port):
    done = command(
        "exchange", f"localhost:{echo_port}", "--data", r"PING\r\n", "--until", r"\r\n", "-w", "5"
    )
    assert done.returncode == 0
    assert done.stdout.endswith(r" ms  PING\r\n" + "\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["probe"], "whom to ask?"),
        (["probe", "127.0.0.1"], "no ports"),
        (["probe", "127.0.0.1:99999"], "1 to 65535"),
        (["probe", "127.0.0.1:9", "--rate", "0"], "rate is a number above 0"),
        (["probe", "-i", "/no/such/file", "-p", "9"], "No such file"),
        (["probe", "127.0.0.1:9", "-o", "x.doc"], "ends with none of"),
        (["probe", "127.0.0.1:9", "-o", "/no/such/x.csv"], "Not a directory: '/no/such'"),
        (["exchange", "127.0.0.1:9"], "--data"),
        (["exchange", "127.0.0.1:9", "--data", "\\x"], "truncated"),
        (["exchange", "127.0.0.1:9", "--data", "a", "--until", ""], "at least one byte"),
    ],
)
def test_what_is_wrong_is_said(arguments, text):
    done = command(*arguments)
    assert done.returncode == 2 and text in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["probe", "exchange"])
def test_help_has_examples(name):
    done = command(name, "--help")
    assert done.returncode == 0 and f"python -m rsnet {name} " in done.stdout.split("examples:")[1]


def test_the_program_is_called_rsnet():
    program = Path(sys.executable).with_name("rsnet")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()[0]) == (0, "rsnet")


def test_who_reads_no_further_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m rsnet probe 127.0.0.1 -p 20001-25000 --json | head -1",
        shell=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES},
        timeout=60,
    )
    assert len(done.stdout.splitlines()) == 1 and done.stderr == b""


def test_ctrl_c():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        filling = []
        while True:
            one = socket.socket()
            filling.append(one)
            one.settimeout(0.2)
            try:
                one.connect(server.getsockname())
            except TimeoutError:
                break
        port = server.getsockname()[1]
        program = subprocess.Popen(
            [sys.executable, "-m", "rsnet", "probe", f"127.0.0.1:9,{port}", "-w", "50"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES},
        )
        with program:
            # Asleep in the loop: then the closed port has been asked long since.
            while b"ep_poll" not in wait_channel(program.pid):
                assert program.poll() is None
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=30)
        for one in filling:
            one.close()
    assert program.returncode == 130
    assert b"127.0.0.1:9 " in out and b"interrupted" in err


def wait_channel(pid):
    """What the kernel says the program waits in: 232 and 281 are epoll's waits on x86-64."""
    try:
        number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    except OSError:
        return b""
    return b"ep_poll" if number in ("232", "281", "22") else b""
