"""A command on a machine that lacks something says so in one sentence."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What every machine has that has make; the tests add Python, Rust and a C compiler.
ALWAYS_THERE = ("awk", "env", "make", "sh", "sort", "tr")


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in (*ALWAYS_THERE, "cargo", "rustc", "cc"):
        (folder / name).symlink_to(shutil.which(name))
    # Not a link: an interpreter finds its library by where it lies.
    script(folder / "python3", f'exec "{sys._base_executable}" "$@"')
    return folder


def script(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def complaint(bin_folder: Path, target: str = "demo", **variables: str) -> str:
    """What `make` with that PATH says before it fails, less what make itself adds."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [bin_folder / "make", "--directory", ROOT, "--no-print-directory", target],
        env=kept | {"PATH": str(bin_folder), "PYENV_ROOT": str(bin_folder)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    (sentence,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("target", ["demo", "test", "compat"])
def test_no_python(bin_folder: Path, target: str) -> None:
    (bin_folder / "python3").unlink()
    assert complaint(bin_folder, target).startswith("Python is missing: rsnet needs CPython 3.11")


def test_python_that_does_not_run(bin_folder: Path) -> None:
    script(bin_folder / "python3", "echo 'version not selected' >&2; exit 127")
    assert complaint(bin_folder).startswith("Python is missing")


def test_python_that_is_too_old(bin_folder: Path) -> None:
    # As far as the search can tell: it asks the interpreter.
    script(
        bin_folder / "python3",
        f"""shift; shift
        code="import sys; sys.version_info = (3, 10, 13, 'final', 0)
$1"
        exec "{sys._base_executable}" -I -c "$code" """,
    )
    assert complaint(bin_folder).startswith("Python is missing")


def test_named_python_that_will_not_do(bin_folder: Path) -> None:
    assert complaint(bin_folder, PYTHON="/nonexistent/python").startswith(
        "/nonexistent/python will not do"
    )


def test_python_without_venv(bin_folder: Path, tmp_path: Path) -> None:
    # Debian splits ensurepip off; this is how its absence looks to an import.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['ensurepip'] = None\n")
    sentence = complaint(bin_folder, PYTHONPATH=str(tmp_path))
    assert sentence.startswith("Python's venv module is missing from ")


@pytest.mark.parametrize("name", ["cargo", "rustc"])
def test_no_rust(bin_folder: Path, name: str) -> None:
    (bin_folder / name).unlink()
    assert complaint(bin_folder).startswith("Rust is missing")


def test_rust_that_is_too_old(bin_folder: Path) -> None:
    (bin_folder / "rustc").unlink()
    script(bin_folder / "rustc", "echo 'rustc 1.63.0 (4b91a6ea7 2022-08-08)'")
    assert "or newer is missing: rustc is 1.63.0" in complaint(bin_folder)


def test_rust_without_a_toolchain(bin_folder: Path) -> None:
    (bin_folder / "rustc").unlink()
    script(bin_folder / "rustc", "echo 'no default toolchain is configured' >&2; exit 1")
    assert complaint(bin_folder).startswith("Rust is missing: `rustc --version` fails")


def test_no_c_compiler(bin_folder: Path) -> None:
    (bin_folder / "cc").unlink()
    assert complaint(bin_folder).startswith("A C compiler is missing")
