"""sock.tcp_info(): the kernel's figures, and nothing made up."""

import pickle
import socket as standard

import pytest

import rsnet
from rsnet import _rsnet


def connected(opened):
    server = opened(rsnet.create_server(("127.0.0.1", 0)))
    client = opened(rsnet.create_connection(server.getsockname()))
    return client, opened(server.accept()[0])


def test_a_connection_that_was_used(opened):
    client, server = connected(opened)
    client.sendall(b"x" * 100_000)
    left = 100_000
    while left:
        left -= len(server.recv(left))
    client.sendall(b"x")
    server.recv(1)
    ours, theirs = client.tcp_info(), server.tcp_info()
    assert ours.state == theirs.state == 1
    assert theirs.received_bytes == 100_001
    assert 0 < ours.rtt_us < 10_000_000 and ours.snd_cwnd > 0 and ours.pmtu_bytes > 1000
    assert ours.snd_mss_bytes == theirs.advmss_bytes or ours.snd_mss_bytes > 500


def test_the_fields_are_the_kernels_in_the_kernels_units(opened):
    client, _ = connected(opened)
    raw = client.getsockopt(standard.IPPROTO_TCP, standard.TCP_INFO, 512)
    info = client.tcp_info()
    # include/uapi/linux/tcp.h: 68 and 80 bytes from the start.
    assert info.rtt_us == int.from_bytes(raw[68:72], "little")
    assert info.snd_cwnd == int.from_bytes(raw[80:84], "little")
    assert (info[-1] is None) == (len(raw) < 248)


def test_names_of_both_halves():
    assert list(rsnet.TcpInfo._fields) == _rsnet.tcp_info_names()


def test_a_pickle(opened):
    info = connected(opened)[0].tcp_info()
    assert pickle.loads(pickle.dumps(info)) == info


def test_other_sockets(opened):
    with pytest.raises(OSError) as error:
        opened(rsnet.socket(type=rsnet.SOCK_DGRAM)).tcp_info()
    assert error.value.errno in (92, 95)
    closed = rsnet.socket()
    closed.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        closed.tcp_info()
