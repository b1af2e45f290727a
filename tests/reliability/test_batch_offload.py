"""Segments joined and taken apart by the kernel change nothing but the speed."""

import errno
import random
import socket as standard
import subprocess
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsnet

LOOPBACK = {standard.AF_INET: "127.0.0.1", standard.AF_INET6: "::1"}


# Random batches.


# What a receiver's buffer holds for certain, the kernel's bookkeeping for each included.
MOST_DATAGRAMS = 120
MOST_BYTES = 60_000

# Segments depend on whether neighbours are equal: runs are what is drawn.
SIZES = st.one_of(st.sampled_from([0, 1, 2, 99, 100, 101, 1_400, 1_473]), st.integers(0, 9_000))
RUNS = st.lists(st.tuples(st.integers(0, 1), SIZES, st.integers(1, 70)), min_size=1, max_size=12)


def messages_of(runs):
    """(payload, peer) of each message: random content, told apart by any mix-up."""
    contents = random.Random(repr(runs))
    messages, left = [], MOST_BYTES
    for peer, size, count in runs:
        for _ in range(count):
            if size <= left and len(messages) < MOST_DATAGRAMS:
                messages.append((contents.randbytes(size), peer))
                left -= size
    return messages


def bound(module, family):
    sock = module.socket(family, standard.SOCK_DGRAM)
    sock.bind((LOOPBACK[family], 0))
    # What net.core.rmem_max allows where nobody has changed it.
    sock.setsockopt(standard.SOL_SOCKET, standard.SO_RCVBUF, 212_992)
    sock.settimeout(5)
    return sock


def drained(sock):
    """All that is there: on loopback, that is all that was sent."""
    sock.setblocking(False)
    datagrams = []
    while True:
        try:
            datagrams.append(sock.recvfrom(1 << 16))
        except BlockingIOError:
            return datagrams


FORMS = [
    lambda payload, address: (payload, address),
    lambda payload, address: (bytearray(payload), address),
    lambda payload, address: ([payload], [], address),
    lambda payload, address: ([payload[:3], payload[3:]], [], address),
]


@settings(deadline=None)
@given(RUNS, st.sampled_from(list(LOOPBACK)), st.sampled_from([FORMS[:1], FORMS[1:2], FORMS]))
def test_sent_batches_arrive_as_single_sends_do(runs, family, forms):
    messages = messages_of(runs)
    with bound(rsnet, family) as sender:
        with bound(standard, family) as first, bound(standard, family) as second:
            peers = [first.getsockname(), second.getsockname()]
            batch = [
                forms[index % len(forms)](payload, peers[peer])
                for index, (payload, peer) in enumerate(messages)
            ]
            assert sender.sendmmsg(batch) == len(messages)
            in_batches = [drained(first), drained(second)]
            for payload, peer in messages:
                sender.sendto(payload, peers[peer])
            assert in_batches == [drained(first), drained(second)]


@settings(deadline=None)
@given(RUNS, st.integers(0, MOST_DATAGRAMS), st.booleans())
def test_all_before_an_error_arrive_and_nothing_after_it(runs, at, is_too_large):
    messages = [payload for payload, _ in messages_of(runs)]
    at = min(at, len(messages))
    with bound(rsnet, standard.AF_INET) as sender, bound(standard, standard.AF_INET) as receiver:
        to = receiver.getsockname()
        bad = (bytes(65_508), to) if is_too_large else (b"x", ("127.0.0.1", 0))
        batch = [(payload, to) for payload in messages]
        batch.insert(at, bad)
        with pytest.raises(OSError) as caught:
            sender.sendmmsg(batch)
        assert caught.value.errno == (errno.EMSGSIZE if is_too_large else errno.EINVAL)
        assert caught.value.messages_sent == at
        assert [data for data, _ in drained(receiver)] == messages[:at]


@settings(deadline=None)
@given(
    RUNS,
    st.sampled_from(list(LOOPBACK)),
    st.booleans(),
    st.integers(1, 150),
    st.one_of(st.sampled_from([0, 1, 100, 65_507]), st.integers(0, 9_000)),
)
def test_received_batches_are_what_recvfrom_gives(runs, family, gro, count, bufsize):
    messages = [payload for payload, _ in messages_of(runs)]
    with bound(rsnet, family) as sender, bound(rsnet, family) as receiver:
        receiver.gro = gro
        sender.sendmmsg([(payload, receiver.getsockname()) for payload in messages])
        receiver.setblocking(False)
        datagrams = []
        while len(datagrams) < len(messages):
            taken = receiver.recvmmsg(count, bufsize)
            assert gro or len(taken) <= count
            datagrams += taken
        with pytest.raises(BlockingIOError):
            receiver.recvmmsg(count, bufsize)
        assert [datagram.data for datagram in datagrams] == [each[:bufsize] for each in messages]
        cut = [bool(datagram.flags & standard.MSG_TRUNC) for datagram in datagrams]
        assert cut == [len(each) > bufsize for each in messages]
        assert {datagram.address for datagram in datagrams} <= {sender.getsockname()}


@settings(deadline=None)
@given(RUNS, st.integers(1, 60), st.integers(1, 9_000))
def test_received_rows_are_what_recvfrom_gives(runs, rows, bufsize):
    messages = [payload for payload, _ in messages_of(runs)]
    with bound(rsnet, standard.AF_INET) as sender, bound(rsnet, standard.AF_INET) as receiver:
        sender.sendmmsg([(payload, receiver.getsockname()) for payload in messages])
        receiver.setblocking(False)
        taken = []
        while len(taken) < len(messages):
            buffer = bytearray(b"." * rows * bufsize)
            lengths, addresses = receiver.recvmmsg_into(buffer, bufsize)
            assert len(lengths) == len(addresses) == min(rows, len(messages) - len(taken))
            for row, length in enumerate(lengths):
                start = row * bufsize
                taken.append(bytes(buffer[start : start + length]))
                # Nothing behind it was touched.
                assert set(buffer[start + length : start + bufsize]) <= {ord(".")}
        assert taken == [each[:bufsize] for each in messages]


# Kernels, routes and devices that refuse segments.

# Stands before the C library's functions: counts, and refuses what it is told, as kernels without
# UDP_SEGMENT, devices without checksums and routes with small MTUs do.
REFUSING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { UDP = 17, SEGMENT = 103 };

/* The number of the error, zero for none; the size above which; 1 for an unknown option. */
int refuse_with, refuse_above, is_unknown, segmented_calls, calls;

static int segment_of(struct msghdr *header) {
    struct cmsghdr *each = CMSG_FIRSTHDR(header);
    for (; each; each = CMSG_NXTHDR(header, each))
        if (each->cmsg_level == UDP && each->cmsg_type == SEGMENT) {
            uint16_t size;
            memcpy(&size, CMSG_DATA(each), sizeof size);
            return size;
        }
    return 0;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    int (*real)(int, struct mmsghdr *, unsigned, int) = dlsym(RTLD_NEXT, "sendmmsg");
    int has_segments = 0;
    calls++;
    for (unsigned index = 0; index < count; index++) {
        int size = segment_of(&messages[index].msg_hdr);
        if (size)
            has_segments = 1;
        if (size > refuse_above && refuse_with) {
            if (index == 0) {
                segmented_calls++;
                errno = refuse_with;
                return -1;
            }
            count = index;
        }
    }
    segmented_calls += has_segments;
    return real(fd, messages, count, flags);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size) {
    int (*real)(int, int, int, void *, socklen_t *) = dlsym(RTLD_NEXT, "getsockopt");
    if (is_unknown && level == UDP && name == SEGMENT) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return real(fd, level, name, value, size);
}
"""

PRELUDE = """
    import ctypes, errno, os
    import rsnet

    own = ctypes.CDLL(None)
    def number(name):
        return ctypes.c_int.in_dll(own, name)
    segmented, calls = number("segmented_calls"), number("calls")

    receiver, sender = (rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM) for _ in range(2))
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(5)
    sender.connect(receiver.getsockname())

    def batch(*sizes):
        "Sends it, sees that it arrives, and gives how many system calls asked for segments."
        before = segmented.value
        payloads = [os.urandom(size) for size in sizes]
        assert sender.sendmmsg(payloads) == len(sizes)
        assert [receiver.recv(65_536) for _ in sizes] == payloads
        return segmented.value - before
"""


@pytest.fixture(scope="module")
def refusing_library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusing")
    source, library = folder / "refusing.c", folder / "refusing.so"
    source.write_text(REFUSING)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def told(run_python, refusing_library):
    """`told(source)`: the lines that a program with that library before its own prints."""

    def run(source):
        program = dedent(PRELUDE) + dedent(source) + "\nreceiver.close(), sender.close()"
        return run_python(program, env={"LD_PRELOAD": str(refusing_library)}).splitlines()

    return run


def test_segments_are_asked_for(told):
    """One system call for many runs, and none that asks where there is nothing to join."""
    lines = told("""
        print(batch(*[100] * 10), batch(*[100] * 64, *[200] * 64, *[50] * 20), calls.value)
        print(batch(100), batch(100, 101), batch(1, 2, 3), batch(100, 0), batch(0, 0))
    """)
    assert lines == ["1 1 2", "0 0 0 0 0"]


def test_segments_of_ipv6(told):
    """Also of a dual-stack socket, to both kinds of peers."""
    lines = told("""
        for family, here, there in (
            (rsnet.AF_INET6, "::1", "::1"),
            (rsnet.AF_INET, "127.0.0.1", "::ffff:127.0.0.1"),
        ):
            receiver.close(), sender.close()
            receiver = rsnet.socket(family, rsnet.SOCK_DGRAM)
            receiver.bind((here, 0))
            receiver.settimeout(5)
            sender = rsnet.socket(rsnet.AF_INET6, rsnet.SOCK_DGRAM)
            sender.connect((there, receiver.getsockname()[1]))
            print(batch(*[100] * 10), batch(*[100] * 9, 50))
    """)
    assert lines == ["1 1"] * 2


def test_equal_addresses_are_one_peer(told):
    """Also those that are made anew for each message, and what received datagrams came from."""
    lines = told("""
        host, port = receiver.getsockname()
        for peers in (
            [(host, port) for _ in range(10)],
            [("".join(host), port) for _ in range(10)],
            [(bytearray(host.encode()), port) for _ in range(10)],
        ):
            before = segmented.value
            assert sender.sendmmsg([(b"x" * 50, peer) for peer in peers]) == 10
            datagrams = receiver.recvmmsg(10, 100)
            print(len(datagrams), segmented.value - before)
            before = segmented.value
            receiver.sendmmsg([(datagram, datagram.address) for datagram in datagrams])
            print(len(sender.recvmmsg(10, 100)), segmented.value - before)
    """)
    assert lines == ["10 1"] * 6


def test_a_kernel_without_segments(told):
    lines = told("""
        number("is_unknown").value = 1
        print(batch(*[100] * 10), batch(*[100] * 10), batch(*[1400] * 50), batch(1, 2, 3))
    """)
    assert lines == ["0 0 0 0"]


def test_a_device_that_refuses_is_not_asked_again(told):
    """EIO, which says nothing of the size: this socket's datagrams go one by one from then on."""
    lines = told("""
        number("refuse_with").value = errno.EIO
        print(batch(*[100] * 10), batch(*[100] * 10), batch(*[1400] * 50), batch(5, 5))
        number("refuse_with").value = 0
        print(batch(*[100] * 10))
        # Another socket finds out for itself.
        sender.close()
        sender = rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM)
        sender.connect(receiver.getsockname())
        print(batch(*[100] * 10))
    """)
    assert lines == ["1 0 0 0", "0", "1"]


@pytest.mark.parametrize("refusal", ["EINVAL", "EMSGSIZE", "EOPNOTSUPP"])
def test_a_size_that_is_refused_is_not_asked_for_again(told, refusal):
    """What says something of the size: smaller ones go on as segments."""
    lines = told(f"""
        number("refuse_with").value = errno.{refusal}
        number("refuse_above").value = 800
        print(batch(*[1000] * 10), batch(*[1000] * 10), batch(*[1200] * 10))
        print(batch(*[900] * 10), batch(*[900] * 10), batch(*[950] * 10))
        print(batch(*[800] * 10), batch(*[800] * 10), batch(*[100] * 10))
    """)
    assert lines == ["1 0 0", "1 0 0", "1 1 1"]


@pytest.mark.parametrize("refusal", ["EINVAL", "EIO"])
def test_refused_in_the_middle(told, refusal):
    lines = told(f"""
        number("refuse_with").value = errno.{refusal}
        number("refuse_above").value = 800
        sizes = [300] * 10 + [1000] * 10 + [300] * 10 + [7] + [1000] * 3 + [1] * 5
        batch(*sizes)
        print(batch(*sizes) > 0)
        print(batch(*[1000] * 5))
    """)
    assert lines == [str(refusal == "EINVAL"), "0"]


@pytest.mark.parametrize("trouble", ["ENOBUFS", "ENETUNREACH", "EPERM", "ENOMEM"])
def test_trouble_that_is_no_refusal_is_told(told, trouble):
    """It has nothing to do with segments, which go on after it."""
    lines = told(f"""
        number("refuse_with").value = errno.{trouble}
        for before in ([], [b"one", b"four"]):
            try:
                sender.sendmmsg(before + [b"x" * 100] * 5)
            except OSError as error:
                print(errno.errorcode[error.errno], error.messages_sent)
            assert [receiver.recv(9) for _ in before] == before
        number("refuse_with").value = 0
        print(batch(*[100] * 5))
    """)
    assert lines == [f"{trouble} 0", f"{trouble} 2", "1"]


def test_a_socket_without_checksums(told):
    """The kernel's own refusal: no segments without checksums (EINVAL)."""
    lines = told("""
        sender.setsockopt(rsnet.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
        print(batch(*[100] * 10), batch(*[100] * 10), batch(*[100] * 9, 50))
    """)
    # Newer kernels may do without: then every batch is segmented.
    assert lines in (["1 0 0"], ["1 1 1"])


# An error between two system calls of one batch.

# Stands before the C library's function: the calls after the first fail, once.
FAILING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>

int fail_with, calls;

int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *time) {
    int (*real)(int, struct mmsghdr *, unsigned, int, struct timespec *) =
        dlsym(RTLD_NEXT, "recvmmsg");
    if (calls++ == 1 && fail_with) {
        errno = fail_with;
        return -1;
    }
    return real(fd, messages, count, flags, time);
}
"""


def test_an_error_after_datagrams_is_the_next_calls(run_python, tmp_path):
    """Of 200 datagrams the kernel gives 128 at once; nothing is lost, and the error comes once."""
    source, library = tmp_path / "failing.c", tmp_path / "failing.so"
    source.write_text(FAILING)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    program = """
        import ctypes, errno
        import rsnet

        own = ctypes.CDLL(None)
        with rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            for method in ("recvmmsg", "recvmmsg_into"):
                ctypes.c_int.in_dll(own, "fail_with").value = errno.ECONNREFUSED
                ctypes.c_int.in_dll(own, "calls").value = 0
                sock.sendmmsg([(b"x", sock.getsockname())] * 200)
                first = len(sock.recvmmsg(200, 10, timeout=5))
                try:
                    if method == "recvmmsg":
                        sock.recvmmsg(200, 10, timeout=5)
                    else:
                        sock.recvmmsg_into(bytearray(200), 1, timeout=5)
                except ConnectionRefusedError as error:
                    print(first > 0, error)
                print(first + len(sock.recvmmsg(200, 10, timeout=5)))
    """
    printed = run_python(program, env={"LD_PRELOAD": str(library)}).splitlines()
    assert printed == ["True [Errno 111] Connection refused", "200"] * 2


# Datagrams over the MTU, in a network of the test's own whose loopback has a small one.

IN_A_SMALL_NETWORK = """
    import ctypes, errno, fcntl, os, struct, sys
    import socket as standard
    import rsnet

    CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
    SIOCSIFFLAGS, SIOCSIFMTU, IFF_UP = 0x8914, 0x8922, 1
    IP_RECVERR, IP_MTU_DISCOVER, IP_PMTUDISC_DO = 11, 10, 2

    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNET) and library.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace")

    def set_mtu(mtu):
        with standard.socket(type=standard.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, SIOCSIFMTU, struct.pack("16si12x", b"lo", mtu))

    set_mtu(1500)
    with standard.socket(type=standard.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))

    def udp(module, family):
        sock = module.socket(family, module.SOCK_DGRAM)
        sock.bind(("127.0.0.1" if family == module.AF_INET else "::1", 0))
        sock.settimeout(5)
        return sock

    def check(sender, receiver, sizes):
        payloads = [os.urandom(size) for size in sizes]
        sent = sender.sendmmsg([(payload, receiver.getsockname()) for payload in payloads])
        assert sent == len(sizes), sent
        for payload in payloads:
            assert receiver.recv(65_536) == payload, (sizes, len(payload))
"""


@pytest.fixture
def in_a_small_network(run_python):
    return lambda source: run_python(dedent(IN_A_SMALL_NETWORK) + dedent(source))


def test_over_the_mtu(in_a_small_network):
    """In fragments, whole at the other end; the headers make 28 and 48 bytes."""
    printed = in_a_small_network("""
        for family, header in ((rsnet.AF_INET, 28), (rsnet.AF_INET6, 48)):
            fits = 1500 - header
            with udp(rsnet, family) as sender, udp(standard, family) as receiver:
                for sizes in (
                    [fits] * 30,
                    [fits + 1] * 30,
                    [fits] * 30,
                    [fits + 1],
                    [fits + 1, fits],
                    [100] * 10 + [fits + 1] * 10 + [100] * 10 + [fits] * 10,
                    [2000, 3000, 3000, 3000, 10, 3000, 1],
                    [20_000] * 4,
                    [65_507],
                    [65_507, 1, 1, 65_507],
                    [fits] * 64,
                ):
                    check(sender, receiver, sizes)
        print("all of them")
    """)
    assert printed == "all of them\n"


def test_an_mtu_that_gets_smaller(in_a_small_network):
    printed = in_a_small_network("""
        with udp(rsnet, rsnet.AF_INET) as sender, udp(standard, rsnet.AF_INET) as receiver:
            for mtu in (1500, 1300, 600, 1500):
                set_mtu(mtu)
                check(sender, receiver, [1400] * 20 + [1200] * 20 + [500] * 20)
        print("all of them")
    """)
    assert printed == "all of them\n"


def test_over_the_mtu_and_not_to_be_cut(in_a_small_network):
    """EMSGSIZE for the first that does not fit, and the MTU from the error queue."""
    printed = in_a_small_network("""
        with udp(rsnet, rsnet.AF_INET) as sender, udp(standard, rsnet.AF_INET) as receiver:
            sender.setsockopt(rsnet.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            sender.setsockopt(rsnet.IPPROTO_IP, IP_RECVERR, 1)
            check(sender, receiver, [1472] * 20)
            for fitting in (0, 1, 2, 30):
                batch = [b"f" * 1472] * fitting + [b"t" * 1473] * 3 + [b"n"]
                try:
                    sender.sendmmsg([(payload, receiver.getsockname()) for payload in batch])
                except OSError as error:
                    assert error.errno == errno.EMSGSIZE, error
                    assert error.messages_sent == fitting, (error.messages_sent, fitting)
                    assert "1473 bytes" in error.__notes__[0], error.__notes__
                else:
                    raise AssertionError("sent")
                for payload in batch[:fitting]:
                    assert receiver.recv(9999) == payload
                errors = sender.recverr()
                assert errors
                for error in errors:
                    assert (error.errno, error.origin) == (errno.EMSGSIZE, 1), error
                    assert (error.info, error.offender) == (1500, None), error
                    assert "local" in repr(error)
            check(sender, receiver, [1472] * 20)
        print("all of them")
    """)
    assert printed == "all of them\n"


def test_joined_over_the_mtu(in_a_small_network):
    printed = in_a_small_network("""
        with udp(rsnet, rsnet.AF_INET) as sender, udp(rsnet, rsnet.AF_INET) as receiver:
            receiver.gro = True
            sizes = [1472] * 20 + [2000] * 5 + [1472] * 5 + [30]
            payloads = [os.urandom(size) for size in sizes]
            sender.sendmmsg([(payload, receiver.getsockname()) for payload in payloads])
            got = []
            while len(got) < len(sizes):
                got += [datagram.data for datagram in receiver.recvmmsg(64, 9000)]
            assert got == payloads
        print("all of them")
    """)
    assert printed == "all of them\n"


def test_no_route_at_all(in_a_small_network):
    """A network of its own has a loopback and nothing else."""
    printed = in_a_small_network("""
        with udp(rsnet, rsnet.AF_INET) as sender, udp(standard, rsnet.AF_INET) as receiver:
            there, nowhere = receiver.getsockname(), ("198.51.100.1", 9)
            for messages, sent in (
                ([(b"x", nowhere)] * 3, 0),
                ([(b"x", there)] * 3 + [(b"x", nowhere)] * 3 + [(b"x", there)], 3),
                ([(b"x", nowhere)], 0),
            ):
                try:
                    sender.sendmmsg(messages)
                except OSError as error:
                    print(errno.errorcode[error.errno], error.messages_sent == sent)
                for _ in range(sent):
                    receiver.recv(9)
    """)
    # Bound to the loopback's address, it may not even ask.
    assert set(printed.splitlines()) <= {"ENETUNREACH True", "EINVAL True"}
    assert len(printed.splitlines()) == 3
