"""`make tools`: the tools that are ready give the same results, and what is not equal is told."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "examples" / "tools"
LIMIT_S = 100


def run_tools(
    *arguments: object, folder: Path = TOOLS, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, folder, *map(str, arguments)],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def ready() -> list[str]:
    """The tools of which client and server are installed: at least the one that needs neither."""
    lines = run_tools("--list").stdout.splitlines()
    return [line.split()[0] for line in lines if line.endswith(" ready")]


@pytest.mark.parametrize("tool", ready())
def test_same_results(tool: str, tmp_path: Path) -> None:
    done = run_tools("--results", "--tool", tool, "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads((tmp_path / "found.json").read_text())["tools"]
    assert found["tool"] == tool
    assert found["differences"] == []
    assert found["compared"] >= 6
    assert done.stdout == f"{tool}: {found['compared']} results equal\n"


def test_the_tool_that_needs_nothing_is_ready() -> None:
    assert "http.client" in ready()


def test_every_tool_is_listed_with_its_file() -> None:
    listed = {line.split()[1] for line in run_tools("--list").stdout.splitlines()}
    assert listed == {path.name for path in TOOLS.glob("*.py")} - {"__main__.py"}


def test_unknown_tool() -> None:
    done = run_tools("--tool", "telnet")
    assert done.returncode == 1
    assert done.stderr.startswith("There is no tool telnet: there are ")


def test_missing_programs_are_named_in_one_sentence(tmp_path: Path) -> None:
    # Without --install nothing is installed, whoever runs it.
    folder = copy_with(
        tmp_path,
        """
        from proof.operations import Program

        NAME = "sample"
        TIMEOUT = ""
        PROGRAMS = (Program("no-such-server", "no-such-package"),)
        """,
    )
    done = run_tools("--results", "--tool", "sample", folder=folder)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "no-such-server is missing: install it (Debian, Ubuntu: apt install no-such-package).\n"
    )


def test_missing_python_packages_are_named_in_one_sentence(tmp_path: Path) -> None:
    folder = copy_with(tmp_path, 'NAME = "sample"\nimport no_such_module\n')
    done = run_tools("--results", "--tool", "sample", folder=folder)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("no_such_module is missing: install it (Python packages: ")
    assert done.stderr.count("\n") == 1


def test_without_strace_nothing_is_measured(tmp_path: Path) -> None:
    # An empty PATH, and no system folder has strace.
    done = run_tools("--quick", "--tool", "http.client", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "strace is missing: install it (Debian, Ubuntu: apt install strace).\n"


# Tools that are not as they should be.

SAMPLE = """
    import contextlib
    import socket
    import sys

    from proof.operations import Operations

    NAME = "sample"
    TIMEOUT = ""
    PROGRAMS = ()


    @contextlib.contextmanager
    def server(place):
        yield {{}}


    @contextlib.contextmanager
    def client(at, timeout_s):
        yield Operations(timed={{"operation": operation}})


    def operation():
        {body}
"""


def copy_with(folder: Path, source: str) -> Path:
    """The folder of the tools with `source` as the only tool."""
    (folder / "sample.py").write_text(dedent(source))
    for name in ("__main__.py", "proof"):
        (folder / name).symlink_to(TOOLS / name)
    return folder


@pytest.fixture
def sample(tmp_path: Path) -> Callable[[str], Path]:
    return lambda body: copy_with(tmp_path, SAMPLE.format(body=body))


def test_a_result_that_differs_is_told(sample: Callable[[str], Path]) -> None:
    folder = sample("with socket.socket() as one: return type(one).__module__")
    done = run_tools("--results", folder=folder)
    assert done.returncode == 1
    assert done.stdout == (
        "DIFFERENT  sample, operation, timeout None: socket: 'socket'; rsnet: 'rsnet'\n"
    )


def test_an_exception_that_differs_is_told(sample: Callable[[str], Path]) -> None:
    folder = sample("with socket.socket() as one: raise OSError(type(one).__module__)")
    done = run_tools("--results", folder=folder)
    assert done.returncode == 1
    assert done.stdout == (
        "DIFFERENT  sample, operation, timeout None: "
        "socket: raised builtins.OSError(socket); rsnet: raised builtins.OSError(rsnet)\n"
    )


def test_a_tool_that_does_not_use_rsnet_is_told(sample: Callable[[str], Path]) -> None:
    done = run_tools("--results", folder=sample("return 1"))
    assert done.returncode == 1
    assert done.stdout == "DIFFERENT  sample: with rsnet in place it made sockets of []\n"


def test_a_client_that_ends_early_is_told(sample: Callable[[str], Path]) -> None:
    done = run_tools("--results", folder=sample("sys.exit(7)"))
    assert done.returncode == 1
    assert done.stdout.startswith(
        "FAILED     sample: sample with socket ended early with exit code 7; see above."
    )


def test_a_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    folder = copy_with(
        tmp_path,
        """
        import sys

        from proof.servers import free_port, running

        NAME = "sample"
        TIMEOUT = ""
        PROGRAMS = ()


        def server(place):
            return running([sys.executable, "-c", "exit('no')"], place, free_port(), as_me=True)
        """,
    )
    done = run_tools("--results", folder=folder)
    assert done.returncode == 1
    assert re.fullmatch(
        r"FAILED     sample: python\S* did not start\. The server's log ends: no\n", done.stdout
    )


# The end.


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has a server and clients, and goes on for longer than any test."""
    folder = copy_with(tmp_path, (TOOLS / "http_client.py").read_text())
    source = (folder / "sample.py").read_text()
    # The client says that it is there, and then nothing more.
    waiting = "print('here', flush=True); input()\n        yield Operations("
    source = source.replace("yield Operations(", waiting)
    (folder / "sample.py").write_text(source)
    with subprocess.Popen(
        [sys.executable, folder, "--results"], stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_it_leaves_nothing(started: subprocess.Popen[str], number: signal.Signals) -> None:
    assert started.stderr is not None
    assert started.stderr.readline() == "here\n"
    (place,) = folders_of(started.pid)
    assert place.exists()
    below = descendants(started.pid)
    assert len(below) >= 2, "a server and a client"
    started.send_signal(number)
    assert started.wait(LIMIT_S) in (130, 143)
    assert [pid for pid in below if alive(pid)] == []
    assert not place.exists()


def folders_of(pid: int) -> set[Path]:
    """The servers' folders, which are where the servers run."""
    places = {Path(os.readlink(f"/proc/{child}/cwd")) for child in descendants(pid)}
    return {place for place in places if place.name.startswith("rsnet-tools-")}


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in map(int, children) for found in (child, *descendants(child))]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
