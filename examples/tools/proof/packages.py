"""What the tools need: Debian packages of servers, Python packages of clients."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from proof.failure import Failed
from proof.operations import Program
from proof.servers import program

POLICY = Path("/usr/sbin/policy-rc.d")
STRACE = Program("strace", "strace")


def missing(programs: Sequence[Program]) -> list[Program]:
    return [one for one in programs if program(one.name) is None]


def can_install() -> bool:
    return os.getuid() == 0 and shutil.which("apt-get") is not None


def install(programs: Collection[Program]) -> None:
    """Install Debian packages, with none of their services started."""
    packages = sorted({one.package for one in programs})
    print(f"installing {' '.join(packages)}", file=sys.stderr, flush=True)
    with services_stay_down():
        done = apt_get("install", "--yes", "--no-install-recommends", *packages)
        if done.returncode != 0:
            # Mostly because the machine has no lists of packages, or old ones.
            apt_get("update")
            done = apt_get("install", "--yes", "--no-install-recommends", *packages)
    if done.returncode != 0:
        reason = " / ".join(done.stdout.strip().splitlines()[-3:])
        raise Failed(f"apt-get could not install {' '.join(packages)}: {reason}")


def apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextlib.contextmanager
def services_stay_down() -> Iterator[None]:
    """Debian asks this script before it starts a service; 101 is its word for no."""
    try:
        with POLICY.open("x") as policy:
            policy.write("#!/bin/sh\nexit 101\n")
    except FileExistsError:
        # The machine's owner has said what is to start.
        yield
        return
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def sentence(programs: Collection[Program]) -> str:
    """What is missing, and how to get it."""
    names = sorted({one.name for one in programs})
    packages = sorted({one.package for one in programs})
    return f"{are_missing(names)} (Debian, Ubuntu: apt install {' '.join(packages)})."


def python_sentence(modules: Collection[str]) -> str:
    """The same for what the clients import."""
    names = sorted(set(modules))
    return (
        f"{are_missing(names)} (Python packages: the dependency group `tools` of pyproject.toml, "
        "which `make tools` installs)."
    )


def are_missing(names: Sequence[str]) -> str:
    verb, object_ = ("is", "it") if len(names) == 1 else ("are", "them")
    return f"{', '.join(names)} {verb} missing: install {object_}"
