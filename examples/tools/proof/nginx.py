"""nginx with http and https, for the clients that need a web server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trustme

from proof.operations import Program
from proof.servers import HOST, free_port, installed, running, write

PROGRAMS = (Program("nginx", "nginx-light"),)
PAGES = {"short": b"x" * 1024, "long": b"y" * 1024 * 1024}

CONFIGURATION = """
daemon off;
pid {place}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    # No connection ends in the middle of a measurement.
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    ssl_certificate {place}/server.pem;
    ssl_certificate_key {place}/server.key;
    server {{
        listen {host}:{http_port};
        listen {host}:{https_port} ssl;
        root {place}/pages;
        location = /moved {{ return 302 /short; }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(place: Path) -> Iterator[dict[str, Any]]:
    """nginx, with the ports and the throw-away authority's certificate."""
    (place / "pages").mkdir()
    for name, content in PAGES.items():
        write(place / "pages" / name, content)
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    write(place / "server.key", certificate.private_key_pem.bytes(), 0o600)
    write(place / "server.pem", b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    write(place / "authority.pem", authority.cert_pem.bytes())
    http_port, https_port = free_port(), free_port()
    text = CONFIGURATION.format(place=place, host=HOST, http_port=http_port, https_port=https_port)
    write(place / "nginx.conf", text)
    command: list[str | Path] = [
        installed("nginx"),
        "-p",
        place,
        "-e",
        "stderr",
        "-c",
        place / "nginx.conf",
    ]
    with running(command, place, http_port):
        yield {
            "http": f"http://{HOST}:{http_port}",
            "https": f"https://{HOST}:{https_port}",
            "authority": str(place / "authority.pem"),
        }
