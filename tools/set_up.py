"""Sets up a virtual environment of the project's own and prints the path of its interpreter.

    python tools/set_up.py [GROUP ...]

The environment is .venv/cpXY for the Python XY that runs this script. It gets the wheel built from
this tree and the named dependency groups of pyproject.toml. What is already as it should be is left
alone, so that a second run takes a fraction of a second. Progress goes to stderr.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venv"
WHEELS = ROOT / "target" / "wheels"
SOURCES = (
    "Cargo.toml",
    "Cargo.lock",
    "pyproject.toml",
    "README.md",
    ".cargo",
    "core",
    "src",
    "python",
)


class Missing(Exception):
    """Something that this script cannot install; the text is one sentence for the user."""


def main(groups: Sequence[str]) -> int:
    try:
        check_tools()
        with one_at_a_time():
            wheel = built_wheel()
            print(environment(wheel, groups))
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failed:
        print(f"Failed (exit code {failed.returncode}): {' '.join(failed.cmd)}", file=sys.stderr)
        return 1
    return 0


def check_tools() -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Missing(
            f"Python's venv module is missing from {sys.executable}: install it (Debian, Ubuntu: "
            f"apt install python{version}-venv) or name another interpreter with PYTHON=."
        )
    if shutil.which("cargo") is None or shutil.which("rustc") is None:
        raise Missing(
            "Rust is missing: install it with rustup, so that cargo and rustc are on PATH."
        )
    check_rust_version()
    if shutil.which("cc") is None:
        raise Missing(
            "A C compiler is missing: install one that answers to `cc` (Debian, Ubuntu: "
            "apt install gcc libc6-dev), for Rust links with it."
        )


def check_rust_version() -> None:
    needed = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"][
        "rust-version"
    ]
    answer = subprocess.run(["rustc", "--version"], capture_output=True, text=True)
    words = answer.stdout.split()
    if answer.returncode != 0 or len(words) < 2:
        raise Missing(
            "Rust is missing: `rustc --version` fails, so install a toolchain with rustup."
        )
    if version_numbers(words[1]) < version_numbers(needed):
        raise Missing(
            f"Rust {needed} or newer is missing: rustc is {words[1]}, so run `rustup update`."
        )


def version_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("-")[0].split("."))


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two commands at the same time must not write the same environment."""
    lock_path = ROOT / "target" / "set_up.lock"
    lock_path.parent.mkdir(exist_ok=True)
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def built_wheel() -> Path:
    """The wheel of the sources as they are now: one for all Pythons, built when they change."""
    stamp = WHEELS / "sources.sha256"
    fingerprint = digest(*source_files())
    wheels = list(WHEELS.glob("rsnet-*.whl"))
    if len(wheels) == 1 and holds(stamp, fingerprint):
        return wheels[0]
    for stale in (*wheels, stamp):
        stale.unlink(missing_ok=True)
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    # Whichever Python it was made with will do: the wheel is for all of them.
    python = interpreter_with(ENVIRONMENTS / "build", requires)
    say("building the wheel")
    build = [str(python), "-m", "maturin", "build", "--release", "--out", str(WHEELS)]
    run([*build, "--interpreter", str(python)])
    (wheel,) = WHEELS.glob("rsnet-*.whl")
    stamp.write_text(fingerprint)
    return wheel


def source_files() -> list[Path]:
    found = []
    for name in SOURCES:
        source = ROOT / name
        below = source.rglob("*") if source.is_dir() else [source]
        found += [path for path in below if path.is_file() and path.suffix not in (".pyc", ".so")]
    return sorted(found)


def environment(wheel: Path, groups: Sequence[str]) -> Path:
    """The interpreter of .venv/cpXY, which has the wheel and the groups."""
    place = ENVIRONMENTS / f"cp{sys.version_info.major}{sys.version_info.minor}"
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    base, this = place / "base.txt", f"{sys.executable} {sys.version}"
    if place.exists() and not holds(base, this):
        shutil.rmtree(place)
    python = interpreter_with(
        place, [need for group in groups for need in requirements(table, group)]
    )
    base.write_text(this)
    stamp = place / "wheel.sha256"
    if not holds(stamp, digest(wheel)):
        say(f"installing rsnet into {place.relative_to(ROOT)}")
        stamp.unlink(missing_ok=True)
        pip(python, "install", "--no-deps", "--no-index", "--force-reinstall", str(wheel))
        stamp.write_text(digest(wheel))
    return python


def requirements(table: dict[str, list[str | dict[str, str]]], group: str) -> list[str]:
    """The requirements of a dependency group, with those of the groups that it includes."""
    found = []
    for entry in table[group]:
        if isinstance(entry, str):
            found.append(entry)
        else:
            found += requirements(table, entry["include-group"])
    return found


def interpreter_with(place: Path, needs: Sequence[str]) -> Path:
    """The interpreter of the environment at `place`, made when missing, with `needs` installed."""
    python = place / "bin" / "python"
    if not runs(python):
        say(f"making {place.relative_to(ROOT)} with {sys.executable}")
        run([sys.executable, "-m", "venv", "--clear", str(place)])
    installed = place / "needs.txt"
    known = set(installed.read_text().splitlines()) if installed.exists() else set()
    if not known.issuperset(needs):
        say(f"installing into {place.relative_to(ROOT)}: {' '.join(sorted(set(needs) - known))}")
        pip(python, "install", *needs)
        installed.write_text("\n".join(sorted(known.union(needs))) + "\n")
    return python


def runs(python: Path) -> bool:
    return python.exists() and subprocess.run([python, "-c", ""]).returncode == 0


def pip(python: Path, *arguments: str) -> None:
    run([str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments])


def run(command: list[str]) -> None:
    # The path of the interpreter is all that may come on stdout: make reads it from there.
    subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=True)


def say(text: str) -> None:
    print(f"set-up: {text}", file=sys.stderr, flush=True)


def digest(*paths: Path) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(os.fsencode(path.relative_to(ROOT)) + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def holds(stamp: Path, text: str) -> bool:
    return stamp.exists() and stamp.read_text() == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
