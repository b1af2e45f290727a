//! One loop over all connections of a run. A target is asked, waited for and answered without any
//! other target's being late for it, and has exactly one row at the end, whatever runs out meanwhile.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockAddr;

use crate::errno::{Errno, Result};
use crate::sys::{self, LookupError};

use super::dialogue::{Dialogue, Next, SCRATCH_BYTES, Talk, Until};
use super::hosts::Host;
use super::names::{Answer, Looked, Names};
use super::pace::{Pace, PreciseTimers, RaisedLimit, Room};
use super::rows::{self, Ending, More, NONE_NS, Row, Rows, Said, State, Tally};
use super::slots::{Slots, slot_of, token_of};
use super::targets::Targets;
use super::verdict::{self, is_connected_to_itself, is_shortage};

/// How a run is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long a name's lookup may take, and then a connection's handshake.
    pub timeout: Duration,
    /// How many connections may be open at a time; fewer if there are not as many descriptors.
    pub concurrency: usize,
    /// How many connections may begin in a second.
    pub rate: Option<f64>,
    /// How many more times a target is asked that has not answered in time.
    pub retries: u8,
    /// Asks all targets again and again: from the beginning of a round to that of the next. Without
    /// it they are asked as soon as may be.
    pub every: Option<Duration>,
    /// What is said on a connection that stands.
    pub dialogue: Option<Dialogue>,
    /// The address to connect from.
    pub source: Option<IpAddr>,
    /// The interface to connect through.
    pub interface: Option<Vec<u8>>,
}

/// How often somebody may look in on a run: for signals, to show how far it is.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Connections that begin before the loop looks at those that go on.
const AT_ONCE: usize = 64;

/// Events that are taken from the kernel at once.
const EVENTS: usize = 1024;

/// Refused sockets that are kept to be used again.
const MOST_SPARE: usize = 16;

const NAMES: Token = Token(usize::MAX);

/// Asks the targets at these positions, and adds a row for each. `watch` is called every 50 ms or so,
/// and may end the run: the rows are then those of the targets that are done.
///
/// # Errors
/// What is missing for the loop itself. What a target lacks is in its row.
pub fn run(
    targets: &Targets,
    positions: impl Iterator<Item = u64>,
    plan: &Plan,
    rows: &mut Rows,
    watch: &mut dyn FnMut(Tally) -> ControlFlow<()>,
) -> Result<()> {
    let _raised = RaisedLimit::to_hold(plan.concurrency);
    let _precise = plan.every.map(|_| PreciseTimers::new());
    let mut events = Events::with_capacity(EVENTS);
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut clients = Clients::new(targets, positions, plan, rows)?;
    let mut next_look_ns = 0;
    while !clients.is_done() {
        let wait = clients.start_some();
        clients.look_at_events(&mut events, wait, next_look_ns, &mut scratch)?;
        clients.expire();
        if clients.now_ns() >= next_look_ns {
            if watch(clients.rows.tally()).is_break() {
                break;
            }
            next_look_ns = clients.now_ns() + nanoseconds(BETWEEN_LOOKS);
        }
    }
    Ok(())
}

/// One try at a target.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    position: u64,
    /// 1 for the first.
    number: u8,
}

/// A try that knows where to go.
#[derive(Clone, Copy, Debug)]
struct Job {
    attempt: Attempt,
    peer: SocketAddr,
    answer: Option<Answer>,
}

/// A connection that is waited for.
#[derive(Debug)]
struct Client {
    job: Job,
    socket: OwnedFd,
    started_ns: u64,
    due_ns: u64,
    stage: Stage,
}

impl Client {
    /// The handshake is completed: the dialogue begins.
    fn begin_talk(&mut self, dialogue: &Dialogue, now_ns: u64) {
        let connect_ns = now_ns - self.started_ns;
        let end_ns = now_ns.saturating_add(nanoseconds(dialogue.timeout));
        self.due_ns = due_ns(dialogue, now_ns, end_ns);
        self.stage = Stage::Talking { connect_ns, end_ns, talk: Talk::default() };
    }
}

#[derive(Debug)]
enum Stage {
    Connecting,
    Talking { connect_ns: u64, end_ns: u64, talk: Talk },
}

/// What is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The client in this slot, if it is still of this generation.
    Client { slot: usize, generation: u32 },
    /// The name of the target at this position.
    Name { position: u64 },
}

/// Whether another connection was begun.
enum Started {
    Yes,
    /// Not before so long, or before something else happens.
    NotYet(Option<Duration>),
}

struct Clients<'a, P> {
    targets: &'a Targets,
    positions: P,
    plan: &'a Plan,
    rows: &'a mut Rows,
    start: Instant,
    poll: Poll,
    slots: Slots<Client>,
    names: Names<Attempt>,
    /// Jobs that something was missing for, or that are tried again, or whose names are known now.
    again: VecDeque<Job>,
    next_position: Option<u64>,
    dues: BinaryHeap<Reverse<(u64, Due)>>,
    pace: Pace,
    room: Room,
    spare: Vec<(bool, OwnedFd)>,
}

impl<'a, P: Iterator<Item = u64>> Clients<'a, P> {
    fn new(
        targets: &'a Targets,
        mut positions: P,
        plan: &'a Plan,
        rows: &'a mut Rows,
    ) -> Result<Self> {
        let next_position = positions.next();
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), NAMES)?);
        Ok(Self {
            targets,
            positions,
            plan,
            rows,
            start: Instant::now(),
            poll,
            slots: Slots::default(),
            names: Names::new(waker),
            again: VecDeque::new(),
            next_position,
            dues: BinaryHeap::new(),
            pace: Pace::new(plan.rate),
            room: Room::new(plan.concurrency),
            spare: Vec::new(),
        })
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    fn is_done(&self) -> bool {
        self.next_position.is_none()
            && self.again.is_empty()
            && self.slots.is_empty()
            && self.names.waiting() == 0
    }

    // Beginnings.

    /// Begins some connections. Says how long there is nothing more to begin; `None` until something
    /// happens.
    fn start_some(&mut self) -> Option<Duration> {
        for _ in 0..AT_ONCE {
            if let Started::NotYet(wait) = self.start_one() {
                return wait;
            }
        }
        Some(Duration::ZERO)
    }

    fn start_one(&mut self) -> Started {
        let now_ns = self.now_ns();
        let open = self.slots.len() + self.names.waiting();
        if let Err(wait) = self.room.for_one_more(open, now_ns) {
            return Started::NotYet(wait);
        }
        if self.again.is_empty() {
            let Some(position) = self.next_position else { return Started::NotYet(None) };
            if let Some(wait_ns) = self.due_ns(position).checked_sub(now_ns).filter(|&ns| ns > 0) {
                return Started::NotYet(Some(Duration::from_nanos(wait_ns)));
            }
        }
        if let Err(wait) = self.pace.take(now_ns) {
            return Started::NotYet(Some(wait));
        }
        if let Some(job) = self.again.pop_front() {
            self.connect(job);
        } else if let Some(position) = self.next_position.take() {
            self.ask(position);
            self.next_position = self.positions.next();
        }
        Started::Yes
    }

    /// When the target at this position is to be asked.
    fn due_ns(&self, position: u64) -> u64 {
        self.plan
            .every
            .map_or(0, |every| nanoseconds(every).saturating_mul(self.targets.round_at(position)))
    }

    fn ask(&mut self, position: u64) {
        let attempt = Attempt { position, number: 1 };
        let targets = self.targets;
        let Some(target) = targets.get(targets.number_at(position)) else { return };
        match target.host {
            Host::Address(ip) => {
                let peer = SocketAddr::new(ip, target.port);
                self.connect(Job { attempt, peer, answer: None });
            }
            Host::Name(name) => match self.names.look_up(name, attempt) {
                Looked::Known(answer) => self.answered(attempt, answer),
                Looked::Asked => {
                    let due_ns = self.now_ns() + nanoseconds(self.plan.timeout);
                    self.dues.push(Reverse((due_ns, Due::Name { position })));
                }
                Looked::Waiting => {}
            },
        }
    }

    /// A name's answer, for one who asked.
    fn answered(&mut self, attempt: Attempt, answer: Answer) {
        match answer.found {
            Ok(mut peer) => {
                let number = self.targets.number_at(attempt.position);
                peer.set_port(self.targets.get(number).map_or(0, |target| target.port));
                self.again.push_back(Job { attempt, peer, answer: Some(answer) });
            }
            Err(error) => {
                let errno = match error {
                    LookupError::System(errno) => errno,
                    LookupError::Code(_) | LookupError::Family => Errno(0),
                };
                let row = rows::row(attempt.position, attempt.number, self.now_ns(), errno);
                let row = Row { state: State::Error, ..row };
                self.rows.push(row, Some(More { answer: Some(answer), dialogue: None }));
            }
        }
    }

    fn connect(&mut self, job: Job) {
        let to = SockAddr::from(job.peer);
        let socket = match self.socket_for(job.peer) {
            Ok(socket) => socket,
            Err(error @ Errno(libc::EADDRNOTAVAIL)) => {
                // Nobody here has the address to connect from.
                return self.finish(job, row_of(job, self.now_ns(), error), None);
            }
            Err(error) => return self.cannot_begin(job, error, self.now_ns()),
        };
        let started_ns = self.now_ns();
        let fd = socket.as_raw_fd();
        let mut result = sys::connect(fd, &to);
        if let Err(Errno(libc::EINPROGRESS | libc::EINTR)) = result {
            // Loopback and local networks have often answered by now: a second look saves the wait.
            result = sys::connect(fd, &to);
        }
        let ended_ns = self.now_ns();
        let client = Client { job, socket, started_ns, due_ns: 0, stage: Stage::Connecting };
        match result {
            Ok(()) | Err(Errno(libc::EISCONN)) => self.connected(client, ended_ns),
            Err(Errno(libc::EALREADY | libc::EINPROGRESS | libc::EINTR)) => self.wait_for(client),
            Err(error) if is_shortage(error, job.peer) => {
                self.cannot_begin(job, error, started_ns);
            }
            Err(error) => self.failed(client, error, false),
        }
    }

    /// A socket that is not connected: a new one or one that was refused before.
    fn socket_for(&mut self, peer: SocketAddr) -> Result<OwnedFd> {
        if let Some(at) = self.spare.iter().position(|&(is_v4, _)| is_v4 == peer.is_ipv4()) {
            return Ok(self.spare.swap_remove(at).1);
        }
        let family = if peer.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let socket = sys::socket(family, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
        let fd = socket.as_raw_fd();
        // With it the error queue tells a prohibition from a host that cannot be reached.
        let (level, name) = match peer {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        };
        sys::setsockopt_int(fd, level, name, 1)?;
        if let Some(interface) = &self.plan.interface {
            let name = sys::ReadableMemory { start: interface.as_ptr(), len: interface.len() };
            sys::setsockopt(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name)?;
        }
        if let Some(source) = self.plan.source {
            // The port is chosen when the peer is known, so that ports last longer.
            sys::setsockopt_int(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
            sys::bind(fd, &SockAddr::from(SocketAddr::new(source, 0)))?;
        }
        Ok(socket)
    }

    /// Nothing is lost for what the system lacks at the moment: it is tried again.
    fn cannot_begin(&mut self, job: Job, error: Errno, now_ns: u64) {
        let open = self.slots.len() + self.names.waiting();
        if is_shortage(error, job.peer) && !self.room.ran_out(open, now_ns) {
            self.again.push_front(job);
        } else {
            self.finish(job, row_of(job, now_ns, error), None);
        }
    }

    fn wait_for(&mut self, mut client: Client) {
        client.due_ns = client.started_ns + nanoseconds(self.plan.timeout);
        self.keep(client);
    }

    /// Keeps a client in a slot, with its descriptor in the kernel's list and its time in ours.
    fn keep(&mut self, client: Client) {
        let (fd, due_ns) = (client.socket.as_raw_fd(), client.due_ns);
        let (job, started_ns) = (client.job, client.started_ns);
        let (slot, generation) = self.slots.put(client);
        let token = token_of(slot, generation);
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self.poll.registry().register(&mut SourceFd(&fd), token, interest) {
            Ok(()) => {
                self.room.found_some();
                self.dues.push(Reverse((due_ns, Due::Client { slot, generation })));
            }
            Err(error) => {
                drop(self.slots.take(slot, generation));
                self.cannot_begin(job, error.into(), started_ns);
            }
        }
    }

    // What happens.

    /// Waits for the first of: an event, `wait`, the next time that is due, the next look.
    fn look_at_events(
        &mut self,
        events: &mut Events,
        wait: Option<Duration>,
        next_look_ns: u64,
        scratch: &mut [u8],
    ) -> Result<()> {
        let is_anything_awaited = !self.slots.is_empty() || self.names.waiting() > 0;
        if wait == Some(Duration::ZERO) && !is_anything_awaited {
            return Ok(());
        }
        let now_ns = self.now_ns();
        let due_ns = self.dues.peek().map_or(u64::MAX, |Reverse((due_ns, _))| *due_ns);
        let left = Duration::from_nanos(due_ns.min(next_look_ns).saturating_sub(now_ns));
        let timeout = wait.map_or(left, |wait| wait.min(left));
        match self.polled(events, timeout) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(error.into());
            }
            // Who looks in next sees what the signal was.
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        let now_ns = self.now_ns();
        for event in events.iter() {
            match event.token() {
                NAMES => self.look_at_names(),
                token => self.look_at_client(token, now_ns, scratch),
            }
        }
        Ok(())
    }

    /// Waits for events. mio counts in milliseconds, which is too coarse for a schedule.
    fn polled(&mut self, events: &mut Events, timeout: Duration) -> std::io::Result<()> {
        if self.plan.every.is_none() || timeout.is_zero() {
            return self.poll.poll(events, Some(timeout));
        }
        let _ = sys::poll(self.poll.as_raw_fd(), libc::POLLIN, Some(timeout));
        self.poll.poll(events, Some(Duration::ZERO))
    }

    fn look_at_names(&mut self) {
        for (answer, waiting) in self.names.answers() {
            for attempt in waiting {
                self.answered(attempt, answer);
            }
        }
    }

    fn look_at_client(&mut self, token: Token, now_ns: u64, scratch: &mut [u8]) {
        let (slot, generation) = slot_of(token);
        let Some(client) = self.slots.get(slot, generation) else { return };
        let fd = client.socket.as_raw_fd();
        match &mut client.stage {
            Stage::Connecting => {
                let peer = client.job.peer;
                // What connect(2) says now ends the attempt for the kernel as well, so that a refused
                // socket can be used again.
                match sys::connect(fd, &SockAddr::from(peer)) {
                    Err(Errno(libc::EALREADY | libc::EINPROGRESS | libc::EINTR)) => {}
                    Ok(()) | Err(Errno(libc::EISCONN)) => {
                        self.connected_in_its_slot(slot, generation, now_ns, scratch);
                    }
                    Err(error) => {
                        if let Some(client) = self.slots.take(slot, generation) {
                            self.failed(client, error, true);
                        }
                    }
                }
            }
            Stage::Talking { .. } => self.listen(slot, generation, scratch),
        }
    }

    fn connected(&mut self, client: Client, now_ns: u64) {
        if is_connected_to_itself(client.socket.as_raw_fd(), client.job.peer) {
            // Nobody listens there: the system happened to choose the same port for us.
            let row = row_of(client.job, client.started_ns, Errno(libc::ECONNREFUSED));
            return self.finish(client.job, row, None);
        }
        let Some(dialogue) = &self.plan.dialogue else {
            let connect_ns = now_ns - client.started_ns;
            let row = Row { connect_ns, ..row_of(client.job, client.started_ns, Errno(0)) };
            return self.finish(client.job, row, None);
        };
        let mut client = client;
        let start = self.start;
        // There is room for most requests. What comes is told once the socket is in the kernel's list.
        let fd = client.socket.as_raw_fd();
        client.begin_talk(dialogue, now_ns);
        if let Stage::Talking { talk, .. } = &mut client.stage {
            talk.begin(fd, dialogue, || nanoseconds(start.elapsed()));
        }
        self.keep(client);
    }

    /// A client that is in the kernel's list already, which tells everything once: what there is to
    /// do is done now.
    fn connected_in_its_slot(
        &mut self,
        slot: usize,
        generation: u32,
        now_ns: u64,
        scratch: &mut [u8],
    ) {
        let Some(client) = self.slots.get(slot, generation) else { return };
        let finds_itself = is_connected_to_itself(client.socket.as_raw_fd(), client.job.peer);
        match &self.plan.dialogue {
            Some(dialogue) if !finds_itself => {
                client.begin_talk(dialogue, now_ns);
                let due = Due::Client { slot, generation };
                self.dues.push(Reverse((client.due_ns, due)));
                self.listen(slot, generation, scratch);
            }
            _ => {
                if let Some(client) = self.slots.take(slot, generation) {
                    self.connected(client, now_ns);
                }
            }
        }
    }

    fn listen(&mut self, slot: usize, generation: u32, scratch: &mut [u8]) {
        let start = self.start;
        let (Some(dialogue), Some(client)) =
            (&self.plan.dialogue, self.slots.get(slot, generation))
        else {
            return;
        };
        let Stage::Talking { end_ns, talk, .. } = &mut client.stage else { return };
        let fd = client.socket.as_raw_fd();
        match talk.go_on(fd, dialogue, scratch, || nanoseconds(start.elapsed())) {
            Next::Wait => client.due_ns = due_ns(dialogue, nanoseconds(start.elapsed()), *end_ns),
            Next::Ended(ending, error) => {
                if let Some(client) = self.slots.take(slot, generation) {
                    self.said(client, ending, error);
                }
            }
        }
    }

    /// Ends what is due.
    fn expire(&mut self) {
        let now_ns = self.now_ns();
        while let Some(&Reverse((at_ns, due))) = self.dues.peek() {
            if at_ns > now_ns {
                return;
            }
            self.dues.pop();
            match due {
                Due::Client { slot, generation } => self.expire_client(slot, generation, now_ns),
                Due::Name { position } => self.expire_name(position),
            }
        }
    }

    fn expire_client(&mut self, slot: usize, generation: u32, now_ns: u64) {
        let Some(client) = self.slots.get(slot, generation) else { return };
        if client.due_ns > now_ns {
            // Something came meanwhile.
            let due = Due::Client { slot, generation };
            self.dues.push(Reverse((client.due_ns, due)));
            return;
        }
        let Some(client) = self.slots.take(slot, generation) else { return };
        match &client.stage {
            Stage::Connecting if client.job.attempt.number <= self.plan.retries => {
                let Attempt { position, number } = client.job.attempt;
                let attempt = Attempt { position, number: number + 1 };
                self.again.push_back(Job { attempt, ..client.job });
            }
            Stage::Connecting => self.failed(client, Errno(libc::ETIMEDOUT), true),
            Stage::Talking { end_ns, .. } if now_ns >= *end_ns => {
                self.said(client, Ending::TimedOut, None);
            }
            Stage::Talking { .. } => self.said(client, Ending::Complete, None),
        }
    }

    fn expire_name(&mut self, position: u64) {
        let targets = self.targets;
        let target = targets.get(targets.number_at(position));
        let Some(Host::Name(name)) = target.map(|target| target.host) else { return };
        let resolve_ns = nanoseconds(self.plan.timeout);
        if let Some((answer, waiting)) = self.names.give_up(name, resolve_ns) {
            for attempt in waiting {
                self.answered(attempt, answer);
            }
        }
    }

    // Ends.

    fn failed(&mut self, client: Client, error: Errno, is_registered: bool) {
        let Client { job, socket, started_ns, .. } = client;
        let fd = socket.as_raw_fd();
        let icmp = if job.peer.ip().is_loopback() { None } else { verdict::of_icmp(fd) };
        let row = match icmp {
            Some((state, error)) => Row { state, ..row_of(job, started_ns, error) },
            None => row_of(job, started_ns, error),
        };
        self.finish(job, row, None);
        if error.0 != libc::ECONNREFUSED || icmp.is_some() || !self.may_be_used_again() {
            return;
        }
        if !is_registered || self.poll.registry().deregister(&mut SourceFd(&fd)).is_ok() {
            self.spare.push((job.peer.is_ipv4(), socket));
        }
    }

    fn may_be_used_again(&self) -> bool {
        self.spare.len() < MOST_SPARE && self.plan.source.is_none()
    }

    fn said(&mut self, client: Client, ending: Ending, error: Option<Errno>) {
        let Client { job, started_ns, stage, .. } = client;
        let Stage::Talking { connect_ns, talk, .. } = stage else { return };
        let said = Said {
            first_byte_ns: talk.first_ns.map_or(NONE_NS, |at| at.saturating_sub(talk.sent_ns)),
            response: talk.response.into_boxed_slice(),
            total_ns: self.now_ns() - started_ns,
            ending,
        };
        let broken = row_of(job, started_ns, error.unwrap_or(Errno(0)));
        let row = Row { connect_ns, state: State::Open, ..broken };
        self.finish(job, row, Some(said));
    }

    /// A target's one row.
    fn finish(&mut self, job: Job, row: Row, dialogue: Option<Said>) {
        let more = (job.answer.is_some() || dialogue.is_some())
            .then_some(More { answer: job.answer, dialogue });
        self.rows.push(row, more);
    }
}

fn row_of(job: Job, started_ns: u64, error: Errno) -> Row {
    rows::row(job.attempt.position, job.attempt.number, started_ns, error)
}

fn nanoseconds(duration: Duration) -> u64 {
    // A sum of two stays in range.
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

/// When somebody has to look at a dialogue at the latest.
fn due_ns(dialogue: &Dialogue, now_ns: u64, end_ns: u64) -> u64 {
    match dialogue.until {
        Until::Silence(silence) => now_ns.saturating_add(nanoseconds(silence)).min(end_ns),
        _ => end_ns,
    }
}
