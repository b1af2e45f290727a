"""Servers in the foreground: started with a folder of their own, stopped whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from proof.failure import Failed

HOST = "127.0.0.1"
LOG = "server.log"
START_S, STOP_S, LOOK_AGAIN_S = 30.0, 10.0, 0.02
# The last two are not on every user's PATH; Debian keeps PostgreSQL's programs in the third kind.
FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/usr/lib/postgresql/*/bin")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def program(name: str) -> str | None:
    """The path of a server's program; None when it is not installed."""
    folders = [found for pattern in FOLDERS for found in sorted(glob(pattern))]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))


def installed(name: str) -> str:
    """The path of a server's program that is known to be there."""
    path = program(name)
    if path is None:
        raise Failed(f"{name} is missing.")
    return path


def unprivileged() -> dict[str, Any]:
    """Whom a server runs as: several refuse to run as root, and none has a need to."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder for a server's files, which belongs to whom the server runs as."""
    # Not under TMPDIR: others must be able to pass through the folders above.
    with tempfile.TemporaryDirectory(prefix="rsnet-tools-", dir="/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        own(place)
        yield place


def own(path: Path) -> Path:
    """Give a file or folder to whom the server runs as."""
    if who := unprivileged():
        os.chown(path, who["user"], who["group"])
    return path


def write(path: Path, content: str | bytes, mode: int = 0o644) -> Path:
    """A file that the server can read."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return own(path)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that the kernel has just had free."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def decoys() -> Iterator[dict[str, Any]]:
    """Ports for the failures: one that refuses, one each that accepts or receives and is silent."""
    with (
        socket.socket() as refusing,
        socket.create_server((HOST, 0)) as silent,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent_udp,
    ):
        # Bound and not listening: it refuses, and nobody else gets the port.
        for one in (refusing, silent_udp):
            one.bind((HOST, 0))
        yield {
            "refusing_port": refusing.getsockname()[1],
            "silent_port": silent.getsockname()[1],
            "silent_udp_port": silent_udp.getsockname()[1],
        }


def run_once(command: Sequence[str | Path], place: Path) -> None:
    """A program that prepares something for a server and ends."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"HOME": str(place)},
        **unprivileged(),
    )
    if done.returncode != 0:
        raise Failed(f"{Path(command[0]).name} failed: {last_lines(done.stdout)}")


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    place: Path,
    port: int,
    *,
    stop: signal.Signals = signal.SIGTERM,
    as_me: bool = False,
) -> Iterator[None]:
    """The server, from when it accepts connections on `port` until the block is left.

    `as_me` is for what only the user of this program can run: an interpreter in the user's own
    folder, or a server that has to be root to log somebody in.
    """
    log = place / LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C comes to the parent only, which stops it in order.
            start_new_session=True,
            preexec_fn=_end_with_parent,
            env=os.environ | {"HOME": str(place)},
            **({} if as_me else unprivileged()),
        )
    try:
        wait_for(process, port)
        yield
    finally:
        end(process, stop)


def _end_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Until the server accepts connections."""
    end_s = time.monotonic() + START_S
    name = Path(str(process.args[0])).name  # type: ignore[index]
    while not accepts(port):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_AGAIN_S)
            raise Failed(f"{name} did not start.")
        if time.monotonic() > end_s:
            raise Failed(f"{name} does not answer on port {port} after {START_S:g} s.")


def accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=START_S).close()
    except OSError:
        return False
    return True


def end(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    """Ask the server to stop; then end its whole session, for whatever it has left behind."""
    process.send_signal(stop)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_words(place: Path) -> str:
    """How the log of the server that runs, or ran, in that folder ends."""
    try:
        return last_lines((place / LOG).read_text(errors="replace"))
    except FileNotFoundError:
        return last_lines("")


def last_lines(text: str, count: int = 5) -> str:
    return " / ".join(text.strip().splitlines()[-count:]) or "(nothing)"
