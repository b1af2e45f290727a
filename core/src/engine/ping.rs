//! Probes by UDP on a fixed schedule to one far end that echoes or reflects them, and what became of
//! each.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use socket2::SockAddr;

use crate::errno::{Errno, Result};
use crate::metadata::{CONTROL_BYTES, Metadata, QueuedError, TIME};
use crate::sockaddr::AddressBuffer;
use crate::stamp::{self, Reply};
use crate::sys::{self, ReadableMemory, WritableMemory};

use super::pace::PreciseTimers;

/// How probes are to be sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The far end.
    pub peer: SocketAddr,
    /// How many probes.
    pub count: u32,
    /// From one to the next.
    pub interval: Duration,
    /// With a seed: times between probes are drawn from an exponential distribution of this mean (a
    /// Poisson process, RFC 2330 section 11.1.1). Without one, all are the same.
    pub poisson_seed: Option<u64>,
    /// A reply that comes later is late.
    pub timeout: Duration,
    /// How long a datagram's payload is; at least a STAMP packet's length.
    pub payload_bytes: usize,
    /// The address to send from.
    pub source: Option<SocketAddr>,
}

/// What became of a probe. Times are nanoseconds from the beginning, unless another clock is named.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe {
    /// When it was to be sent.
    pub due_ns: u64,
    /// When it was sent.
    pub sent_ns: u64,
    /// The same by the wall clock, since the epoch.
    pub sent_wall_ns: i64,
    /// From there to the reply's arrival.
    pub rtt_ns: Option<u64>,
    /// From here to there, by the clocks of both ends.
    pub forward_ns: Option<i64>,
    /// And back.
    pub backward_ns: Option<i64>,
    /// The reflector's number of its reply.
    pub reflector_sequence: Option<u32>,
    /// Which reply this one's was, in the order of arrival.
    pub arrival: Option<u32>,
    /// How many replies came.
    pub copies: u32,
    /// Whether the kernel says when the reply came, and not we when we saw it.
    pub has_kernel_time: bool,
    /// What the system, or the network by ICMP, said of it.
    pub errno: i32,
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Room for a reply; longer ones are cut, and are not ours.
const REPLY_BYTES: usize = 2048;

/// Sends the probes and waits for the last reply, or until the last one would be late. `watch` is told
/// how many are done every 50 ms or so, and may end it.
///
/// # Errors
/// What is missing for the socket itself.
pub fn run(plan: &Plan, watch: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<Vec<Probe>> {
    let _precise = PreciseTimers::new();
    let socket = open(plan)?;
    let mut pinging = Pinging::new(plan, socket.as_raw_fd());
    while !pinging.is_done() {
        pinging.send_what_is_due();
        pinging.wait()?;
        pinging.receive();
        if pinging.now_ns() >= pinging.next_look_ns {
            if watch(pinging.done).is_break() {
                break;
            }
            pinging.next_look_ns = pinging.now_ns() + nanoseconds(BETWEEN_LOOKS);
        }
    }
    Ok(pinging.probes)
}

fn open(plan: &Plan) -> Result<OwnedFd> {
    let (family, level, queue) = match plan.peer {
        SocketAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_IP, libc::IP_RECVERR),
        SocketAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let socket = sys::socket(family, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0)?;
    let fd = socket.as_raw_fd();
    sys::setsockopt_int(fd, TIME.0, TIME.1, 1)?;
    sys::setsockopt_int(fd, level, queue, 1)?;
    if let Some(source) = plan.source {
        sys::bind(fd, &SockAddr::from(source))?;
    }
    sys::connect(fd, &SockAddr::from(plan.peer))?;
    Ok(socket)
}

struct Pinging<'a> {
    plan: &'a Plan,
    fd: RawFd,
    start: Instant,
    probes: Vec<Probe>,
    random: u64,
    next_due_ns: u64,
    next_look_ns: u64,
    /// Probes with a reply or an error.
    done: u64,
    arrivals: u32,
    packet: Vec<u8>,
}

impl<'a> Pinging<'a> {
    fn new(plan: &'a Plan, fd: RawFd) -> Self {
        Self {
            plan,
            fd,
            start: Instant::now(),
            probes: Vec::with_capacity(plan.count as usize),
            random: plan.poisson_seed.unwrap_or(0),
            next_due_ns: 0,
            next_look_ns: 0,
            done: 0,
            arrivals: 0,
            packet: vec![0; plan.payload_bytes.max(stamp::PACKET_BYTES)],
        }
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    fn are_all_sent(&self) -> bool {
        self.probes.len() >= self.plan.count as usize
    }

    /// When the last one that was sent is late.
    fn end_ns(&self) -> u64 {
        let last_ns = self.probes.last().map_or(0, |probe| probe.sent_ns);
        last_ns.saturating_add(nanoseconds(self.plan.timeout))
    }

    fn is_done(&self) -> bool {
        let are_all_answered = self.done >= u64::from(self.plan.count);
        self.are_all_sent() && (are_all_answered || self.now_ns() >= self.end_ns())
    }

    fn send_what_is_due(&mut self) {
        while !self.are_all_sent() && self.now_ns() >= self.next_due_ns {
            self.send();
            self.next_due_ns = self.next_due_ns.saturating_add(self.gap_ns());
        }
    }

    fn gap_ns(&mut self) -> u64 {
        let mean_ns = nanoseconds(self.plan.interval);
        if self.plan.poisson_seed.is_none() {
            return mean_ns;
        }
        exponential_ns(&mut self.random, mean_ns)
    }

    fn send(&mut self) {
        let sequence = u32::try_from(self.probes.len()).unwrap_or(u32::MAX);
        let (sent_ns, sent_wall_ns) = (self.now_ns(), wall_ns());
        let header = stamp::request(sequence, sent_wall_ns);
        if let Some(room) = self.packet.first_chunk_mut() {
            *room = header;
        }
        let mut probe =
            Probe { due_ns: self.next_due_ns, sent_ns, sent_wall_ns, ..Probe::default() };
        let memory = ReadableMemory { start: self.packet.as_ptr(), len: self.packet.len() };
        // An error that ICMP brought for an earlier one is told here and in the queue: once more.
        let mut sent = sys::send(self.fd, memory, 0);
        if sent.is_err() {
            self.take_errors();
            sent = sys::send(self.fd, memory, 0);
        }
        if let Err(error) = sent {
            probe.errno = error.0;
            self.done += 1;
        }
        self.probes.push(probe);
    }

    /// Until a reply, the next probe, the end or the next look, whatever comes first.
    fn wait(&self) -> Result<()> {
        let next_ns = if self.are_all_sent() { self.end_ns() } else { self.next_due_ns };
        let left_ns = next_ns.min(self.next_look_ns).saturating_sub(self.now_ns());
        match sys::poll(self.fd, libc::POLLIN, Some(Duration::from_nanos(left_ns))) {
            // Who looks in next sees what the signal was.
            Ok(_) | Err(Errno(libc::EINTR)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self) {
        let mut reply = [0; REPLY_BYTES];
        let mut control = [0; CONTROL_BYTES];
        let mut from = AddressBuffer::default();
        loop {
            let part = WritableMemory { start: reply.as_mut_ptr(), len: reply.len() };
            match sys::recvmsg(self.fd, &[part], &mut control, &mut from, libc::MSG_DONTWAIT) {
                Ok(received) => {
                    let (seen_ns, seen_wall_ns) = (self.now_ns(), wall_ns());
                    let control = control.get(..received.control_bytes).unwrap_or_default();
                    let kernel_ns = Metadata::from_control(control).timestamp_ns;
                    // By how much the kernel saw it before us.
                    let lead_ns = kernel_ns
                        .and_then(|at| u64::try_from(seen_wall_ns - at).ok())
                        .filter(|&lead_ns| lead_ns < seen_ns);
                    let came_ns = seen_ns - lead_ns.unwrap_or(0);
                    let packet = reply.get(..received.bytes).unwrap_or_default();
                    if let Some(reply) = Reply::from_bytes(packet) {
                        let wall_ns = kernel_ns.unwrap_or(seen_wall_ns);
                        self.note(reply, came_ns, wall_ns, lead_ns.is_some());
                    }
                }
                Err(error) if error.would_block() => return,
                Err(Errno(libc::EINTR)) => {}
                Err(_) => self.take_errors(),
            }
        }
    }

    fn note(&mut self, reply: Reply, came_ns: u64, came_wall_ns: i64, has_kernel_time: bool) {
        let request = reply.request();
        let Some(probe) = self.probes.get_mut(request.sequence as usize) else { return };
        if probe.sent_wall_ns != request.sent_ns {
            // Somebody else's, or of another run.
            return;
        }
        probe.copies += 1;
        if probe.copies > 1 {
            return;
        }
        probe.rtt_ns = Some(came_ns.saturating_sub(probe.sent_ns));
        probe.has_kernel_time = has_kernel_time;
        probe.arrival = Some(self.arrivals);
        if let Reply::Reflected { sequence, received_ns, sent_ns, .. } = reply {
            probe.reflector_sequence = Some(sequence);
            probe.forward_ns = Some(received_ns - probe.sent_wall_ns);
            probe.backward_ns = Some(came_wall_ns - sent_ns);
        }
        self.arrivals += 1;
        self.done += 1;
    }

    /// What ICMP said of probes that were sent.
    fn take_errors(&mut self) {
        let mut sent = [0; REPLY_BYTES];
        let mut control = [0; 2 * CONTROL_BYTES];
        let mut to = AddressBuffer::default();
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        loop {
            to.clear();
            let part = WritableMemory { start: sent.as_mut_ptr(), len: sent.len() };
            let Ok(received) = sys::recvmsg(self.fd, &[part], &mut control, &mut to, flags) else {
                return;
            };
            let control = control.get(..received.control_bytes).unwrap_or_default();
            let packet = sent.get(..received.bytes).unwrap_or_default();
            let request = stamp::Request::from_bytes(packet);
            if let (Some(error), Some(request)) = (QueuedError::from_control(control), request)
                && let Some(probe) = self.probes.get_mut(request.sequence as usize)
                && probe.errno == 0
                && probe.sent_wall_ns == request.sent_ns
            {
                probe.errno = error.errno;
                self.done += u64::from(probe.copies == 0);
            }
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A time of an exponential distribution, at most a hundred times its mean.
fn exponential_ns(random: &mut u64, mean_ns: u64) -> u64 {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let bits = super::order::mixed(*random) >> 11;
    // From 2**-53 to 1: a logarithm of it exists.
    let share = (bits as f64 + 1.0) / (1_u64 << 53) as f64;
    let factor = (-share.ln()).clamp(0.0, 100.0);
    let ns = Duration::from_nanos(mean_ns).mul_f64(factor);
    nanoseconds(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_have_their_mean() {
        let mut random = 1;
        let sum: u64 = (0..100_000).map(|_| exponential_ns(&mut random, 1_000_000)).sum();
        let mean = sum as f64 / 100_000.0;
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "{mean}");
    }
}
