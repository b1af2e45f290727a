"""smtplib against aiosmtpd."""

import asyncio
import contextlib
import smtplib
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiosmtpd.smtp import SMTP
from proof.operations import Operations
from proof.servers import HOST, free_port, running

NAME = "smtplib"
TIMEOUT = "timeout"
PROGRAMS = ()


class Sink:
    """Takes every message but those for nobody, and says how long it was."""

    async def handle_RCPT(
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        return f"250 {len(envelope.content)} bytes for {', '.join(envelope.rcpt_tos)}"


@contextlib.contextmanager
def server(place: Path) -> Iterator[dict[str, Any]]:
    port = free_port()
    with running([sys.executable, __file__, str(port)], place, port, as_me=True):
        yield {"port": port}


def letter(length: int) -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.test", "b@example.test", "hello"
    message.set_content("a line of seventy-nine characters".ljust(79, "."))
    return message.as_bytes() + (b"z" * 78 + b"\r\n") * (length // 80)


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    # smtplib sends the name of the machine, and looks it up unless it is told one.
    named = {"local_hostname": "client.example.test"}
    limits = {} if timeout_s is None else {"timeout": timeout_s}

    def connect(port: int = at.port, **settings: Any) -> smtplib.SMTP:
        return smtplib.SMTP(HOST, port, **(named | limits | settings))

    def send(smtp: smtplib.SMTP, content: bytes, *to: str) -> object:
        return smtp.sendmail("a@example.test", to or ["b@example.test"], content)

    def once(**settings: Any) -> object:
        with connect(**settings) as another:
            return send(another, SHORT)

    with connect() as smtp:
        yield Operations(
            timed={
                "NOOP": smtp.noop,
                "send 1 KiB": lambda: send(smtp, SHORT),
                "send 1 MiB": lambda: send(smtp, LONG),
                "connect, send, QUIT": once,
            },
            compared={
                "one recipient refused": lambda: send(
                    smtp, SHORT, "b@example.test", "nobody@example.test"
                ),
                "all recipients refused": lambda: send(smtp, SHORT, "nobody@example.test"),
                "refused": lambda: once(port=at.refusing_port),
                "timed out": lambda: once(port=at.silent_port, timeout=0.05),
            },
        )


SHORT, LONG = letter(1024), letter(1024 * 1024)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(Sink(), data_size_limit=1 << 25, loop=loop)

    await (await loop.create_server(protocol, HOST, port)).serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
