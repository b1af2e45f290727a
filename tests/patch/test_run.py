"""`python -m rsnet run`: the program's exit code, output and surroundings are those of `python`."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import rsnet

PACKAGES = str(Path(rsnet.__file__).parent.parent)

SURROUNDINGS = """
import os, sys
import __main__
print(sys.argv, sys.path, __name__, __main__.__dict__.get("__file__"), sys.flags, sys.warnoptions)
print(sorted(name for name in os.environ), os.environ.get("PYTHONPATH"), sys.stdin.read())
"""
WHICH = "import socket; print(socket.socket.__module__)"


@pytest.fixture
def both(tmp_path, monkeypatch):
    """`both(arguments, options=...)`: what python and what rsnet's run make of a program."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", PACKAGES)

    def run(*arguments, options=()):
        python = [sys.executable, *options]
        outcomes = []
        for command in (python, [*python, "-m", "rsnet", "run"]):
            done = subprocess.run([*command, *arguments], capture_output=True, input=b"in")
            outcomes.append((done.returncode, done.stdout, done.stderr))
        return outcomes

    return run


PROGRAMS = {
    "surroundings": SURROUNDINGS,
    "syntax error": "1 +",
    "raises": "def f():\n    1 / 0\nf()",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('x') from e",
    "exit 0": "import sys; sys.exit()",
    "exit 3": "import sys; sys.exit(3)",
    "exit text": "import sys; sys.exit('text')",
    "exit of a kind": "class Own(SystemExit): pass\nraise Own(4)",
    "os._exit": "import os; os._exit(5)",
    "interrupted": "import os, signal; os.kill(os.getpid(), signal.SIGINT)\nwhile True: pass",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "null byte": "x = 1\0",
}


@pytest.mark.parametrize("source", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_script(both, source):
    Path("script.py").write_text(source)
    plain, run = both("script.py", "--one", "two")
    assert run == plain


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing.py"],
        ["-m", "missing"],
        ["-m", "package", "x"],
        ["folder", "x"],
        ["empty", "x"],
        ["program.zip", "x"],
        ["-c", SURROUNDINGS, "-x", "--y"],
        ["-c", "import package; package.fail()"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]).split("\n")[0],
)
def test_other_ways_to_name_a_program(both, arguments):
    for folder in ("package", "folder", "empty"):
        Path(folder).mkdir()
    for file in ("package/__main__.py", "folder/__main__.py"):
        Path(file).write_text(SURROUNDINGS)
    Path("package/__init__.py").write_text("def fail():\n    1 / 0\n")
    with zipfile.ZipFile("program.zip", "w") as archive:
        archive.writestr("__main__.py", SURROUNDINGS)
    plain, run = both(*arguments)
    assert run == plain


@pytest.mark.parametrize("options", [["-X", "dev"], ["-W", "error"], ["-O", "-u"], ["-q", "-B"]])
def test_options_of_the_interpreter(both, options):
    Path("script.py").write_text(SURROUNDINGS)
    plain, run = both("script.py", options=options)
    assert run == plain


def run(*arguments, **kwargs):
    command = [sys.executable, "-m", "rsnet", *arguments]
    environment = {**os.environ, "PYTHONPATH": PACKAGES}
    return subprocess.run(command, capture_output=True, text=True, env=environment, **kwargs)


def test_the_program_is_on_rsnet():
    assert run("run", "-c", WHICH).stdout == "rsnet\n"


CHILDREN = f"""
import multiprocessing, os, subprocess, sys
def which():
    {WHICH}
if __name__ == "__main__":
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", {WHICH!r}])
    child = multiprocessing.get_context("spawn").Process(target=which)
    child.start()
    child.join()
    os.execv(sys.executable, [sys.executable, "-c", {WHICH!r}])
"""


@pytest.mark.parametrize(("options", "module"), [([], "socket"), (["--follow"], "rsnet")])
def test_children(tmp_path, options, module):
    script = tmp_path / "script.py"
    script.write_text(CHILDREN)
    done = run("run", *options, str(script))
    assert (done.stdout, done.stderr) == (f"{module}\n" * 3, "")


def test_the_program_s_own_sitecustomize(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.customized = True")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PACKAGES}"}
    code = "import sys; print(customized, sys.modules['sitecustomize'].__file__)"
    command = [sys.executable, "-m", "rsnet", "run", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout == f"True {tmp_path}/sitecustomize.py\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "usage"),
        (["--help"], 0, "usage"),
        (["--version"], 0, "rsnet 0."),
        (["nonsense"], 2, "no command 'nonsense'"),
        (["run"], 2, "nothing to run"),
        (["run", "-m"], 2, "nothing to run"),
        (["run", "--help"], 0, "examples:"),
        (["run", "--nonsense", "x.py"], 2, "unknown option --nonsense"),
    ],
)
def test_the_command_line(arguments, status, said):
    done = run(*arguments)
    assert done.returncode == status and said in done.stdout + done.stderr
    assert (done.stdout == "") == (status != 0 and bool(arguments))
