"""Arguments that run Python code, and change what the call is about, while the call reads them."""

import sys

import pytest

import rsnet

# Each in a process of its own, for a crash is what is feared.
PREAMBLE = """
import errno, os, sys
import rsnet

near, far = rsnet.socketpair()
far.settimeout(20)

class Index:
    def __init__(self, act, value=0):
        self.act, self.value = act, value
    def __index__(self):
        self.act()
        return self.value

class Exporter:
    "Its buffer is had only after an act (Python 3.12 and later)."
    def __init__(self, act, buffer):
        self.act, self.buffer = act, buffer
    def __buffer__(self, flags):
        self.act()
        return memoryview(self.buffer)

def closed(call):
    try:
        call()
    except OSError as error:
        assert error.errno == errno.EBADF, error
    else:
        raise AssertionError("no error")

def ends(kinds, call):
    try:
        call()
    except kinds:
        return
    raise AssertionError("no error")
"""

ANYWHERE = {
    "an iterator that clears what it reads from": """
        def parts():
            for part in list(items):
                items.clear()
                yield part
        items = [bytes([n]) * 10_000 for n in range(3)]
        assert near.sendmsg(parts()) == 30_000
        assert far.recv(30_000, rsnet.MSG_WAITALL)[-1:] == b"\\2"
    """,
    "an iterator that frees each part it gave": """
        def parts():
            for n in range(100):
                part = bytearray([n]) * 200
                yield part
                try:
                    part.clear()
                except BufferError:
                    pass
        near.sendmsg(parts())
    """,
    "an iterator that closes the socket": """
        def parts():
            near.close()
            yield b"x"
        closed(lambda: near.sendmsg(parts()))
    """,
    "an iterator that raises half-way": """
        buffer = bytearray(10)
        def parts():
            yield buffer
            raise KeyError
        ends(KeyError, lambda: near.sendmsg(parts()))
        ends(KeyError, lambda: far.recvmsg_into(parts()))
        buffer.clear()
    """,
    "an iterator of buffers to fill that closes the socket": """
        def parts():
            far.close()
            yield bytearray(10)
        near.send(b"x")
        closed(lambda: far.recvmsg_into(parts()))
    """,
    "a subclass of list that changes while it is read": """
        class Changing(list):
            def __iter__(self):
                self.clear()
                return super().__iter__()
            def __len__(self):
                return 1_000_000
        assert near.sendmsg(Changing([b"x"])) == 0
        near.send(b"x")
        assert far.recvmsg_into(Changing([bytearray(1)]))[0] == 0
    """,
    "control data that clears its list": """
        items = [(Index(lambda: items.clear()), 1, b"x" * 1_000), (1, 1, b"x")]
        assert near.sendmsg([b"x"], items) == 1
        assert items == []
    """,
    "control data that closes the socket": """
        items = [(Index(near.close, 1), 1, b"1234")]
        closed(lambda: near.sendmsg([b"x"], items))
    """,
    "a size that closes the socket": """
        for method in (far.recv, far.recvfrom, far.recvmsg):
            a, b = rsnet.socketpair()
            with a, b:
                closed(lambda: getattr(b, method.__name__)(Index(b.close, 5)))
    """,
    "flags that close the socket": """
        for call in (
            lambda sock, flags: sock.send(b"x", flags),
            lambda sock, flags: sock.sendall(b"x", flags),
            lambda sock, flags: sock.sendto(b"x", flags, "/nowhere"),
            lambda sock, flags: sock.sendmsg([b"x"], [], flags),
            lambda sock, flags: sock.recv(5, flags),
            lambda sock, flags: sock.recv_into(bytearray(5), 5, flags),
            lambda sock, flags: sock.recvfrom_into(bytearray(5), 5, flags),
            lambda sock, flags: sock.recvmsg(5, 0, flags),
            lambda sock, flags: sock.recvmsg_into([bytearray(5)], 0, flags),
            lambda sock, flags: sock.getsockopt(1, flags, 10),
            lambda sock, flags: sock.setsockopt(1, flags, 10),
            lambda sock, flags: sock.listen(flags),
            lambda sock, flags: sock.shutdown(flags),
        ):
            a, b = rsnet.socketpair()
            with a, b:
                closed(lambda: call(b, Index(b.close)))
    """,
    "an address that closes the socket": """
        for method in ("connect", "bind", "connect_ex"):
            with rsnet.socket() as sock:
                call = getattr(sock, method)
                address = ("127.0.0.1", Index(sock.close, 9))
                if method == "connect_ex":
                    assert call(address) == errno.EBADF
                else:
                    closed(lambda: call(address))
        with rsnet.socket(type=rsnet.SOCK_DGRAM) as sock:
            closed(lambda: sock.sendto(b"x", ("127.0.0.1", Index(sock.close, 9))))
        with rsnet.socket(type=rsnet.SOCK_DGRAM) as sock:
            address = ("127.0.0.1", Index(sock.close, 9))
            closed(lambda: sock.sendmsg([b"x"], [], 0, address))
    """,
    "an audit hook that closes the socket": """
        def hook(event, arguments):
            if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
                arguments[0].close()
        sys.addaudithook(hook)
        for call in (
            lambda sock: sock.connect(("127.0.0.1", 9)),
            lambda sock: sock.bind(("127.0.0.1", 0)),
            lambda sock: sock.sendto(b"x", ("127.0.0.1", 9)),
            lambda sock: sock.sendmsg([b"x"]),
        ):
            with rsnet.socket(type=rsnet.SOCK_DGRAM) as sock:
                closed(lambda: call(sock))
    """,
    "a view released by a later argument": """
        for call in (
            lambda sock, view, number: sock.recv_into(view, number),
            lambda sock, view, number: sock.recv_into(view, 10, number),
            lambda sock, view, number: sock.recvfrom_into(view, number),
            lambda sock, view, number: sock.send(view, number),
            lambda sock, view, number: sock.sendall(view, number),
            lambda sock, view, number: sock.sendto(view, number, None),
            lambda sock, view, number: sock.sendto(view, ("127.0.0.1", number)),
        ):
            with rsnet.socket(type=rsnet.SOCK_DGRAM) as sock:
                view = memoryview(bytearray(10_000))
                # The call holds an export of the view.
                ends(BufferError, lambda: call(sock, view, Index(view.release)))
                view.release()
    """,
    "a buffer resized by a later argument": """
        for call in (
            lambda sock, buffer, number: sock.recv_into(buffer, number),
            lambda sock, buffer, number: sock.recv_into(buffer, 10, number),
            lambda sock, buffer, number: sock.recvfrom_into(buffer, number),
            lambda sock, buffer, number: sock.send(buffer, number),
            lambda sock, buffer, number: sock.sendall(buffer, number),
            lambda sock, buffer, number: sock.sendto(buffer, ("127.0.0.1", number)),
        ):
            with rsnet.socket(type=rsnet.SOCK_DGRAM) as sock:
                buffer = bytearray(10_000)
                ends(BufferError, lambda: call(sock, buffer, Index(buffer.clear)))
                buffer.clear()
    """,
    "a timeout that closes the socket": """
        class Seconds:
            def __float__(self):
                far.close()
                return 1.0
        ends((OSError, TypeError), lambda: far.settimeout(Seconds()))
    """,
    "a host whose class lies about it": """
        class Host(str):
            def encode(self, *_): return b"127.0.0.1"
            def __str__(self): return "x"
        class Pair(tuple):
            def __len__(self): return 7
            def __getitem__(self, index): raise KeyError
            def __iter__(self): raise KeyError
        with rsnet.socket() as sock:
            sock.bind(Pair([Host("127.0.0.1"), 0]))
            assert sock.getsockname()[0] == "127.0.0.1"
    """,
    "an initialisation again, from inside a call": """
        with rsnet.socket() as sock:
            again = Index(lambda: sock.__init__(), 9)
            number = sock.fileno()
            ends(OSError, lambda: sock.connect(("127.0.0.1", again)))
            if sock.fileno() != number:
                os.close(number)
    """,
    "collection from inside a call": """
        import gc
        class Part:
            def __init__(self): self.me = self
            def __del__(self): near.close()
        def parts():
            Part()
            gc.collect()
            yield b"x"
        closed(lambda: near.sendmsg(parts()))
    """,
}

WITH_EXPORTERS = {
    "sendmsg: an item clears the list": """
        items = []
        items += [Exporter(items.clear, b"a" * 100)] + [bytes([n]) * 1_000 for n in range(50)]
        sent = near.sendmsg(items)
        assert len(far.recv(100_000)) == sent
    """,
    "sendmsg: an item lengthens the list": """
        items = []
        items += [Exporter(lambda: items.extend([b"z"] * 1_000), b"a"), b"b"]
        assert near.sendmsg(items) == 2
    """,
    "sendmsg: an item closes the socket": """
        closed(lambda: near.sendmsg([Exporter(near.close, b"a")]))
    """,
    "sendmsg: control data that clears its list": """
        items = []
        items += [(1, 99, Exporter(items.clear, b"a" * 50)), (1, 99, b"b" * 50)]
        ends(OSError, lambda: near.sendmsg([b"x"], items))
    """,
    "recvmsg_into: an item clears the list": """
        first, items = bytearray(100), []
        items += [Exporter(items.clear, first)] + [bytearray(1_000) for _ in range(50)]
        near.send(b"x" * 100)
        assert far.recvmsg_into(items)[0] == 100
        assert first == b"x" * 100
        first.clear()
    """,
    "recvmsg_into: an item closes the socket": """
        closed(lambda: far.recvmsg_into([Exporter(far.close, bytearray(5))]))
    """,
    "send: the data closes the socket": """
        for call in (
            lambda sock, data: sock.send(data),
            lambda sock, data: sock.sendall(data),
            lambda sock, data: sock.sendto(data, "/nowhere"),
        ):
            a, b = rsnet.socketpair()
            with a, b:
                closed(lambda: call(b, Exporter(b.close, b"x")))
    """,
    "recv_into: the buffer closes the socket": """
        closed(lambda: far.recv_into(Exporter(far.close, bytearray(5))))
    """,
}

CASES = ANYWHERE | (WITH_EXPORTERS if sys.version_info >= (3, 12) else {})


@pytest.mark.parametrize("case", CASES)
def test_in_a_process_of_its_own(run_python, case):
    body = "\n".join(line.removeprefix(" " * 8) for line in CASES[case].splitlines())
    run_python(f"{PREAMBLE}\nimport warnings; warnings.simplefilter('ignore')\n{body}")


USES = {
    "recv_into": lambda sock, buffer: sock.recv_into(buffer),
    "recvfrom_into": lambda sock, buffer: sock.recvfrom_into(buffer),
    "recvmsg_into": lambda sock, buffer: sock.recvmsg_into([buffer]),
    "send": lambda sock, buffer: sock.send(buffer),
    "sendall": lambda sock, buffer: sock.sendall(buffer),
    "sendmsg": lambda sock, buffer: sock.sendmsg([buffer]),
}


@pytest.mark.parametrize("timeout_s", [None, 30])
@pytest.mark.parametrize("use", USES)
def test_a_buffer_in_use_cannot_be_resized(pair, in_thread, use, timeout_s):
    peer, sock = pair(rsnet, rsnet.AF_UNIX)
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.sendall(bytes(1 << 25))
    sock.settimeout(timeout_s)
    buffer = bytearray(100)
    blocked = in_thread(USES[use], sock, buffer)
    blocked.until_blocked()
    for resize in (buffer.clear, lambda: buffer.extend(b"x"), lambda: buffer.pop()):
        with pytest.raises(BufferError):
            resize()
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        blocked.result()
    buffer.clear()
    assert len(peer.recv(1)) == 1
