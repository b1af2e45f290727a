"""ftplib against vsftpd."""

import contextlib
import ftplib
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from proof.operations import Operations, Program
from proof.servers import HOST, free_port, installed, own, running, write

NAME = "ftplib"
TIMEOUT = "timeout"
PROGRAMS = (Program("vsftpd", "vsftpd"),)

# Everybody who logs in is the one user that the server runs as, and sees one folder.
CONFIGURATION = """
listen=YES
background=NO
listen_address={host}
listen_port={port}
pasv_address={host}
run_as_launching_user=YES
anonymous_enable=YES
no_anon_password=YES
anon_root={place}/files
allow_writeable_chroot=YES
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
isolate=NO
isolate_network=NO
seccomp_sandbox=NO
connect_from_port_20=NO
max_clients=0
max_per_ip=0
"""


@contextlib.contextmanager
def server(place: Path) -> Iterator[dict[str, Any]]:
    files = place / "files"
    files.mkdir()
    own(files)
    write(files / "short", b"x" * 1024)
    write(files / "long", b"y" * 1024 * 1024)
    port = free_port()
    configuration = write(
        place / "vsftpd.conf", CONFIGURATION.format(host=HOST, port=port, place=place)
    )
    with running([installed("vsftpd"), configuration], place, port):
        yield {"port": port}


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    def connect(port: int = at.port, limit_s: float | None = timeout_s) -> ftplib.FTP:
        ftp = ftplib.FTP(timeout=limit_s)
        ftp.connect(HOST, port)
        ftp.login()
        return ftp

    def get(ftp: ftplib.FTP, name: str) -> object:
        content = io.BytesIO()
        return ftp.retrbinary(f"RETR {name}", content.write), content.getvalue()

    def put(ftp: ftplib.FTP, content: bytes) -> object:
        return ftp.storbinary("STOR uploaded", io.BytesIO(content)), ftp.size("uploaded")

    def once(**settings: Any) -> object:
        with connect(**settings) as another:
            return another.pwd()

    with connect() as ftp:
        yield Operations(
            timed={
                "NOOP": lambda: ftp.voidcmd("NOOP"),
                "RETR 1 KiB": lambda: get(ftp, "short"),
                "RETR 1 MiB": lambda: get(ftp, "long"),
                "STOR 1 MiB": lambda: put(ftp, b"z" * 1024 * 1024),
                "NLST": lambda: sorted(ftp.nlst()),
                "connect, log in, PWD, QUIT": once,
            },
            compared={
                "no such file": lambda: get(ftp, "nothing"),
                "refused": lambda: once(port=at.refusing_port),
                "timed out": lambda: once(port=at.silent_port, limit_s=0.05),
            },
        )
