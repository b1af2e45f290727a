"""`make demo` and the two programs of the README."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
LIMIT_S = 60


def environment(**settings: object) -> dict[str, str]:
    """The variables of the demo, and no others of theirs."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOST", "PORT", "UDP_PORT", "ROUNDS")
    }
    return inherited | {name: str(value) for name, value in settings.items()}


def run_demo(**settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / "demo.py"],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@contextlib.contextmanager
def far_end() -> Iterator[tuple[int, int]]:
    with subprocess.Popen(
        [sys.executable, EXAMPLES / "far_end.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            tcp_port, udp_port = process.stdout.readline().split()
            yield int(tcp_port), int(udp_port)
        finally:
            process.stdin.close()
            assert process.wait(LIMIT_S) == 0


def test_demo_shows_both_programs_with_both_modules() -> None:
    done = run_demo(ROUNDS=3)
    assert (done.returncode, done.stderr) == (0, "")
    for program, message in (
        ("tcp_client.py", b"hello over TCP\n"),
        ("udp_client.py", b"hello over UDP\n"),
    ):
        port = re.search(rf"{program} -> 127\.0\.0\.1 port (\d+)", done.stdout)[1]
        assert f"sent       {message!r}" in done.stdout
        for module in ("rsnet", "socket"):
            assert (
                f"came back  {message!r} from ('127.0.0.1', {port}) with {module}\n" in done.stdout
            )
    lines = [
        line
        for line in done.stdout.splitlines()
        if re.search(r"\d+\.\d\d  +\d+\.\d\d  +\d+\.\d\dx$", line)
    ]
    steps = [line.split("  ")[1] for line in lines]
    assert steps == [
        "client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "client.connect((host, port))",
        "client.sendall(message)",
        "response = client.recv(1024)",
        "client.close()",
        "the whole program",
        "client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "client.sendto(message, (host, port))",
        "response, address = client.recvfrom(1024)",
        "client.close()",
        "the whole program",
    ]


def test_demo_talks_to_the_server_that_it_is_pointed_at() -> None:
    with far_end() as (tcp_port, udp_port):
        done = run_demo(HOST="127.0.0.1", PORT=tcp_port, UDP_PORT=udp_port)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"tcp_client.py -> 127.0.0.1 port {tcp_port}\n" in done.stdout
    assert f"udp_client.py -> 127.0.0.1 port {udp_port}\n" in done.stdout
    assert "median of 5" in done.stdout


def test_demo_leaves_out_the_program_that_has_no_port() -> None:
    with far_end() as (_, udp_port):
        done = run_demo(HOST="127.0.0.1", UDP_PORT=udp_port)
    assert done.returncode == 0
    assert "tcp_client.py is left out" in done.stdout


def test_demo_says_that_nobody_answers() -> None:
    with socket.socket() as bound:
        # Bound, but not listening: the port cannot become anybody else's meanwhile.
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        done = run_demo(HOST="127.0.0.1", PORT=port)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"tcp_client.py: no answer from 127.0.0.1 port {port}: [Errno 111] Connection refused."
    ]


@pytest.mark.parametrize(
    "settings",
    [{"HOST": "127.0.0.1", "PORT": "http"}, {"HOST": "127.0.0.1", "PORT": 65536}, {"PORT": 7}],
)
def test_demo_says_what_is_wrong_with_its_settings(settings: dict[str, object]) -> None:
    done = run_demo(**settings)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "PORT" in done.stderr


def test_ctrl_c_ends_the_demo_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(LIMIT_S)
        settings = environment(HOST="127.0.0.1", PORT=silent.getsockname()[1])
        demo = subprocess.Popen(
            [sys.executable, EXAMPLES / "demo.py"], env=settings, stderr=subprocess.PIPE, text=True
        )
        connection, _ = silent.accept()
        with connection:
            # The client has sent: it now waits for an answer that never comes.
            assert connection.recv(1024) == b"hello over TCP\n"
            demo.send_signal(signal.SIGINT)
            _, errors = demo.communicate(timeout=LIMIT_S)
    assert (demo.returncode, errors) == (130, "interrupted\n")


def test_far_end_echoes_to_many_clients_at_once() -> None:
    with far_end() as (tcp_port, udp_port), contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", tcp_port), LIMIT_S))
            for _ in range(20)
        ]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        assert [client.recv(10) for client in clients] == [b"%d" % n for n in range(20)]
        client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.settimeout(LIMIT_S)
        for datagram in (b"", b"x" * 1400):
            client.sendto(datagram, ("127.0.0.1", udp_port))
            assert client.recvfrom(2000) == (datagram, ("127.0.0.1", udp_port))


@pytest.mark.parametrize("name", ["tcp_client.py", "udp_client.py"])
def test_program_runs_by_itself(name: str) -> None:
    with far_end() as ports:
        port = ports[name == "udp_client.py"]
        done = subprocess.run(
            [sys.executable, EXAMPLES / name, "127.0.0.1", str(port)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
    message = b"hello over %s\n" % name[:3].upper().encode()
    assert (done.stdout, done.stderr) == (f"127.0.0.1:{port} answered {message!r}\n", "")


@pytest.mark.parametrize("name", ["tcp_client.py", "udp_client.py"])
def test_readme_shows_the_program_as_it_is(name: str) -> None:
    _, _, code = (EXAMPLES / name).read_text().split('"""', 2)
    assert f"```python\n{code.lstrip()}```\n" in (ROOT / "README.md").read_text()


def test_readme_promises_the_rust_version_that_is_checked() -> None:
    version = re.search(r'rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text())[1]
    assert f"Rust {version} or newer" in (ROOT / "README.md").read_text()
