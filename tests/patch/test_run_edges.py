"""`python -m rsnet run` in the places where it could show: names, options, paths, environments."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

import rsnet

PACKAGES = str(Path(rsnet.__file__).parent.parent)
LIMIT_S = 40

# What of a program's surroundings it can look at. The names of loaded modules are not among them:
# rsnet and what it needs have been imported.
ALL = """
import __main__, os, sys
print(sys.argv, sys.orig_argv[0], sys.executable, sys.path, sys.flags)
print(sys.warnoptions, sys._xoptions, dict(os.environ), getattr(__main__.__spec__, 'name', None))
print("sitecustomize" in sys.modules, [p for p in sys.path_importer_cache if "_startup" in p])
print(sys.modules["__main__"] is __main__, __builtins__ is not None, sorted(vars(__main__)))
"""
WHICH = "import socket; print(socket.socket.__module__)"


@pytest.fixture
def both(tmp_path, monkeypatch):
    """`both(arguments, ...)`: what python and what `rsnet run` make of them.

    In the C locale, unless the environment says otherwise.
    """
    monkeypatch.chdir(tmp_path)

    def run(*arguments, options=(), name=sys.executable, stdin="", **environment):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES} | environment
        outcomes = []
        for command in ([name, *options], [name, *options, "-m", "rsnet", "run"]):
            done = subprocess.run(
                [*command, *arguments],
                executable=sys.executable,
                env=environment,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
            outcomes.append((done.returncode, done.stdout, done.stderr))
        return outcomes

    return run


def rsnet_command(*arguments, options=(), **environment):
    return subprocess.run(
        [sys.executable, *options, "-m", "rsnet", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES} | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def test_nothing_that_a_program_looks_at_is_different(both):
    Path("script.py").write_text(ALL)
    plain, run = both("script.py", "x")
    assert plain[0] == 0 and run == plain


LOCALES = [{}, {"LC_CTYPE": "C"}, {"LANG": "C.UTF-8"}, {"LC_ALL": "POSIX"}, {"LC_CTYPE": "C.UTF-8"}]


@pytest.mark.parametrize("locale", LOCALES, ids=str)
@pytest.mark.parametrize("more", [{}, {"PYTHONUTF8": "0"}, {"PYTHONCOERCECLOCALE": "0"}], ids=str)
def test_every_locale(both, locale, more):
    Path("script.py").write_text(
        ALL + "print(sys.stdout.encoding, sys.stdout.errors, sys.getfilesystemencoding())"
    )
    plain, run = both("script.py", **locale, **more)
    assert plain[0] == 0 and run == plain


@pytest.mark.parametrize(
    "variable", ["", os.pathsep, "relative", f"one{os.pathsep}{os.pathsep}two"]
)
def test_every_form_of_pythonpath(both, variable):
    # rsnet itself has to be found somewhere: the value in question comes behind it.
    Path("script.py").write_text(ALL)
    plain, run = both("script.py", PYTHONPATH=PACKAGES + os.pathsep + variable)
    assert plain[0] == 0 and run == plain


def started_in_the_folder_of_rsnet(tmp_path, **environment):
    script = tmp_path / "script.py"
    script.write_text("import os; print(os.environ.get('PYTHONPATH', 'unset'))\n" + WHICH)
    return subprocess.run(
        [sys.executable, "-m", "rsnet", "run", script],
        cwd=PACKAGES,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def test_rsnet_found_in_the_current_folder_only(tmp_path):
    assert started_in_the_folder_of_rsnet(tmp_path).stdout.split() == ["unset", "rsnet"]
    empty = started_in_the_folder_of_rsnet(tmp_path, PYTHONPATH="")
    assert empty.stdout.split("\n") == ["", "rsnet", ""]


@pytest.mark.parametrize("name", ["python", "./python", "anything"])
@pytest.mark.parametrize(
    "arguments", [["missing.py"], ["-m", "missing"], ["folder"]], ids=lambda words: words[-1]
)
def test_messages_begin_with_what_python_was_called(both, name, arguments):
    Path("folder").mkdir()
    environment = {"PATH": str(Path(sys.executable).parent)}
    if name != "python":
        # Called so, it does not find the environment that it belongs to; rsnet comes by PYTHONPATH.
        environment["PYTHONHOME"] = sys.base_prefix
    plain, run = both(*arguments, name=name, **environment)
    assert plain[0] != 0 and plain[2] and run == plain


@pytest.mark.parametrize(
    "options",
    [["-OB"], ["-Xdev"], ["-X", "utf8=1"], ["-Werror"], ["-bb", "-P"], ["-sW", "default"]]
    + [["--check-hash-based-pycs", "never", "-u"], ["-x"], ["-i"]],
    ids=" ".join,
)
def test_options_stay(both, options):
    Path("script.py").write_text("# -x leaves the first line out\n" + ALL)
    plain, run = both("script.py", options=options)
    assert plain[0] == 0 and run == plain


@pytest.mark.parametrize("options", ["-OBm", "-BOmrsnet", "-mrsnet"])
def test_options_that_hang_on_to_the_command(options):
    command = [sys.executable, options] + ["rsnet"] * ("rsnet" not in options)
    code = f"import sys; print(sys.flags.optimize, sys.flags.dont_write_bytecode)\n{WHICH}"
    done = subprocess.run(
        [*command, "run", "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    expected = ["1", "1", "rsnet"] if "O" in options else ["0", "0", "rsnet"]
    assert (done.stdout.split(), done.stderr) == (expected, "")


@pytest.mark.parametrize("arguments", [["-", "x"], ["--", "-script.py", "x"], ["-munit", "x"]])
def test_programs_named_in_rare_ways(both, arguments):
    Path("-script.py").write_text(ALL)
    Path("unit.py").write_text(ALL)
    plain, run = both(*arguments, stdin=ALL)
    assert plain[0] == 0 and run == plain


@pytest.mark.parametrize("options", ["-I", "-E", "-S"])
def test_a_python_that_cannot_be_patched_says_so(options):
    # -I and -E find no PYTHONPATH: this rsnet by a path put in by hand.
    start = f"import runpy, sys; sys.path.insert(0, {PACKAGES!r}); sys.argv[1:] = ['run', 'x.py']; "
    done = subprocess.run(
        [sys.executable, options, "-c", start + "runpy.run_module('rsnet', run_name='__main__')"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "without -I, -E and -S" in done.stderr


CUSTOM = {
    "raises": "raise ValueError('of their own')",
    "imports what is missing": "import missing_module",
    "exits": "raise SystemExit(9)",
    "uses sockets": "import socket; socket.socketpair()[0].close()",
    "changes the path": "import sys; sys.path.append('/added')",
}


@pytest.mark.parametrize("source", CUSTOM.values(), ids=CUSTOM.keys())
def test_a_sitecustomize_that(both, tmp_path, source):
    # It runs in the Python that was started as well, which must get as far as `run` or end alike.
    Path("sitecustomize.py").write_text(source)
    Path("script.py").write_text(ALL)
    plain, run = both("script.py", PYTHONPATH=f"{PACKAGES}{os.pathsep}{tmp_path}")
    twice = plain[2] if source.startswith(("raise V", "import m")) else ""
    assert run == (plain[0], plain[1], twice + plain[2])


def test_sitecustomize_and_usercustomize_come_after_the_patch(tmp_path):
    home = tmp_path / "home"
    (tmp_path / "sitecustomize.py").write_text(WHICH)
    environment = {"PYTHONUSERBASE": str(home), "HOME": str(home)}
    code = "import site; print(site.getusersitepackages())"
    folder = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    Path(folder).mkdir(parents=True)
    Path(folder, "usercustomize.py").write_text(WHICH)
    environment["PYTHONPATH"] = f"{PACKAGES}{os.pathsep}{tmp_path}"
    # The interpreter itself: one of a virtual environment has no folder of the user's.
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    done = subprocess.run(
        [base, "-m", "rsnet", "run", "-c", "pass"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert (done.stdout.split(), done.stderr) == (["socket"] * 2 + ["rsnet"] * 2, "")


INTERRUPTED = """
    import socket, sys
    near, far = socket.socketpair()
    print("ready", flush=True)
    with near, far:
        near.recv(1)
"""


def until_in_call(program):
    """Returns once the program, which has one thread, sleeps in a system call."""
    end = time.monotonic() + LIMIT_S
    while Path(f"/proc/{program.pid}/syscall").read_text().split()[0] in ("running", "-1"):
        assert program.poll() is None and time.monotonic() < end
        os.sched_yield()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("is_file", [True, False])
def test_a_signal_during_recv_ends_it_as_it_ends_python(tmp_path, number, is_file):
    script = tmp_path / "script.py"
    script.write_text(dedent(INTERRUPTED))
    program_text = [script] if is_file else ["-c", dedent(INTERRUPTED)]
    outcomes = []
    for command in ([sys.executable], [sys.executable, "-m", "rsnet", "run"]):
        with subprocess.Popen(
            [*command, *program_text],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES},
        ) as program:
            assert program.stdout.readline() == b"ready\n"
            until_in_call(program)
            # The process is the one that was started: what a shell or a supervisor knows it by.
            program.send_signal(number)
            _, errors = program.communicate(timeout=LIMIT_S)
        outcomes.append((program.returncode, errors))
    assert outcomes[0][0] == -number and outcomes[1] == outcomes[0]


def test_descriptors_and_ignored_signals_are_handed_on(tmp_path):
    reading, writing = os.pipe()
    code = (
        "import os, signal, sys; os.write(int(sys.argv[1]), b'passed');"
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    with open(reading, "rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "rsnet", "run", "-c", code, str(writing)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES},
            capture_output=True,
            text=True,
            pass_fds=[writing],
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            timeout=LIMIT_S,
        )
        os.close(writing)
        assert file.read() == b"passed"
    assert (done.stdout, done.stderr) == ("True\n", "")


CHILDREN = {
    "subprocess": "subprocess.run([sys.executable, '-c', WHICH])",
    "shell": "subprocess.run(shlex.join([sys.executable, '-c', WHICH]), shell=True)",
    "other path": (
        "subprocess.run([sys.executable, '-c', WHICH], env={**os.environ,"
        " 'PYTHONPATH': '/nowhere' + os.pathsep + os.environ['PYTHONPATH']})"
    ),
    "spawn": "process('spawn')",
    "forkserver": "process('forkserver')",
    "fork": "process('fork')",
    "exec": "os.execv(sys.executable, [sys.executable, '-c', WHICH])",
    "posix_spawn": (
        "os.waitpid(os.posix_spawn(sys.executable, [sys.executable, '-c', WHICH], os.environ), 0)"
    ),
    "grandchild": (
        "subprocess.run([sys.executable, '-c', 'import subprocess, sys;'"
        "' subprocess.run([sys.executable, \"-c\", ' + repr(WHICH) + '])'])"
    ),
    "isolated": "subprocess.run([sys.executable, '-I', '-c', WHICH])",
    "bare": "subprocess.run([sys.executable, '-c', WHICH], env={})",
    "nested run": "subprocess.run([sys.executable, '-m', 'rsnet', 'run', '-c', WHICH])",
}
ALWAYS, NEVER = {"fork", "nested run"}, {"isolated", "bare"}


@pytest.mark.parametrize("options", [[], ["--follow"]], ids=["alone", "follow"])
@pytest.mark.parametrize("kind", CHILDREN)
def test_children(tmp_path, kind, options):
    source = f"""
        import multiprocessing, os, shlex, subprocess, sys
        WHICH = {WHICH!r}

        def which():
            exec(WHICH)

        def process(method):
            child = multiprocessing.get_context(method).Process(target=which)
            child.start()
            child.join()

        if __name__ == "__main__":
            sys.stdout.flush()
            {CHILDREN[kind]}
    """
    script = tmp_path / "script.py"
    script.write_text(dedent(source))
    done = rsnet_command("run", *options, str(script))
    follows = kind in ALWAYS or (options and kind not in NEVER)
    assert (done.stdout, done.stderr) == ("rsnet\n" if follows else "socket\n", "")


def test_a_followed_python_without_rsnet_runs_as_ever(tmp_path):
    # Its own startup folder, beside which there is no package that it could import.
    startup = tmp_path / "rsnet" / "_startup"
    startup.mkdir(parents=True)
    source = Path(rsnet.__file__).with_name("_startup") / "sitecustomize.py"
    (startup / "sitecustomize.py").write_text(source.read_text())
    (startup.parent / "__init__.py").write_text("raise ImportError('for another Python')")
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('own')")
    done = subprocess.run(
        [sys.executable, "-c", f"{WHICH}\nimport sys; print({str(tmp_path)!r} in sys.path)"],
        env={"PYTHONPATH": f"{startup}{os.pathsep}{own}", "RSNET_RUN_FOLLOW": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert (done.stdout.split(), done.stderr) == (["own", "socket", "False"], "")


def test_modules_beside_rsnet_do_not_stand_in_for_the_standard_ones(tmp_path):
    # The folder of the package comes first on the path for the time of its import only, and then
    # the modules of the standard library that it needs are there already.
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "rsnet").symlink_to(Path(rsnet.__file__).parent)
    for name in ("copyreg", "enum", "selectors", "socket", "ssl", "types", "warnings"):
        (folder / f"{name}.py").write_text("raise SystemExit('a stand-in was imported')")
    code = f"import sys; sys.path.insert(0, {PACKAGES!r})\n{WHICH}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(folder / "rsnet" / "_startup")},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert (done.stdout, done.stderr) == ("rsnet\n", "")
