"""Arguments that run Python code, and change things while they are looked at.

The standard library crashes on some of these (gh-143637), so each runs in a child. Where it lives,
both have to do the same.
"""

import os
import subprocess
import sys
from textwrap import dedent, indent

import pytest

import rsnet

PRELUDE = """
import array, gc, importlib, sys, warnings
m = importlib.import_module(sys.argv[1])
warnings.simplefilter("ignore", ResourceWarning)
left, right = m.socketpair()
left.settimeout(0.2)
right.settimeout(0.2)


class Index:
    "An integer that acts before it tells its value."

    def __init__(self, value, act):
        self.value, self.act = value, act

    def __index__(self):
        self.act()
        return self.value


class Float:
    def __init__(self, value, act):
        self.value, self.act = value, act

    def __float__(self):
        self.act()
        return self.value


class Buffer:
    "A buffer that acts before it is given (3.12 on)."

    def __init__(self, memory, act):
        self.memory, self.act = memory, act

    def __buffer__(self, flags):
        self.act()
        return memoryview(self.memory)


def fail():
    raise LookupError("from inside")


def churn():
    "Takes the memory that was just given back."
    gc.collect()
    return [bytes(64) for _ in range(1000)], [bytearray(64) for _ in range(1000)]


def outcome(operation):
    try:
        value = operation()
    except Exception as error:
        value = type(error).__name__, error.args
    print(repr(value))
"""

# Each is the body of a program; what it prints is its outcome.
EVERYWHERE = {
    "the control messages, cleared by a level": """
        messages = []
        messages += [(Index(1, messages.clear), 1, b"1234"), (1, 1, b"5678")] * 10
        outcome(lambda: left.sendmsg([b"x"], messages))
    """,
    "the control messages, replaced by a type": """
        messages = []
        def replace():
            messages[:] = [churn()]
        messages += [(1, Index(1, replace), bytes(4))] * 10
        outcome(lambda: left.sendmsg([b"x"], messages))
    """,
    "the control messages, longer with each": """
        messages = []
        def grow():
            if len(messages) < 1000:
                messages.append((1, 1, b"1234"))
        messages += [(1, Index(999, grow), b"1234")] * 3
        outcome(lambda: left.sendmsg([b"x"], messages))
    """,
    "the buffers, cleared by a control message": """
        buffers = [bytearray(b"y" * 1000) for _ in range(10)]
        def act():
            buffers.clear()
            churn()
        outcome(lambda: left.sendmsg(buffers, [(Index(1, act), 999, b"1234")]))
    """,
    "the buffers, cleared by the flags": """
        buffers = [bytearray(b"y" * 10) for _ in range(10)]
        def act():
            buffers.clear()
            churn()
        outcome(lambda: left.sendmsg(buffers, [], Index(0, act)))
        right.setblocking(False)
        outcome(lambda: right.recv(200))
    """,
    "the buffers to receive into, cleared by the room": """
        buffers = [bytearray(10) for _ in range(10)]
        def act():
            buffers.clear()
            churn()
        right.send(b"0123456789" * 3)
        outcome(lambda: left.recvmsg_into(buffers, Index(0, act)))
    """,
    "a buffer that the size would resize": """
        buffer = bytearray(100)
        right.send(b"data")
        outcome(lambda: left.recv_into(buffer, Index(100, lambda: buffer.extend(bytes(10_000)))))
    """,
    "a view that the size would release": """
        view = memoryview(bytearray(100))
        right.send(b"data")
        outcome(lambda: left.recv_into(view, Index(100, view.release)))
    """,
    "a buffer that the flags would clear": """
        buffer = bytearray(b"x" * 100)
        outcome(lambda: left.send(buffer, Index(0, buffer.clear)))
    """,
    "a datagram that its port would clear": """
        buffer = bytearray(b"x" * 100)
        udp = m.socket(type=m.SOCK_DGRAM)
        outcome(lambda: udp.sendto(buffer, ("127.0.0.1", Index(9, buffer.clear))))
        udp.close()
    """,
    "an iterator that closes the socket": """
        def buffers():
            yield b"x"
            left.close()
            yield b"y"
        outcome(lambda: left.sendmsg(buffers()))
    """,
    "an iterator that uses the socket": """
        right.send(b"data")
        def buffers():
            yield left.recv(2)
            left.send(b"between")
            yield left.recv(2)
        outcome(lambda: left.sendmsg(buffers()))
        outcome(lambda: right.recv(99))
    """,
    "an iterator that fails": """
        def buffers():
            yield b"x"
            fail()
        outcome(lambda: left.sendmsg(buffers()))
        outcome(lambda: left.sendmsg([b"x"], buffers()))
        outcome(lambda: left.recvmsg_into(buffers()))
    """,
    "an iterator of buffers that nobody else holds": """
        right.send(b"data")
        outcome(lambda: left.sendmsg(bytearray(10_000) for _ in range(20)))
        outcome(lambda: left.recvmsg_into(bytearray(2) for _ in range(5)))
    """,
    "sizes and flags that close the socket": """
        calls = [
            lambda close: left.recv(Index(1, close)),
            lambda close: left.recv(1, Index(0, close)),
            lambda close: left.recvfrom(Index(1, close)),
            lambda close: left.recv_into(bytearray(1), Index(1, close)),
            lambda close: left.recvmsg(1, Index(0, close)),
            lambda close: left.send(b"x", Index(0, close)),
            lambda close: left.sendall(b"x", Index(0, close)),
            lambda close: left.sendmsg([b"x"], [], Index(0, close)),
            lambda close: left.listen(Index(1, close)),
            lambda close: left.shutdown(Index(2, close)),
            lambda close: left.getsockopt(Index(1, close), 3),
            lambda close: left.setsockopt(1, 2, Index(1, close)),
            lambda close: left.settimeout(Float(1.5, close)),
            lambda close: left.setblocking(Index(1, close)),
        ]
        for call in calls:
            left, right = m.socketpair()
            outcome(lambda: call(left.close))
            right.close()
    """,
    "addresses that close the socket": """
        for method in ("bind", "connect", "connect_ex", "sendto"):
            sock = m.socket(type=m.SOCK_DGRAM)
            arguments = [b"x"] if method == "sendto" else []
            address = ("127.0.0.1", Index(9, sock.close))
            outcome(lambda: getattr(sock, method)(*arguments, address))
    """,
    "integers that fail": """
        sock = m.socket(type=m.SOCK_DGRAM)
        for call in (
            lambda: left.recv(Index(1, fail)),
            lambda: left.recv_into(bytearray(1), Index(1, fail)),
            lambda: left.recvmsg(1, Index(1, fail)),
            lambda: left.send(b"x", Index(0, fail)),
            lambda: left.sendmsg([b"x"], [(Index(1, fail), 1, b"")]),
            lambda: left.settimeout(Float(1, fail)),
            lambda: left.settimeout(Index(1, fail)),
            lambda: left.setsockopt(1, 2, Index(1, fail)),
            lambda: sock.bind(("127.0.0.1", Index(1, fail))),
            lambda: sock.connect_ex(("127.0.0.1", Index(1, fail))),
            lambda: sock.sendto(b"x", ("127.0.0.1", Index(1, fail))),
            lambda: m.socket(Index(2, fail)),
            lambda: m.socket(2, Index(1, fail)),
            lambda: m.socket(fileno=Index(1, fail)),
        ):
            outcome(call)
        sock.close()
    """,
    "integers that are none": """
        class Liar:
            def __index__(self):
                return "seven"
        for call in (
            lambda: left.recv(Liar()),
            lambda: left.send(b"x", Liar()),
            lambda: left.setsockopt(1, 2, Liar()),
            lambda: left.bind(("127.0.0.1", Liar())),
            lambda: m.socket(Liar()),
        ):
            outcome(call)
    """,
    "an argument that opens the socket again": """
        # The call has begun with one descriptor and must not end on another.
        def reopen():
            left.close()
            left.__init__(m.AF_UNIX, m.SOCK_DGRAM)
        outcome(lambda: left.send(b"x", Index(0, reopen)))
    """,
    "hosts of subclasses that act": """
        class Host(str):
            def __str__(self):
                fail()
        class Bytes(bytes):
            def __bytes__(self):
                fail()
            def __len__(self):
                fail()
        sock = m.socket(type=m.SOCK_DGRAM)
        for host in (Host("127.0.0.1"), Bytes(b"127.0.0.1"), Host("")):
            outcome(lambda: sock.connect((host, 9)))
            outcome(lambda: len(m.getaddrinfo(host, 9)))
        sock.close()
    """,
    "tuples of subclasses that act": """
        class Address(tuple):
            def __len__(self):
                fail()
            def __getitem__(self, index):
                fail()
            def __iter__(self):
                fail()
        sock = m.socket(type=m.SOCK_DGRAM)
        outcome(lambda: sock.connect(Address(("127.0.0.1", 9))))
        outcome(lambda: sock.getpeername())
        outcome(lambda: left.sendmsg([b"x"], [Address((1, 999, b"1234"))]))
        sock.close()
    """,
    "lists of subclasses that act": """
        class Buffers(list):
            def __len__(self):
                fail()
            def __getitem__(self, index):
                fail()
            def __iter__(self):
                fail()
        outcome(lambda: left.sendmsg(Buffers([b"x"])))
        outcome(lambda: left.sendmsg(Buffers(range(10_000))))
    """,
    "a sequence that lies about its length": """
        class Sequence:
            def __len__(self):
                return 1 << 16
            def __getitem__(self, index):
                if index > 3:
                    raise IndexError
                return b"xy"
        outcome(lambda: left.sendmsg(Sequence()))
    """,
    "a hook of another thread between the arguments and the call": """
        import threading
        done = threading.Event()
        def close_elsewhere():
            thread = threading.Thread(target=left.close)
            thread.start()
            thread.join()
        outcome(lambda: left.recv(Index(5, close_elsewhere)))
    """,
    "deep recursion": """
        class Again:
            def __index__(self):
                return left.recv(Again())
        try:
            left.recv(Again())
        except RecursionError:
            print("RecursionError")
    """,
}
# What acts through __buffer__, which Python classes have from 3.12 on.
FROM_312 = {
    "the buffers, cleared by one of them": """
        buffers = []
        def act():
            buffers.clear()
            churn()
        buffers += [bytearray(b"x" * 100), Buffer(bytearray(b"y" * 100), act)] * 5
        outcome(lambda: left.sendmsg(buffers))
    """,
    "the buffers to receive into, cleared by one of them": """
        right.send(b"0123456789" * 3)
        buffers = []
        def act():
            buffers.clear()
            churn()
        buffers += [bytearray(10), Buffer(bytearray(10), act)] * 5
        outcome(lambda: left.recvmsg_into(buffers))
    """,
    "the buffers, longer with each of them": """
        buffers = []
        def act():
            if len(buffers) < 500:
                buffers.append(b"more")
        buffers += [Buffer(b"y", act)] * 3
        outcome(lambda: left.sendmsg(buffers))
    """,
    "the control messages, cleared by the data of one": """
        messages = []
        def act():
            messages.clear()
            churn()
        messages += [(1, 999, Buffer(b"1234", act))] * 5
        outcome(lambda: left.sendmsg([b"x"], messages))
    """,
    "control data of another length each time": """
        class Growing:
            length = 4
            def __buffer__(self, flags):
                self.length *= 4
                return memoryview(bytes(self.length))
        outcome(lambda: left.sendmsg([b"x"], [(1, 999, Growing())] * 3))
    """,
    "buffers that close the socket": """
        for call in (
            lambda close: left.send(Buffer(b"x", close)),
            lambda close: left.sendall(Buffer(b"x", close)),
            lambda close: left.sendmsg([Buffer(b"x", close)]),
            lambda close: left.recv_into(Buffer(bytearray(1), close)),
            lambda close: left.recvmsg_into([Buffer(bytearray(1), close)]),
            lambda close: left.setsockopt(1, 2, Buffer(b"1234", close)),
        ):
            left, right = m.socketpair()
            outcome(lambda: call(left.close))
            right.close()
    """,
    "a buffer whose release fails": """
        class Fragile:
            def __buffer__(self, flags):
                return memoryview(b"data")
            def __release_buffer__(self, view):
                fail()
        sys.unraisablehook = lambda it: print("unraisable", it.exc_type.__name__)
        outcome(lambda: left.send(Fragile()))
        outcome(lambda: left.sendmsg([Fragile(), Fragile()]))
    """,
    "a buffer whose release closes the socket": """
        class Fragile:
            def __buffer__(self, flags):
                return memoryview(b"data")
            def __release_buffer__(self, view):
                left.close()
        outcome(lambda: left.sendmsg([Fragile(), b"x"]))
        outcome(lambda: left.send(b"x"))
    """,
}
PROGRAMS = EVERYWHERE | (FROM_312 if sys.version_info >= (3, 12) else {})


def run(module, body):
    program = PRELUDE + dedent(body) + "\nleft.close()\nright.close()\n"
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program, module],
        capture_output=True,
        text=True,
        timeout=20,
        env=os.environ | {"PYTHONMALLOC": "debug"},
    )


@pytest.mark.parametrize("body", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_hostile_objects(body):
    ours = run(rsnet.__name__, body)
    assert ours.returncode == 0, ours.stderr + indent(dedent(body), "    ")
    assert (ours.stdout != "", ours.stderr) == (True, "")
    theirs = run("socket", body)
    if theirs.returncode == 0:
        assert ours.stdout == theirs.stdout
    else:
        # Nothing to be compared with: a crash of the standard library's, by a signal.
        assert theirs.returncode < 0, theirs.stderr
