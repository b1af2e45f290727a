"""Batches that have to wait: full buffers, timeouts, signals, close() and other threads."""

import errno
import itertools
import os
import select
import signal
import socket as standard
import struct
import threading
import time
from socket import AF_INET, AF_UNIX, MSG_DONTWAIT, SOCK_DGRAM, SOCK_SEQPACKET

import pytest

import rsnet

UNIX_TYPES = [SOCK_DGRAM, SOCK_SEQPACKET]
# Many times what a UNIX socket holds.
COUNT = 3_000
NUMBERED = [struct.pack("=I", number) * 25 for number in range(COUNT)]


def take(sock, count):
    """So many datagrams, a few at a time."""
    datagrams = []
    while len(datagrams) < count:
        datagrams += [datagram.data for datagram in sock.recvmmsg(7, 1_000)]
    return datagrams


def left(sock):
    sock.setblocking(False)
    datagrams = []
    while True:
        try:
            datagrams.append(sock.recv(1_000))
        except BlockingIOError:
            return datagrams


@pytest.fixture
def to_nobody_in_particular(opened, tmp_path):
    """A UNIX datagram socket that is not connected, an address, and the socket that has it."""
    sender, receiver = (opened(rsnet.socket(AF_UNIX, SOCK_DGRAM)) for _ in range(2))
    receiver.bind(str(tmp_path / "receiver"))
    return sender, receiver


# Full buffers.


@pytest.mark.parametrize("type", UNIX_TYPES)
@pytest.mark.parametrize("timeout", [None, 20])
def test_blocks_until_all_have_gone(pair, in_thread, type, timeout):
    near, far = pair(rsnet, AF_UNIX, type)
    near.settimeout(timeout)
    sending = in_thread(near.sendmmsg, NUMBERED)
    sending.until_blocked()
    assert take(far, COUNT) == NUMBERED
    assert sending.result() == COUNT


@pytest.mark.parametrize("timeout", [None, 20])
def test_blocks_though_poll_says_it_need_not(to_nobody_in_particular, in_thread, timeout):
    sender, receiver = to_nobody_in_particular
    sender.settimeout(timeout)
    sending = in_thread(sender.sendmmsg, [(each, receiver.getsockname()) for each in NUMBERED])
    sending.until_blocked()
    assert take(receiver, COUNT) == NUMBERED
    assert sending.result() == COUNT


@pytest.mark.parametrize("type", UNIX_TYPES)
def test_times_out_with_the_count(pair, type):
    near, far = pair(rsnet, AF_UNIX, type)
    near.settimeout(0.05)
    with pytest.raises(TimeoutError) as caught:
        near.sendmmsg(NUMBERED)
    error = caught.value
    assert (error.args, error.errno) == (("timed out",), None)
    assert 0 < error.messages_sent < COUNT
    assert error.__notes__ == [
        f"{error.messages_sent} of {COUNT} messages were sent; the next one has 100 bytes"
    ]
    # Nothing is left to send now: the count is of those that went, and they arrive.
    with pytest.raises(TimeoutError) as caught:
        near.sendmmsg(NUMBERED)
    assert caught.value.messages_sent == 0
    assert left(far) == NUMBERED[: error.messages_sent]


def test_one_that_times_out(pair):
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    near.setblocking(False)
    sent = near.sendmmsg(NUMBERED)
    near.settimeout(0.05)
    with pytest.raises(TimeoutError) as caught:
        near.sendmmsg([b"one"])
    assert caught.value.messages_sent == 0
    assert left(far) == NUMBERED[:sent]


def test_the_timeout_is_one_for_the_whole_batch(pair, in_thread):
    """There is room all the time for a little more: a timeout for each would never pass."""
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    near.settimeout(0.3)
    taken, is_over = [], threading.Event()

    def take_slowly():
        while not is_over.wait(0.01):
            taken.append(far.recv(1_000))

    reading = in_thread(take_slowly)
    before = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        near.sendmmsg(NUMBERED)
    assert 0.3 <= time.monotonic() - before < 2
    is_over.set()
    reading.wait()
    assert len(taken) > 1
    assert taken + left(far) == NUMBERED[: caught.value.messages_sent]


@pytest.mark.parametrize("type", UNIX_TYPES)
@pytest.mark.parametrize("by_flag", [False, True])
def test_not_to_block(pair, type, by_flag):
    """What there is room for, and how many that were; BlockingIOError when there is none."""
    near, far = pair(rsnet, AF_UNIX, type)
    flags = MSG_DONTWAIT if by_flag else 0
    if not by_flag:
        near.setblocking(False)
    sent = near.sendmmsg(NUMBERED, flags)
    assert 0 < sent < COUNT
    for rest in (NUMBERED[sent:], NUMBERED[sent : sent + 1]):
        with pytest.raises(BlockingIOError) as caught:
            near.sendmmsg(rest, flags)
        assert caught.value.errno == errno.EAGAIN
    assert far.recv(1_000) == NUMBERED[0]
    # To go on with the rest is all there is to do.
    arrived = [NUMBERED[0]]
    while len(arrived) < COUNT:
        arrived += [datagram.data for datagram in far.recvmmsg(50, 1_000)]
        if sent < COUNT:
            sent += near.sendmmsg(NUMBERED[sent:], flags)
    assert arrived == NUMBERED


def test_too_large_behind_a_full_buffer(pair, in_thread):
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    sending = in_thread(near.sendmmsg, [*NUMBERED, bytes(1 << 24), b"not sent"])
    assert take(far, COUNT) == NUMBERED
    with pytest.raises(OSError) as caught:
        sending.result()
    assert (caught.value.errno, caught.value.messages_sent) == (errno.EMSGSIZE, COUNT)
    assert left(far) == []


def test_a_peer_that_goes_in_the_middle(pair, in_thread):
    near, far = pair(rsnet, AF_UNIX, SOCK_SEQPACKET)
    sending = in_thread(near.sendmmsg, NUMBERED)
    sending.until_blocked()
    some = take(far, 10)
    far.close()
    with pytest.raises(BrokenPipeError) as caught:
        sending.result()
    assert len(some) <= caught.value.messages_sent < COUNT


# Signals.


@pytest.fixture(params=["sendmmsg", "recvmmsg", "recvmmsg_into"])
def waiting_call(request, pair):
    """`waiting_call(timeout)`: the call and its peer's act, after which it succeeds."""
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    calls = {
        "sendmmsg": (lambda: near.sendmmsg(NUMBERED), lambda: take(far, COUNT)),
        "recvmmsg": (lambda: near.recvmmsg(5, 9), lambda: far.send(b"x")),
        "recvmmsg_into": (lambda: near.recvmmsg_into(bytearray(9)), lambda: far.send(b"x")),
    }

    def make(timeout):
        near.settimeout(timeout)
        return near, *calls[request.param]

    return make


@pytest.mark.parametrize("timeout", [None, 30])
def test_a_handler_that_raises(waiting_call, on_signal, when_blocked, timeout):
    def handler(*_):
        raise LookupError("from the handler")

    on_signal(signal.SIGUSR1, handler)
    _, call, _ = waiting_call(timeout)
    when_blocked(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    before = time.monotonic()
    with pytest.raises(LookupError, match="from the handler"):
        call()
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("timeout", [None, 30])
def test_interrupted_from_the_keyboard(waiting_call, on_signal, when_blocked, timeout):
    on_signal(signal.SIGINT, signal.default_int_handler)
    _, call, _ = waiting_call(timeout)
    when_blocked(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        call()


@pytest.mark.parametrize("timeout", [None, 30])
def test_how_many_went_before_a_handler_raised(pair, on_signal, when_blocked, timeout):
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    near.settimeout(timeout)
    on_signal(signal.SIGINT, signal.default_int_handler)
    when_blocked(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as caught:
        near.sendmmsg(NUMBERED)
    arrived = left(far)
    assert arrived == NUMBERED[: len(arrived)]
    assert f"{len(arrived)} of {COUNT} messages were sent" in caught.value.__notes__[0]


@pytest.mark.parametrize("timeout", [None, 30])
def test_a_handler_that_returns(waiting_call, on_signal, in_thread, when_blocked, timeout):
    """The call goes on (PEP 475)."""
    seen = threading.Event()
    on_signal(signal.SIGUSR1, lambda *_: seen.set())
    _, call, let_go = waiting_call(timeout)

    def interrupt_and_let_go():
        os.kill(os.getpid(), signal.SIGUSR1)
        assert seen.wait(10)
        let_go()

    when_blocked(interrupt_and_let_go)
    assert call()
    assert seen.is_set()


@pytest.mark.timeout(method="thread")
@pytest.mark.parametrize("timeout", [None, 60])
def test_a_hail_of_signals(pair, storm, in_thread, timeout):
    """Each message goes once and in its turn, however often the batch is interrupted."""
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    near.settimeout(timeout)
    interruptions = []
    reading = in_thread(take, far, COUNT)
    storm(0.0005, lambda *_: interruptions.append(1))
    assert near.sendmmsg(NUMBERED) == COUNT
    assert reading.result() == NUMBERED
    # As for receiving: what comes is not lost with an interruption.
    writing = in_thread(far.sendmmsg, NUMBERED)
    assert take(near, COUNT) == NUMBERED
    assert writing.result() == COUNT
    assert interruptions


def test_a_handler_that_uses_the_socket(endpoint, on_signal, when_blocked):
    """Another batch inside of one: the memory of one is not the other's."""
    sock, inner = endpoint(rsnet), []
    sock.settimeout(None)

    def handler(*_):
        sock.sendmmsg([(b"for the handler" * 9, sock.getsockname())] * 3)
        inner.extend(sock.recvmmsg(9, 1_000))
        sock.sendmmsg([(b"for the call", sock.getsockname())] * 2)

    on_signal(signal.SIGUSR1, handler)
    when_blocked(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    outer = sock.recvmmsg(9, 1_000)
    assert inner + outer
    assert [datagram.data for datagram in inner + outer] == [b"for the handler" * 9] * 3 + [
        b"for the call"
    ] * 2


# close() and other threads.


@pytest.mark.parametrize("timeout", [None, 30])
def test_closed_meanwhile(waiting_call, in_thread, timeout):
    sock, call, _ = waiting_call(timeout)
    waiting = in_thread(call)
    waiting.until_blocked()
    sock.close()
    with pytest.raises(OSError) as caught:
        waiting.result()
    assert caught.value.errno == errno.EBADF


def test_how_many_went_before_the_close(pair, in_thread):
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    waiting = in_thread(near.sendmmsg, NUMBERED)
    waiting.until_blocked()
    near.close()
    with pytest.raises(OSError) as caught:
        waiting.result()
    arrived = left(far)
    assert arrived == NUMBERED[: len(arrived)]
    assert caught.value.messages_sent == len(arrived)


def test_threads_that_send_on_one_socket(pair, in_thread):
    """Every message arrives once, those of each thread in their order."""
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    threads, each = 4, 1_000
    batches = [
        [struct.pack("=II", thread, number) for number in range(each)] for thread in range(threads)
    ]
    sending = [in_thread(near.sendmmsg, batch) for batch in batches]
    arrived = take(far, threads * each)
    assert [call.result() for call in sending] == [each] * threads
    for thread, batch in enumerate(batches):
        assert [data for data in arrived if struct.unpack("=II", data)[0] == thread] == batch


def test_threads_that_receive_on_one_socket(pair, in_thread):
    """Every datagram goes to one of them, to each in the order of sending."""
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    end = b"end"

    def receive():
        mine = []
        while True:
            mine += [datagram.data for datagram in far.recvmmsg(16, 1_000)]
            if end in mine:
                # One thread may have taken what would end another.
                extra = mine.count(end) - 1
                if extra:
                    near.sendmmsg([end] * extra)
                return [data for data in mine if data != end]

    receiving = [in_thread(receive) for _ in range(3)]
    near.sendmmsg(NUMBERED)
    near.sendmmsg([end] * 3)
    parts = [call.result() for call in receiving]
    for part in parts:
        assert part == sorted(part, key=NUMBERED.index)
    assert sorted(itertools.chain(*parts)) == sorted(NUMBERED)


def test_other_threads_run_meanwhile(endpoint, in_thread):
    """A batch that waits holds nothing that others need."""
    sock = endpoint(rsnet)
    waiting = in_thread(sock.recvmmsg, 4, 100)
    waiting.until_blocked()
    sock.settimeout(5)
    assert sum(range(10_000)) == 49_995_000
    sock.sendmmsg([(b"x", sock.getsockname())])
    assert [datagram.data for datagram in waiting.result()] == [b"x"]


def test_sockets_of_many_threads(in_thread):
    """The memory that a thread receives into is its own."""

    def talk(number):
        with rsnet.socket(AF_INET, SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(10)
            for turn in range(50):
                payload = struct.pack("=II", number, turn) * (number * 10 + 1)
                assert sock.sendmmsg([(payload, sock.getsockname())] * 20) == 20
                datagrams = []
                while len(datagrams) < 20:
                    datagrams += sock.recvmmsg(20, 2_000)
                assert all(datagram.data == payload for datagram in datagrams)
        return number

    talking = [in_thread(talk, number) for number in range(8)]
    assert [call.result() for call in talking] == list(range(8))


def test_the_interpreters_own_select_sees_a_batch(pair):
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    assert select.select([far], [near], [], 0) == ([], [near], [])
    near.sendmmsg([b"one", b"two"])
    assert select.select([far], [], [], 5)[0] == [far]
    assert len(far.recvmmsg(9, 9)) == 2
    assert select.select([far], [], [], 0)[0] == []


def test_the_standard_socket_at_the_other_end(pair, opened, in_thread):
    near, far = standard.socketpair(AF_UNIX, SOCK_DGRAM)
    opened(near)
    opened(far)
    with rsnet.socket(fileno=os.dup(near.fileno())) as sock:
        sending = in_thread(sock.sendmmsg, NUMBERED)
        assert [far.recv(1_000) for _ in NUMBERED] == NUMBERED
        assert sending.result() == COUNT
        far.send(b"back")
        assert sock.recvmmsg(5, 9)[0].data == b"back"


# Processes.


@pytest.mark.parametrize("call", ["sock.recvmmsg(5, 9)", "peer.sendmmsg([b'x'] * 10_000)"])
def test_the_interpreter_exits_meanwhile(run_python, call):
    """A daemon thread that waits in a batch holds nothing up, and crashes nothing."""
    printed = run_python(f"""
        import threading
        import rsnet

        sock, peer = rsnet.socketpair(rsnet.AF_UNIX, rsnet.SOCK_DGRAM)
        thread = threading.Thread(target=lambda: {call}, daemon=True)
        thread.start()
        thread.join(0.2)
        print(thread.is_alive(), flush=True)
    """)
    assert printed == "True\n"


def test_forked(pair, in_fork):
    """The child's batches are its own."""
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    near.sendmmsg([b"before"] * 3)
    assert len(far.recvmmsg(1, 9)) == 1

    def check():
        assert [datagram.data for datagram in far.recvmmsg(9, 9)] == [b"before"] * 2
        assert near.sendmmsg([b"from the child"] * 3) == 3

    in_fork(check)()
    assert [datagram.data for datagram in far.recvmmsg(9, 99)] == [b"from the child"] * 3


def test_audited(run_python):
    """Whoever audits sees every address, before anything is sent, and may forbid it."""
    printed = run_python("""
        import sys
        import rsnet

        events = []

        def hook(event, arguments):
            if event == "socket.sendmsg":
                events.append(arguments[1])
                if arguments[1][1] == 9:
                    raise LookupError("not there")

        sys.addaudithook(hook)
        with rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            here, other = sock.getsockname(), ("127.0.0.1", 8)
            sock.sendmmsg([(b"x", here), ([b"y"], [], other)])
            print(events == [here, other], sock.recv(9))
            try:
                sock.sendmmsg([(b"x", here), (b"x", ("127.0.0.1", 9))])
            except LookupError:
                pass
            try:
                print(sock.recvmmsg(9, 9, timeout=0))
            except BlockingIOError:
                print("nothing sent")
    """)
    assert printed == "True b'x'\nnothing sent\n"
