"""dnspython, the DNS library, against dnsmasq."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dns.message
import dns.query
import dns.resolver
from proof.operations import Operations, Program
from proof.servers import HOST, free_port, installed, running

NAME = "dnspython"
TIMEOUT = "timeout"
PROGRAMS = (Program("dnsmasq", "dnsmasq-base"),)

ZONE = "example.test"


@contextlib.contextmanager
def server(place: Path) -> Iterator[dict[str, Any]]:
    port = free_port()
    command = [
        installed("dnsmasq"),
        *("--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-"),
        *("--bind-interfaces", f"--listen-address={HOST}", f"--port={port}"),
        *("--no-resolv", "--no-hosts", "--user=", f"--local=/{ZONE}/"),
        f"--host-record=one.{ZONE},192.0.2.1",
        *(f"--host-record=many.{ZONE},192.0.2.{number}" for number in range(2, 22)),
    ]
    with running(command, place, port):
        yield {"port": port}


def facts(answer: dns.message.Message) -> object:
    # Not the id, which is random, nor the order, which the server turns with each answer.
    return answer.rcode(), sorted(
        line for rrset in answer.answer for line in str(rrset).split("\n")
    )


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [HOST], at.port
    if timeout_s is not None:
        resolver.timeout = timeout_s

    def ask(way: Any, name: str, port: int = at.port, limit_s: float | None = timeout_s) -> object:
        query = dns.message.make_query(f"{name}.{ZONE}", "A")
        return facts(way(query, HOST, port=port, timeout=limit_s))

    yield Operations(
        timed={
            "A record by UDP": lambda: ask(dns.query.udp, "one"),
            "20 A records by UDP": lambda: ask(dns.query.udp, "many"),
            "A record by TCP": lambda: ask(dns.query.tcp, "one"),
            "Resolver.resolve": lambda: resolver.resolve(f"one.{ZONE}").rrset.to_text(),
        },
        compared={
            "no such name": lambda: ask(dns.query.udp, "nothing"),
            "resolver, no such name": lambda: resolver.resolve(f"nothing.{ZONE}"),
            "refused by TCP": lambda: ask(dns.query.tcp, "one", at.refusing_port),
            "timed out by UDP": lambda: ask(dns.query.udp, "one", at.silent_udp_port, 0.05),
            "timed out by TCP": lambda: ask(dns.query.tcp, "one", at.silent_port, 0.05),
        },
    )
