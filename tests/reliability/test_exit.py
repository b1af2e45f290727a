"""The interpreter ends, whatever threads and sockets there are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

BLOCK = """
    import sys, warnings
    import rsnet
    from conftest import Background

    # Sockets are left open on purpose.
    warnings.simplefilter("ignore", ResourceWarning)
    kind, timeout_s = sys.argv[1], eval(sys.argv[2])
    listener = rsnet.create_server(("127.0.0.1", 0))
    pairs = [rsnet.socketpair() for _ in range(3)]
    socks = [sock for sock, _ in pairs]
    for sock in [listener, *socks]:
        sock.settimeout(timeout_s)
    calls = {
        "recv": lambda sock: sock.recv(1),
        "recv_into": lambda sock: sock.recv_into(bytearray(1)),
        "recvmsg": lambda sock: sock.recvmsg(1),
        "sendall": lambda sock: sock.sendall(bytes(1 << 25)),
        "accept": lambda sock: listener.accept(),
    }
    blocked = [Background(calls[kind], sock) for sock in socks]
    for each in blocked:
        each.until_blocked()
"""

ENDINGS = {
    "the end": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "os._exit": ("import os; os._exit(7)", 7),
    "an exception": ("raise SystemExit(5)", 5),
    "collected": ("import gc; del pairs, socks, listener, sock; gc.collect()", 0),
    # The calls are woken while the interpreter goes away.
    "closed last": ("import atexit; [atexit.register(sock.close) for sock in socks]", 0),
    "closed before": ("for sock in [listener, *socks]: sock.close()", 0),
}


@pytest.fixture
def with_conftest():
    """An environment in which the tests' conftest can be imported."""
    given = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(TESTS), *([given] if given else [])])}


@pytest.mark.parametrize("call", ["recv", "recv_into", "recvmsg", "sendall", "accept"])
@pytest.mark.parametrize("timeout_s", [None, 600])
def test_daemon_threads_in_calls(run_python, with_conftest, call, timeout_s):
    run_python(BLOCK, call, timeout_s, env=with_conftest)


@pytest.mark.parametrize("ending", ENDINGS)
def test_endings(run_python, with_conftest, ending):
    source, status = ENDINGS[ending]
    run_python(f"{BLOCK}\n    {source}\n", "recv", None, env=with_conftest, status=status)


def run_with_warnings(module, source):
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", f"import {module} as socket\n{source}"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    return done.returncode, done.stderr


LEFT_OPEN = {
    "global": "sock = socket.socket()",
    "in a cycle": "a = [socket.socket()]; a.append(a); del a",
    "in a thread": """
import threading
def hold(): local.sock = socket.socket()
local = threading.local()
thread = threading.Thread(target=hold)
thread.start(); thread.join()
""",
    "with a file": "sock = socket.socketpair()[0].makefile('rb')",
    "in a module": "import types, sys; m = sys.modules['m'] = types.ModuleType('m')\n"
    "m.sock = socket.socket()",
}


@pytest.mark.parametrize("place", LEFT_OPEN)
def test_unclosed_sockets_are_told_of_as_by_the_standard_library(place):
    status, expected = run_with_warnings("socket", LEFT_OPEN[place])
    assert status == 0
    status, told = run_with_warnings("rsnet", LEFT_OPEN[place])
    assert status == 0, told
    assert told.count("ResourceWarning") == expected.count("ResourceWarning")
    assert told.count("unclosed <") == expected.count("unclosed <")
    assert "Traceback" not in told
    assert "Exception ignored" not in told


def test_the_class_outlives_its_module(run_python):
    """What the class needs to close a socket is there until the end."""
    source = """
        import sys, warnings
        warnings.simplefilter("ignore")
        import rsnet
        class Holder:
            def __init__(self): self.sock = rsnet.socket()
            def __del__(self): self.sock.close()
        sys.holder = Holder()
        holder = Holder()
    """
    run_python(source)


SUBINTERPRETER = """
import sys
import rsnet
program = '''
import os
try:
    import rsnet
except ImportError as error:
    text = str(error)
else:
    text = "imported"
os.write(1, text.encode())
'''
if sys.version_info >= (3, 13):
    import _interpreters
    number = _interpreters.create(sys.argv[1])
    assert _interpreters.exec(number, program) is None
    _interpreters.destroy(number)
else:
    import _xxsubinterpreters
    isolated = {"isolated": sys.argv[1] == "isolated"} if sys.version_info >= (3, 12) else {}
    number = _xxsubinterpreters.create(**isolated)
    _xxsubinterpreters.run_string(number, program)
    _xxsubinterpreters.destroy(number)
# The main interpreter has not suffered.
a, b = rsnet.socketpair()
with a, b:
    a.send(b"x")
    assert b.recv(1) == b"x"
"""


@pytest.mark.parametrize("kind", ["isolated", "legacy"])
def test_a_subinterpreter_is_refused(run_python, kind):
    text = run_python(SUBINTERPRETER, kind)
    assert "subinterpreter" in text
    assert text != "imported"
