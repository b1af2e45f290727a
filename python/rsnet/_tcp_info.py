"""What the kernel knows of a TCP connection, as one record."""

from __future__ import annotations

from typing import NamedTuple

from rsnet import _rsnet


class TcpInfo(NamedTuple):
    """struct tcp_info of one connection at one moment, as `sock.tcp_info()` gives it.

    The fields are those of Linux's include/uapi/linux/tcp.h without `tcpi_`, with their unit at the
    end: _us and _ms of time, _bytes, _bytes_per_s; the others are counts. snd_cwnd and snd_ssthresh
    are in segments. None is what the running kernel does not return.

    state: 1 is established, 10 listening, as in /proc/net/tcp. ca_state: congestion control's, 0
    open, 1 disorder, 2 CWR, 3 recovery, 4 loss. options: bits, 1 timestamps, 2 SACK, 4 window
    scaling, 8 ECN, 16 ECN was seen. rtt_us, rttvar_us: the smoothed round-trip time and its
    variation (RFC 6298). total_retrans: segments sent again, ever. acked_bytes, received_bytes,
    sent_bytes, retrans_bytes: tcpi_bytes_acked and so on.

    Source: tcp(7), TCP_INFO; RFC 4898 for the counters of segments and bytes.

    >>> import rsnet
    >>> rsnet.TcpInfo.__module__
    'rsnet'
    """

    state: int | None
    ca_state: int | None
    retransmits: int | None
    probes: int | None
    backoff: int | None
    options: int | None
    snd_wscale: int | None
    rcv_wscale: int | None
    delivery_rate_app_limited: int | None
    fastopen_client_fail: int | None
    rto_us: int | None
    ato_us: int | None
    snd_mss_bytes: int | None
    rcv_mss_bytes: int | None
    unacked: int | None
    sacked: int | None
    lost: int | None
    retrans: int | None
    fackets: int | None
    last_data_sent_ms: int | None
    last_ack_sent_ms: int | None
    last_data_recv_ms: int | None
    last_ack_recv_ms: int | None
    pmtu_bytes: int | None
    rcv_ssthresh_bytes: int | None
    rtt_us: int | None
    rttvar_us: int | None
    snd_ssthresh: int | None
    snd_cwnd: int | None
    advmss_bytes: int | None
    reordering: int | None
    rcv_rtt_us: int | None
    rcv_space_bytes: int | None
    total_retrans: int | None
    pacing_rate_bytes_per_s: int | None
    max_pacing_rate_bytes_per_s: int | None
    acked_bytes: int | None
    received_bytes: int | None
    segs_out: int | None
    segs_in: int | None
    notsent_bytes: int | None
    min_rtt_us: int | None
    data_segs_in: int | None
    data_segs_out: int | None
    delivery_rate_bytes_per_s: int | None
    busy_time_us: int | None
    rwnd_limited_us: int | None
    sndbuf_limited_us: int | None
    delivered: int | None
    delivered_ce: int | None
    sent_bytes: int | None
    retrans_bytes: int | None
    dsack_dups: int | None
    reord_seen: int | None
    rcv_ooopack: int | None
    snd_wnd_bytes: int | None
    rcv_wnd_bytes: int | None
    rehash: int | None
    total_rto: int | None
    total_rto_recoveries: int | None
    total_rto_time_ms: int | None


TcpInfo.__module__ = "rsnet"


def parsed(returned: bytes) -> TcpInfo:
    """The record of what getsockopt returned."""
    return TcpInfo(*_rsnet.tcp_info_values(returned))
