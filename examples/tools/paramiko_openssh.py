"""paramiko, SSH in Python, against OpenSSH's server."""

import contextlib
import io
import logging
import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko
from proof.operations import Operations, Program
from proof.servers import HOST, free_port, installed, running

NAME = "paramiko"
TIMEOUT = "timeout"
PROGRAMS = (Program("sshd", "openssh-server"), Program("ssh-keygen", "openssh-client"))

# Where sshd, as root, wants an empty folder. The service makes it when it starts; it stays, because
# any other sshd of this machine may have come to need it.
EMPTY = Path("/run/sshd")

CONFIGURATION = """
ListenAddress {host}:{port}
HostKey {place}/host
AuthorizedKeysFile {place}/user.pub
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
# Otherwise the shell runs what the user's own files say before each command.
SetEnv HOME={place}
# The files lie in /tmp, which others can write to.
StrictModes no
PermitRootLogin prohibit-password
MaxStartups 1000
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
"""


@contextlib.contextmanager
def server(place: Path) -> Iterator[dict[str, Any]]:
    for name in ("host", "user", "stranger"):
        command = [installed("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", place / name]
        subprocess.run(command, check=True)
    (place / "long").write_bytes(b"y" * 1024 * 1024)
    port = free_port()
    configuration = place / "sshd_config"
    configuration.write_text(CONFIGURATION.format(host=HOST, port=port, place=place))
    # By its whole path, and as who runs this: it can log nobody else in.
    command = [installed("sshd"), "-D", "-e", "-f", configuration, *lenient(configuration)]
    if os.getuid() == 0:
        EMPTY.mkdir(mode=0o755, exist_ok=True)
    with running(command, place, port, as_me=True):
        yield {"port": port, "place": str(place)}


def lenient(configuration: Path) -> list[str]:
    """Since OpenSSH 9.8 who fails to log in is locked out for a while; older ones know no such."""
    option = ["-o", "PerSourcePenalties=no"]
    test = [installed("sshd"), "-t", "-f", str(configuration), *option]
    return option if subprocess.run(test, capture_output=True).returncode == 0 else []


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    # Failures come as exceptions; without a handler they are printed as well.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    user = pwd.getpwuid(os.getuid()).pw_name

    def connect(
        port: int = at.port, key: str = "user", banner_s: float | None = timeout_s
    ) -> paramiko.SSHClient:
        ssh = paramiko.SSHClient()
        ssh.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        # paramiko leaves Nagle's algorithm on: its second small packet may wait 40 ms for the
        # server's delayed ACK of the first. A socket of one's own is its way to turn that off.
        sock = socket.create_connection((HOST, port), timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            ssh.connect(
                HOST,
                port,
                user,
                pkey=paramiko.Ed25519Key.from_private_key_file(f"{at.place}/{key}"),
                allow_agent=False,
                look_for_keys=False,
                sock=sock,
                banner_timeout=banner_s,
                auth_timeout=timeout_s,
            )
        except BaseException:
            ssh.close()
            raise
        return ssh

    def run(ssh: paramiko.SSHClient, command: str) -> object:
        stdin, stdout, stderr = ssh.exec_command(command, timeout=timeout_s)
        stdin.close()
        return stdout.read(), stderr.read(), stdout.channel.recv_exit_status()

    def once(**settings: Any) -> object:
        with connect(**settings) as another:
            return run(another, "echo hello")

    with connect() as ssh, ssh.open_sftp() as files:
        files.get_channel().settimeout(timeout_s)

        def read() -> object:
            content = io.BytesIO()
            files.getfo(f"{at.place}/long", content)
            return content.getvalue()

        yield Operations(
            timed={
                "sftp stat": lambda: files.stat(f"{at.place}/long").st_size,
                "sftp read 1 MiB": read,
                "exec echo": lambda: run(ssh, "echo hello"),
                "connect, exec, close": once,
            },
            compared={
                "exit status": lambda: run(ssh, "echo no >&2; exit 3"),
                "no such file": lambda: files.stat(f"{at.place}/nothing"),
                "wrong key": lambda: once(key="stranger"),
                "refused": lambda: paramiko.SSHClient().connect(HOST, at.refusing_port),
                "timed out": lambda: once(port=at.silent_port, banner_s=0.2),
            },
        )
