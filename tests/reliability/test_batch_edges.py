"""Batches at their edges: lengths that lie, descriptors nobody asked for, ends, corks."""

import array
import errno
import os
import socket as standard
from socket import AF_INET, AF_INET6, AF_UNIX, MSG_CTRUNC, SOCK_DGRAM, SOCK_SEQPACKET

import pytest

import rsnet

UNIX_TYPES = [SOCK_DGRAM, SOCK_SEQPACKET]
# linux/in.h and linux/udp.h; Python has some of the names from 3.14 on.
IP_RECVERR, UDP_CORK, UDP_SEGMENT, UDP_GRO = 11, 1, 103, 104
SOL_UDP, SO_TIMESTAMPNS = 17, 35


# Lengths that lie.


@pytest.mark.parametrize("length", ["2**31", "2**40", "2**62", "2**63 - 1", "-1", "'x'"])
def test_a_length_that_lies(run_python, length):
    """It is a hint, and what it says is not believed."""
    printed = run_python(f"""
        import rsnet

        class Messages:
            def __len__(self):
                return {length}

            def __iter__(self):
                return iter([b"one", b"two"])

        near, far = rsnet.socketpair(rsnet.AF_UNIX, rsnet.SOCK_DGRAM)
        with near, far:
            print(near.sendmmsg(Messages()), len(far.recvmmsg(9, 9)))
    """)
    assert printed == "2 2\n"


def test_a_range_without_end(run_python):
    """The first item is refused; nobody waits for the last."""
    printed = run_python("""
        import resource, rsnet

        resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
        near, far = rsnet.socketpair(rsnet.AF_UNIX, rsnet.SOCK_DGRAM)
        with near, far:
            try:
                near.sendmmsg(range(10**12))
            except TypeError as error:
                print(error)
    """)
    assert printed == "a bytes-like object is required, not 'int'\n"


# Descriptors.


@pytest.mark.parametrize("type", UNIX_TYPES)
@pytest.mark.parametrize("bufsize", [0, 1, 9])
def test_descriptors_that_nobody_asked_for(pair, type, bufsize):
    """What comes without room for it is not kept open, whatever other control data there is."""
    near, far = pair(rsnet, AF_UNIX, type)
    far.setsockopt(standard.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    rights = [(standard.SOL_SOCKET, standard.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    near.sendmmsg([([b"x"], rights, None)] * 5)
    before = os.listdir("/proc/self/fd")
    datagrams = far.recvmmsg(3, bufsize)
    assert [datagram.ancdata for datagram in datagrams] == [[]] * 3
    assert all(datagram.flags & MSG_CTRUNC for datagram in datagrams)
    assert len(far.recvmmsg_into(bytearray(9), 1)[0]) == 2
    assert os.listdir("/proc/self/fd") == before


# Names.


def test_short_abstract_names(pair, opened):
    """Also those that the kernel makes up."""
    receiver = opened(rsnet.socket(AF_UNIX, SOCK_DGRAM))
    receiver.bind("")
    for name in (b"", *(b"\0" + os.urandom(12).hex()[:length].encode() for length in (4, 9, 24))):
        with rsnet.socket(AF_UNIX, SOCK_DGRAM) as sender:
            sender.bind(name)
            sender.sendmmsg([(b"x", receiver.getsockname())] * 3)
            (datagram,) = receiver.recvmmsg(1, 9)
            assert datagram.address == sender.getsockname() == receiver.recvfrom(9)[1]
            assert receiver.recvmmsg_into(bytearray(9))[1] == [sender.getsockname()]
            receiver.sendto(b"back", datagram.address)
            assert sender.recv(9) == b"back"


def test_an_address_that_changes(opened, tmp_path):
    """A path in a bytearray, which is another one for the second message."""
    first, second, sender = (opened(rsnet.socket(AF_UNIX, SOCK_DGRAM)) for _ in range(3))
    first.bind(str(tmp_path / "1"))
    second.bind(str(tmp_path / "2"))
    path = bytearray(os.fsencode(tmp_path / "1"))

    def messages():
        yield b"to 1", path
        path[-1:] = b"2"
        yield b"to 2", path

    assert sender.sendmmsg(messages()) == 2
    for receiver, data in ((first, b"to 1"), (second, b"to 2")):
        assert [datagram.data for datagram in receiver.recvmmsg(9, 9, timeout=0)] == [data]


# The error queue.


@pytest.mark.parametrize("type", [*UNIX_TYPES, standard.SOCK_STREAM])
def test_unix_sockets_have_no_error_queue(pair, type):
    """To ask for one must not take what waits to be received."""
    near, far = pair(rsnet, AF_UNIX, type)
    near.send(b"left alone")
    assert far.recverr() == []
    far.setblocking(False)
    assert far.recv(99) == b"left alone"


@pytest.mark.parametrize("sizes", [[4] * 4, [4, 5, 6, 7], [9] * 100])
def test_an_error_for_each_datagram(endpoint, sizes):
    """The queue tells of each datagram, with its own payload, however the batch was sent."""
    holder, sender = endpoint(standard), endpoint(rsnet)
    # Its peer is itself: it takes nothing from others, who get ICMP errors.
    holder.connect(holder.getsockname())
    sender.setsockopt(standard.IPPROTO_IP, IP_RECVERR, 1)
    payloads = [bytes([index]) * size for index, size in enumerate(sizes)]
    sent = 0
    while sent < len(sizes):
        try:
            sent += sender.sendmmsg([(each, holder.getsockname()) for each in payloads[sent:]])
        except ConnectionRefusedError as error:
            sent += error.messages_sent
    assert [error.data for error in sender.recverr(999)] == payloads


# The end of a stream of packets.


def test_the_end_comes_once(pair):
    """As recv() gives one b"" a call: not as many as there was room for."""
    near, far = pair(rsnet, AF_UNIX, SOCK_SEQPACKET)
    near.sendmmsg([b"one", b"two"])
    near.close()
    datagrams = [datagram.data for datagram in far.recvmmsg(1_000, 9)]
    assert datagrams[:2] == [b"one", b"two"]
    assert datagrams[2:] in ([], [b""])
    for _ in range(3):
        assert [datagram.data for datagram in far.recvmmsg(1_000, 9)] == [b""]
        assert list(far.recvmmsg_into(bytearray(100), 1)[0]) == [0]


@pytest.mark.parametrize("packets", [127, 128, 129, 200])
@pytest.mark.parametrize("more", [0, 1, 2, 60])
def test_the_end_after_many(pair, packets, more):
    """Once, also where it comes with the second system call of a batch."""
    near, far = pair(rsnet, AF_UNIX, SOCK_SEQPACKET)
    near.sendmmsg([b"x"] * packets)
    near.close()
    datagrams = [datagram.data for datagram in far.recvmmsg(packets + more, 9)]
    assert datagrams in ([b"x"] * packets, [b"x"] * packets + [b""])
    assert [datagram.data for datagram in far.recvmmsg(packets + more, 9)] == [b""]


@pytest.mark.parametrize("count", [1, 10, 128, 130])
def test_nothing_but_empty_packets(pair, count):
    """More of them than one call asks for, on a connection that lasts."""
    near, far = pair(rsnet, AF_UNIX, SOCK_SEQPACKET)
    near.sendmmsg([b""] * 200)
    far.setblocking(False)
    taken = 0
    while taken < 200:
        datagrams = far.recvmmsg(count, 9)
        assert len(datagrams) == min(count, 200 - taken)
        taken += len(datagrams)
    with pytest.raises(BlockingIOError):
        far.recvmmsg(count, 9)


def test_empty_packets_are_packets(pair):
    """While the connection lasts, what is empty was sent so."""
    near, far = pair(rsnet, AF_UNIX, SOCK_SEQPACKET)
    payloads = [b"", b"one", b"", b"", b"two", b"", b"", b""]
    near.sendmmsg(payloads)
    assert [datagram.data for datagram in far.recvmmsg(99, 9)] == payloads
    near.sendmmsg(payloads)
    assert far.recvmmsg_into(bytearray(99), 1)[0].tolist() == [0, 1, 0, 0, 1, 0, 0, 0]


def test_empty_packets_with_descriptors(pair):
    """Every descriptor that was opened is told of."""
    near, far = pair(rsnet, AF_UNIX, SOCK_SEQPACKET)
    rights = [(standard.SOL_SOCKET, standard.SCM_RIGHTS, array.array("i", [0]))]
    near.sendmmsg([([b""], rights, None)] * 3)
    before = len(os.listdir("/proc/self/fd"))
    datagrams = far.recvmmsg(3, 9, 100)
    told = [array.array("i", data)[0] for each in datagrams for _, _, data in each.ancdata]
    assert len(os.listdir("/proc/self/fd")) - before == len(told) == 3
    for descriptor in told:
        os.close(descriptor)


def test_errors_of_mapped_peers(endpoint, opened):
    """One for each, of the dual-stack socket that asks for IPv4's errors."""
    holder, sender = endpoint(standard), opened(rsnet.socket(AF_INET6, SOCK_DGRAM))
    holder.connect(holder.getsockname())
    sender.setsockopt(standard.IPPROTO_IPV6, standard.IPV6_V6ONLY, 0)
    sender.setsockopt(standard.IPPROTO_IP, IP_RECVERR, 1)
    mapped = (f"::ffff:{holder.getsockname()[0]}", holder.getsockname()[1])
    assert sender.sendmmsg([(b"one", mapped)]) == 1
    assert [error.data for error in sender.recverr()] == [b"one"]
    sent = 0
    while sent < 5:
        try:
            sent += sender.sendmmsg([(b"same", mapped)] * (5 - sent))
        except ConnectionRefusedError as error:
            sent += error.messages_sent
    assert [error.data for error in sender.recverr()] == [b"same"] * 5


# Options that other descriptors or programs have set.


def test_gro_of_a_duplicate(endpoint, opened):
    """The option is the open file's: a duplicate takes joined datagrams apart as well."""
    sender, receiver = endpoint(rsnet), endpoint(rsnet)
    receiver.gro = receiver.metadata = True
    duplicates = [
        receiver.dup(),
        rsnet.socket(fileno=os.dup(receiver.fileno())),
        rsnet.fromfd(receiver.fileno(), AF_INET, SOCK_DGRAM),
    ]
    for duplicate in map(opened, duplicates):
        sender.sendmmsg([(b"x" * 100, receiver.getsockname())] * 5)
        datagrams = duplicate.recvmmsg(9, 1_000)
        assert [datagram.nbytes for datagram in datagrams] == [100] * 5
        assert duplicate.gro is True


def test_gro_by_its_option(endpoint):
    sender, receiver = endpoint(rsnet), endpoint(rsnet)
    receiver.setsockopt(SOL_UDP, UDP_GRO, 1)
    sender.sendmmsg([(b"x" * 100, receiver.getsockname())] * 5)
    assert [datagram.nbytes for datagram in receiver.recvmmsg(9, 1_000)] == [100] * 5


@pytest.mark.parametrize("by", ["flag", "option"])
def test_corked(endpoint, received, by):
    """One datagram of all, as send() makes it: not the batch's own datagrams."""
    receiver, sender = endpoint(standard), endpoint(rsnet)
    sender.connect(receiver.getsockname())
    for send in (
        lambda flags: [sender.send(b"abc", flags) for _ in range(3)],
        lambda flags: sender.sendmmsg([b"abc"] * 3, flags),
    ):
        if by == "flag":
            send(standard.MSG_MORE)
            sender.send(b"end")
        else:
            sender.setsockopt(SOL_UDP, UDP_CORK, 1)
            send(0)
            sender.send(b"end")
            sender.setsockopt(SOL_UDP, UDP_CORK, 0)
        assert [data for data, _ in received(receiver, 1)] == [b"abcabcabcend"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_segment_size_that_the_program_has_set(endpoint, received, count):
    """What sendto() would have the kernel cut, a batch has it cut as well."""
    receiver, sender = endpoint(standard), endpoint(rsnet)
    sender.setsockopt(SOL_UDP, UDP_SEGMENT, 100)
    assert sender.sendmmsg([(b"x" * 250, receiver.getsockname())] * count) == count
    sizes = [len(data) for data, _ in received(receiver, 3 * count)]
    assert sizes == [100, 100, 50] * count


def test_metadata_of_mapped_peers(opened, endpoint):
    """A dual-stack socket tells of IPv4 datagrams what it tells of others."""
    dual, sender = opened(rsnet.socket(AF_INET6, SOCK_DGRAM)), endpoint(rsnet)
    dual.setsockopt(standard.IPPROTO_IPV6, standard.IPV6_V6ONLY, 0)
    dual.bind(("::", 0))
    dual.settimeout(5)
    dual.metadata = True
    sender.setsockopt(standard.IPPROTO_IP, standard.IP_TOS, 0xB9)
    sender.setsockopt(standard.IPPROTO_IP, standard.IP_TTL, 9)
    sender.sendto(b"x", ("127.0.0.1", dual.getsockname()[1]))
    (datagram,) = dual.recvmmsg(1, 9)
    assert (datagram.destination, datagram.interface_index) == ("::ffff:127.0.0.1", 1)
    assert (datagram.ttl, datagram.tos, datagram.ecn) == (9, 0xB9, 1)


# Many rows.


def test_as_many_rows_as_there_are(endpoint):
    """What is there is taken, beyond the 1,024 of one system call."""
    sock = endpoint(rsnet)
    sent = 0
    # Some systems have no room for so many: then there is nothing to see.
    sock.setsockopt(standard.SOL_SOCKET, standard.SO_RCVBUF, 1 << 22)
    sock.sendmmsg([(b"%d" % number, sock.getsockname()) for number in range(1_500)])
    while True:
        try:
            lengths, _ = sock.recvmmsg_into(bytearray(2_000 * 8), 8, timeout=0)
        except BlockingIOError:
            break
        assert sent == 0, "left behind by the first call"
        sent += len(lengths)
    assert sent > 300


def test_closed_and_asked_for_nothing(endpoint):
    """Every method looks at the descriptor, whatever it is to do."""
    sock = endpoint(rsnet)
    sock.close()
    for call in (lambda: sock.recverr(0), lambda: sock.recvmmsg(0, 0), lambda: sock.sendmmsg([])):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF
