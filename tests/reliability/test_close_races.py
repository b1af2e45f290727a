"""A close() that races a call: no call meets a later descriptor, and none is left behind."""

import errno
import os
import random
import socket as standard
import threading
import time
from socket import AF_INET, AF_UNIX, MSG_PEEK, MSG_WAITALL, SOCK_DGRAM, SOCK_STREAM

import pytest

import rsnet

each_timeout = pytest.mark.parametrize("timeout_s", [None, 60])
# A wake-up that works takes less than a millisecond; a call that its timeout ended takes longer.
PROMPT_S = 10


def assert_bad_descriptor(call):
    with pytest.raises(OSError) as caught:
        call.result(PROMPT_S)
    assert caught.value.args == (errno.EBADF, os.strerror(errno.EBADF))
    assert type(caught.value) is OSError


@each_timeout
@pytest.mark.parametrize("flags", [0, MSG_PEEK, MSG_WAITALL])
@pytest.mark.parametrize(
    ("family", "type"), [(AF_INET, SOCK_STREAM), (AF_INET, SOCK_DGRAM), (AF_UNIX, SOCK_STREAM)]
)
def test_flags_and_families(pair, in_thread, flags, family, type, timeout_s):
    sock, _ = pair(rsnet, family, type)
    sock.settimeout(timeout_s)
    receiving = in_thread(sock.recv, 9, flags)
    receiving.until_blocked()
    sock.close()
    assert_bad_descriptor(receiving)


@each_timeout
def test_connecting_by_number(opened, in_thread, unanswered, timeout_s):
    sock = opened(rsnet.socket())
    sock.settimeout(timeout_s)
    connecting = in_thread(sock.connect_ex, unanswered)
    connecting.until_blocked()
    sock.close()
    assert connecting.result(PROMPT_S) == errno.EBADF


def test_leaving_a_with_statement(in_thread):
    left, right = rsnet.socketpair()
    with right, left:
        receiving = in_thread(left.recv, 9)
        receiving.until_blocked()
    assert_bad_descriptor(receiving)


def test_a_duplicate_goes_on(pair, in_thread):
    sock, peer = pair(rsnet)
    with sock.dup() as duplicate:
        waiting = in_thread(duplicate.recv, 9)
        waiting.until_blocked()
        sock.close()
        peer.send(b"data")
        assert waiting.result() == b"data"


def test_a_file_over_the_socket(pair, in_thread):
    sock, _ = pair(rsnet)
    file = sock.makefile("rb")
    reading = in_thread(file.readline)
    reading.until_blocked()
    # The file holds the connection open; taking it away from under the file ends the call.
    sock.close()
    assert reading.is_running
    sock._real_close()
    assert_bad_descriptor(reading)
    file.close()


def test_a_call_that_the_closing_overtook_sees_no_other_descriptor(pair, in_thread):
    for _ in range(20):
        sock, _ = pair(rsnet)
        number = sock.fileno()
        receiving = in_thread(sock.recv, 9)
        receiving.until_blocked()
        sock.close()
        newcomers = [pair(standard) for _ in range(3)]
        for newcomer in newcomers:
            for end in newcomer:
                end.send(b"private")
        assert_bad_descriptor(receiving)
        for newcomer in newcomers:
            for end in newcomer:
                assert end.recv(99, standard.MSG_DONTWAIT) == b"private"
        # The number is free again, once nobody uses it.
        taken = {end.fileno() for newcomer in newcomers for end in newcomer}
        with standard.socket() as sock:
            assert number in taken | {sock.fileno()}


def test_closing_at_any_moment_of_a_call(opened):
    """The same without waiting until the call blocks, so that the two race."""
    rounds = random.Random(7)
    for _ in range(300):
        sock, peer = rsnet.socketpair()
        started = threading.Barrier(2)
        outcomes = []

        def receive(sock=sock, started=started, outcomes=outcomes):
            started.wait()
            try:
                outcomes.append(sock.recv(99))
            except OSError as error:
                outcomes.append(error.errno)

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        started.wait()
        for _ in range(rounds.randrange(200)):
            pass
        sock.close()
        left, right = standard.socketpair()
        with left, right, peer:
            left.send(b"private")
            right.send(b"private")
            thread.join(PROMPT_S)
            assert outcomes == [errno.EBADF]
            assert left.recv(9) == right.recv(9) == b"private"


def test_closing_and_opening_under_calls_without_end(in_thread):
    """One object, closed and opened again while others use it: no call meets a stranger's data."""
    stop = threading.Event()
    sock = rsnet.socket.__new__(rsnet.socket)
    rsnet.socket.__init__(sock, AF_UNIX, SOCK_DGRAM)
    strangers = [standard.socketpair(AF_UNIX, SOCK_DGRAM) for _ in range(4)]
    for left, _ in strangers:
        left.send(b"private")
    heard = []

    def receive():
        while not stop.is_set():
            try:
                heard.append(sock.recv(9))
            except OSError as error:
                assert error.errno == errno.EBADF

    receivers = [in_thread(receive) for _ in range(3)]
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        sock.close()
        # The number that was just given up is likely to be one of these.
        left, right = standard.socketpair(AF_UNIX, SOCK_DGRAM)
        left.send(b"private")
        rsnet.socket.__init__(sock, AF_UNIX, SOCK_DGRAM)
        assert right.recv(9, standard.MSG_DONTWAIT) == b"private"
        left.close()
        right.close()
    stop.set()
    sock.close()
    for call in receivers:
        call.result()
    assert heard == []
    for left, right in strangers:
        assert right.recv(9, standard.MSG_DONTWAIT) == b"private"
        left.close()
        right.close()


def test_close_gives_the_number_back_to_the_kernel_once(pair, in_thread):
    sock, _ = pair(rsnet)
    number = sock.fileno()
    receiving = in_thread(sock.recv, 9)
    receiving.until_blocked()
    sock.close()
    sock.close()
    assert_bad_descriptor(receiving)
    with pytest.raises(OSError):
        os.fstat(number)
    # Another's from here on: neither a further close nor the end of the object may touch it.
    reader, writer = os.pipe()
    os.dup2(reader, number)
    sock.close()
    del sock, receiving
    os.fstat(number)
    for descriptor in {reader, writer, number}:
        os.close(descriptor)


def test_without_a_descriptor_to_spare(run_python):
    # Whatever wakes the call must not depend on there being a descriptor left for it.
    source = """
        import errno, os, resource, threading
        import rsnet

        left, right = rsnet.socketpair()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (right.fileno() + 1, hard))
        tell, told = threading.Event(), []

        def receive():
            tell.set()
            try:
                left.recv(1)
            except OSError as error:
                told.append(errno.errorcode[error.errno])

        thread = threading.Thread(target=receive)
        thread.start()
        tell.wait()
        # In the call or not yet: both must end.
        os.sched_yield()
        left.close()
        thread.join(10)
        print(told)
        right.close()
        os._exit(thread.is_alive())
    """
    assert run_python(source.replace("print(told)", "print(told, flush=True)")) == "['EBADF']\n"
