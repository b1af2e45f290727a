"""Batches of objects that act while they are looked at: each in a process that it could crash."""

import sys
from textwrap import dedent

import pytest

PRELUDE = """
    import gc, rsnet

    near, far = rsnet.socketpair(rsnet.AF_UNIX, rsnet.SOCK_DGRAM)
    udp = rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    for sock in (near, far, udp):
        sock.settimeout(0.2)
    port = udp.getsockname()[1]


    class Index:
        "An integer that acts before it tells its value."

        def __init__(self, value, act):
            self.value, self.act = value, act

        def __index__(self):
            self.act()
            return self.value


    class Buffer:
        "A buffer that acts before it is given (3.12 on)."

        def __init__(self, memory, act):
            self.memory, self.act = memory, act

        def __buffer__(self, flags):
            self.act()
            return memoryview(self.memory)


    def churn():
        "Takes the memory that was just given back."
        gc.collect()
        return [bytes(64) for _ in range(1000)], [bytearray(64) for _ in range(1000)]


    def arrived(sock):
        try:
            return [datagram.data for datagram in sock.recvmmsg(64, 200, timeout=0)]
        except BlockingIOError:
            return []


    def raised(call):
        try:
            return call()
        except Exception as error:
            return type(error).__name__
"""

# What runs, and what it prints.
CASES = {
    "the list, cleared by a port": (
        """
        messages = []
        def act():
            messages.clear()
            churn()
        messages += [(b"y" * 50, ("127.0.0.1", Index(port, act))) for _ in range(5)]
        print(raised(lambda: udp.sendmmsg(messages)), arrived(udp) == [b"y" * 50])
        """,
        "1 True",
    ),
    "the list, replaced by a port": (
        """
        messages = []
        def act():
            messages[:] = [churn() for _ in range(5)]
        messages += [(b"y" * 50, ("127.0.0.1", Index(port, act))) for _ in range(5)]
        print(raised(lambda: udp.sendmmsg(messages)), arrived(udp))
        """,
        "TypeError []",
    ),
    "the list, longer with each": (
        """
        messages = []
        def act():
            if len(messages) < 40:
                messages.append(messages[0])
        messages += [(b"y", ("127.0.0.1", Index(port, act)))] * 2
        messages += [(b"y", ("127.0.0.1", Index(port, act)))]
        print(raised(lambda: udp.sendmmsg(messages)) == len(arrived(udp)) >= 3)
        """,
        "True",
    ),
    "a tuple that nobody else holds": (
        """
        def act():
            churn()
        def messages():
            for _ in range(5):
                yield bytes(range(50)), ("127.0.0.1", Index(port, act))
        print(udp.sendmmsg(messages()), arrived(udp) == [bytes(range(50))] * 5)
        """,
        "5 True",
    ),
    "a buffer, resized by what comes after it": (
        """
        first = bytearray(b"y" * 50)
        def act():
            first.extend(bytes(10_000))
        messages = [(first, ("127.0.0.1", port)), (b"x", ("127.0.0.1", Index(port, act)))]
        print(raised(lambda: udp.sendmmsg(messages)), arrived(udp))
        first.append(0)
        """,
        "BufferError []",
    ),
    "a view, released by what comes after it": (
        """
        view = memoryview(bytearray(b"y" * 50))
        messages = [(view, ("127.0.0.1", port)), (b"x", ("127.0.0.1", Index(port, view.release)))]
        print(raised(lambda: udp.sendmmsg(messages)), arrived(udp))
        """,
        "BufferError []",
    ),
    "the parts, cleared by a control message": (
        """
        parts = [bytearray(b"y" * 1000) for _ in range(10)]
        def act():
            parts.clear()
            churn()
        print(raised(lambda: near.sendmmsg([b"x", (parts, [(Index(1, act), 999, b"1234")], None)])))
        print(len(far.recv(9)), raised(lambda: far.recv(9)))
        """,
        "OSError 1 TimeoutError",
    ),
    "a generator that raises": (
        """
        def messages():
            yield b"one"
            yield b"two"
            raise LookupError
        print(raised(lambda: near.sendmmsg(messages())), arrived(far))
        """,
        "LookupError []",
    ),
    "a generator that closes the socket": (
        """
        def messages():
            yield b"one"
            near.close()
            yield b"two"
        print(raised(lambda: near.sendmmsg(messages())), arrived(far))
        """,
        "OSError []",
    ),
    "a generator that uses the socket": (
        """
        def messages():
            near.sendmmsg([b"inner", b"inner"])
            yield b"one"
            far.sendmmsg([b"back", b"back"])
            yield near.recvmmsg(1, 9)[0]
            yield near.recvmmsg(9, 9)[0]
        print(near.sendmmsg(messages()), arrived(far))
        """,
        "3 [b'inner', b'inner', b'one', b'back', b'back']",
    ),
    "a generator that goes into itself": (
        """
        def messages():
            yield b"one"
            near.sendmmsg(generator)
        generator = messages()
        print(raised(lambda: near.sendmmsg(generator)), arrived(far))
        """,
        "ValueError []",
    ),
    "an iterator that raises when it is made": (
        """
        class Messages:
            def __iter__(self):
                raise LookupError
        print(raised(lambda: near.sendmmsg(Messages())), arrived(far))
        """,
        "LookupError []",
    ),
    "a length that is too small": (
        """
        class Messages(list):
            def __len__(self):
                return 0
        print(near.sendmmsg(Messages([b"one", b"two"])), arrived(far))
        """,
        "2 [b'one', b'two']",
    ),
    "a list that iterates otherwise": (
        """
        class Messages(list):
            def __iter__(self):
                return iter([b"other"])
        print(near.sendmmsg(Messages([b"one", b"two"])), arrived(far))
        """,
        "1 [b'other']",
    ),
    "a tuple that iterates otherwise": (
        """
        class Pair(tuple):
            def __iter__(self):
                raise LookupError
            def __getitem__(self, index):
                raise LookupError
            def __len__(self):
                return 7
        print(udp.sendmmsg([Pair((b"one", udp.getsockname()))]), arrived(udp))
        """,
        "1 [b'one']",
    ),
    "flags that clear the list": (
        """
        messages = [b"one", b"two"]
        print(near.sendmmsg(messages, Index(0, messages.clear)), arrived(far))
        """,
        "0 []",
    ),
    "flags that close the socket": (
        """
        print(raised(lambda: near.sendmmsg([b"one", b"two"], Index(0, near.close))), arrived(far))
        """,
        "OSError []",
    ),
    "a count that closes the socket": (
        """
        near.send(b"x")
        print(raised(lambda: far.recvmmsg(Index(1, far.close), 9)))
        """,
        "OSError",
    ),
    "a size that receives what is there": (
        """
        near.send(b"x")
        print(raised(lambda: far.recvmmsg(1, Index(9, lambda: far.recv(9)))))
        """,
        "TimeoutError",
    ),
    "a size that resizes the rows": (
        """
        rows = bytearray(100)
        near.send(b"x" * 90)
        print(raised(lambda: far.recvmmsg_into(rows, Index(100, rows.clear))))
        """,
        "ValueError",
    ),
    "a view that the size releases": (
        """
        rows = memoryview(bytearray(100))
        near.send(b"x" * 90)
        print(raised(lambda: far.recvmmsg_into(rows, Index(100, rows.release))))
        """,
        "ValueError",
    ),
    "rows that another thread wants to resize meanwhile": (
        """
        import threading
        rows = bytearray(100)
        outcome = []
        def resize():
            outcome.append(raised(rows.clear))
            near.send(b"x")
        timer = threading.Timer(0.05, resize)
        timer.start()
        far.settimeout(5)
        print(list(far.recvmmsg_into(rows)[0]))
        timer.join()
        print(outcome)
        rows.clear()
        """,
        "[1] ['BufferError']",
    ),
    "messages that another thread wants to resize meanwhile": (
        """
        import threading
        message = bytearray(b"x" * 100)
        outcome = []
        def resize():
            outcome.append(raised(message.clear))
            received = 0
            while received < 2000:
                received += len(far.recvmmsg(64, 100))
        timer = threading.Timer(0.05, resize)
        timer.start()
        near.settimeout(5)
        print(near.sendmmsg([message] * 2000))
        timer.join()
        print(outcome)
        message.clear()
        """,
        "2000 ['BufferError']",
    ),
    "a class that changes what a timeout is": (
        """
        class Seconds(float):
            def __float__(self):
                raise LookupError
        near.send(b"x")
        print(far.recvmmsg(1, 9, timeout=Seconds(1))[0].data)
        """,
        "b'x'",
    ),
    "an address of text that is a tuple's own": (
        """
        class Host(str):
            def encode(self, *arguments):
                raise LookupError
        print(udp.sendmmsg([(b"x", (Host("127.0.0.1"), port))]), arrived(udp))
        """,
        "1 [b'x']",
    ),
    "messages that sendmmsg is given again": (
        """
        datagrams = None
        for turn in range(50):
            near.sendmmsg(datagrams or [b"a", b"b"])
            datagrams = far.recvmmsg(9, 9)
        print([datagram.data for datagram in datagrams])
        """,
        "[b'a', b'b']",
    ),
}

SINCE_312 = {
    "a buffer that clears the list": (
        """
        messages = []
        def act():
            messages.clear()
            churn()
        messages += [Buffer(b"y" * 50, act) for _ in range(5)]
        print(near.sendmmsg(messages), arrived(far) == [b"y" * 50])
        """,
        "1 True",
    ),
    "a buffer that raises": (
        """
        def act():
            raise LookupError
        print(raised(lambda: near.sendmmsg([b"one", Buffer(b"y", act)])), arrived(far))
        """,
        "LookupError []",
    ),
    "a buffer that closes the socket": (
        """
        print(raised(lambda: near.sendmmsg([b"one", Buffer(b"y", near.close)])), arrived(far))
        """,
        "OSError []",
    ),
    "a buffer that sends": (
        """
        act = lambda: near.sendmmsg([b"inner"] * 2)
        print(near.sendmmsg([b"one", Buffer(b"y", act)]), arrived(far))
        """,
        "2 [b'inner', b'inner', b'one', b'y']",
    ),
    "a part that clears the parts": (
        """
        parts = []
        def act():
            parts.clear()
            churn()
        parts += [Buffer(b"y" * 5, act) for _ in range(3)]
        print(near.sendmmsg([(parts, [], None)]), arrived(far))
        """,
        "1 [b'yyyyyyyyyyyyyyy']",
    ),
    "rows that close the socket": (
        """
        near.send(b"x")
        print(raised(lambda: far.recvmmsg_into(Buffer(bytearray(9), far.close))))
        """,
        "OSError",
    ),
    "rows that receive": (
        """
        near.sendmmsg([b"one", b"two"])
        memory, inner = bytearray(9), []
        act = lambda: inner.extend(far.recvmmsg(1, 9))
        print(list(far.recvmmsg_into(Buffer(memory, act))[0]), inner[0].data, bytes(memory[:3]))
        """,
        "[3] b'one' b'two'",
    ),
    "control data that clears its list": (
        """
        ancdata = []
        def act():
            ancdata.clear()
            churn()
        ancdata += [(1, 99, Buffer(b"1234", act))] * 3
        print(raised(lambda: near.sendmmsg([([b"x"], ancdata, None)])), arrived(far))
        """,
        "OSError []",
    ),
}

if sys.version_info >= (3, 12):
    # `__buffer__` is Python's own from then on.
    CASES |= SINCE_312


@pytest.mark.parametrize("case", CASES)
def test_hostile(run_python, case):
    source, expected = CASES[case]
    end = "\nfor sock in (near, far, udp):\n    sock.close()\n"
    printed = run_python(dedent(PRELUDE) + dedent(source) + end)
    assert printed.split() == expected.split()
