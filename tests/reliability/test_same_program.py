"""Whole programs at the edges of what a socket takes: they print the same with both modules.

Each runs in a process of its own, for it may end it, and finds the module as `socket`.
"""

import pytest

PROGRAMS = {
    "timeouts beyond what the clock holds": """
        s = socket.socket()
        for timeout in (3e6, 2147484, 1e9, 9.1e9, 9.2e9):
            s.settimeout(timeout)
            print(s.gettimeout())
        socket.setdefaulttimeout(9.1e9)
        with socket.socket() as other:
            print(other.gettimeout())
        s.close()
    """,
    "an address that there is no memory to copy": """
        import resource
        name = b"x" * (600 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.bind(name)
            except OSError as error:
                print(repr(error))
    """,
    "parts whose sizes overflow": """
        import ctypes
        near, far = socket.socketpair()
        near.setblocking(False)
        part = (ctypes.c_char * 2**62).from_address(4096)
        for call in (lambda: near.sendmsg([part] * 4), lambda: near.recvmsg_into([part] * 4)):
            try:
                print(call())
            except OSError as error:
                print(repr(error))
        near.close(), far.close()
    """,
    "room for control data that does not come": """
        import resource
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        far.send(b"x")
        print(near.recvmsg(1, 0x7fffffff))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18)
        near.close(), far.close()
    """,
    "arguments whose __index__ raises OSError": """
        class Odd:
            def __index__(self):
                raise OSError(9, "of the argument")
            __bool__ = __index__
        with socket.socket() as s:
            s.settimeout(4)
            for call in (s.settimeout, s.setblocking):
                try:
                    call(Odd())
                except OSError as error:
                    print(repr(error), s.gettimeout())
    """,
    "a descriptor whose mode somebody else has changed": """
        import os
        with socket.socket() as s:
            s.settimeout(5)
            os.set_blocking(s.fileno(), True)
            s.settimeout(6)
            print(os.get_blocking(s.fileno()))
    """,
    "a family by __index__": """
        class Index:
            def __index__(self):
                return 2
        with socket.socket(Index()) as s:
            print(s.family, type(s) is socket.socket)
    """,
    "an object that __init__ has not seen": """
        class Named(socket.socket):
            def __init__(self):
                pass
        try:
            Named().close()
        except AttributeError as error:
            print(error)
    """,
    "a subclass that accepts and closes in its own way": """
        class Own(socket.socket):
            def _accept(self):
                print("accepts")
                return super()._accept()
            def _real_close(self):
                print("closes")
                super()._real_close()
        with Own() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            client = socket.create_connection(listener.getsockname())
            server, address = listener.accept()
            print(address == client.getsockname(), type(server) is socket.socket)
            client.close(), server.close()
    """,
    "a class whose methods a test has replaced": """
        from unittest import mock
        with mock.patch.object(socket.socket, "_real_close", lambda self: print("closes")):
            s = socket.socket()
            s.close()
        s.detach()
        near, far = socket.socketpair()
        far.send(b"real")
        file = near.makefile("rb")
        with mock.patch.object(socket.socket, "recv_into", lambda self, b: 0):
            print(file.read())
        for it in (file, near, far):
            it.close()
    """,
    "a repr that fails when a forgotten socket is found": """
        import sys, warnings
        class Odd(socket.socket):
            def __repr__(self):
                raise ZeroDivisionError
        sys.unraisablehook = lambda info: print(info.exc_type.__name__, type(info.object).__name__)
        s = Odd()
        del s
        s = socket.socket()
        del s
    """,
    "address tuples that own what they hold": """
        import gc, weakref
        class Address(tuple):
            pass
        class Held:
            pass
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        near.bind(("127.0.0.1", 0))
        address = Address(near.getsockname())
        address.held = Held()
        gone = weakref.ref(address.held)
        near.sendto(b"x", address)
        del address
        gc.collect()
        print(gone() is None)
        near.close()
    """,
    "a lookup with a host of bytes, and with any number as the protocol": """
        for host in (b"127.0.0.1", "127.0.0.1", b"::1"):
            print(socket.getaddrinfo(host, 80, 0, socket.SOCK_STREAM))
        answers = [socket.getaddrinfo("127.0.0.1", 80, 0, 0, n, 0) for n in (0, 6, 17)]
        print(answers)
    """,
    "signals reset after a thread was woken by close()": """
        import signal, threading
        def close_of_a_blocked_call():
            near, far = socket.socketpair()
            blocked = threading.Thread(target=lambda: near.recv(1))
            blocked.start()
            far.send(b"x")
            blocked.join()
            near.close(), far.close()
        close_of_a_blocked_call()
        for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
            signal.signal(number, signal.SIG_DFL)
        close_of_a_blocked_call()
        print("alive")
    """,
    "threads with small stacks": """
        import threading
        threading.stack_size(128 * 1024)
        def talk():
            near, far = socket.socketpair()
            near.send(b"x")
            print(far.recv(10))
            near.close(), far.close()
        thread = threading.Thread(target=talk)
        thread.start()
        thread.join()
    """,
    "a recv of more than is there, and of more than there is memory for": """
        near, far = socket.socketpair()
        near.setblocking(False)
        for size in (1 << 16, 1 << 18, 1 << 20, 1 << 24):
            far.send(b"x" * 100_000)
            print(len(near.recv(size)))
            try:
                while near.recv(1 << 20):
                    pass
            except BlockingIOError:
                pass
        try:
            near.recv(1 << 62)
        except (MemoryError, OverflowError) as error:
            print(type(error).__name__)
        near.close(), far.close()
    """,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_the_same_output(run_python, program):
    preamble = "import importlib, sys, warnings\nsocket = importlib.import_module(sys.argv[1])\n"
    preamble += "warnings.simplefilter('error', ResourceWarning)\n"
    lines = [line.removeprefix("        ") for line in program.splitlines()]
    source = preamble + "\n".join(lines)
    expected = run_python(source, "socket")
    assert expected
    assert run_python(source, "rsnet").replace("rsnet.socket", "socket.socket") == expected


LINGERING = """
import os, struct, threading, time
import rsnet as socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
peer, _ = server.accept()
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
client.setblocking(False)
try:
    while True:
        client.send(bytes(1 << 16))
except BlockingIOError:
    client.setblocking(True)
woken, ticks = threading.Event(), []
def blocked():
    try:
        client.recv(1)
    except OSError:
        pass
    woken.set()
threading.Thread(target=blocked, daemon=True).start()
threading.Thread(target=client.close, daemon=True).start()
# close(2) lingers for thirty seconds, in whichever of the threads: this one goes on.
for _ in range(1000):
    ticks.append(time.monotonic())
    time.sleep(0.0005)
assert max(b - a for a, b in zip(ticks, ticks[1:])) < 5
os._exit(0)
"""


def test_a_close_that_lingers_stops_no_other_thread(run_python):
    run_python(LINGERING)


def test_close_of_a_lingering_socket_with_a_call_in_flight_wakes_the_call(run_python):
    source = LINGERING.replace("os._exit(0)", "assert woken.wait(60)\nos._exit(0)")
    run_python(source.replace('"ii", 1, 30', '"ii", 1, 1'))
