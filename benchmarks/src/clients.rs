//! Connections, and whole client programs against a far end in another process.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::Cores;
use crate::far_end::FarEnd;
use crate::round::{Round, Workload};
use crate::sys::{self, Address};

const TIMEOUT_MS: libc::c_int = 5000;
/// Connections that wait in a listener's queue at a time.
const QUEUED: usize = 32;

/// Connects; a second look finds what loopback has answered meanwhile, without a wait.
fn connect(socket: &OwnedFd, address: &Address) -> io::Result<()> {
    for _ in 0..2 {
        match sys::connect(socket, address) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) if error.raw_os_error() == Some(libc::EALREADY) => {}
            done => return done,
        }
    }
    sys::wait(socket, libc::POLLOUT, TIMEOUT_MS)?;
    sys::connect(socket, address)
}

/// recv with a timeout: tried first, waited for when there is nothing yet.
fn recv(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    match sys::recv(socket, buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            sys::wait(socket, libc::POLLIN, TIMEOUT_MS)?;
            sys::recv(socket, buffer)
        }
        done => done,
    }
}

/// The flag that a socket with a timeout is made with.
fn mode(timeout: bool) -> libc::c_int {
    if timeout { libc::SOCK_NONBLOCK } else { 0 }
}

/// socket, connect, sendall, recv, close.
pub struct Tcp {
    far_end: FarEnd,
    timeout: bool,
}

impl Tcp {
    pub fn open(cores: Cores, timeout: bool) -> io::Result<Self> {
        Ok(Self { far_end: FarEnd::start("tcp-echo", cores.near)?, timeout })
    }
}

impl Workload for Tcp {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let address = sys::loopback(self.far_end.port);
        let mut times = Vec::with_capacity(amount);
        let mut buffer = [0; 1024];
        for _ in 0..amount {
            let started = Instant::now();
            let socket = sys::socket(libc::SOCK_STREAM, mode(self.timeout))?;
            connect(&socket, &address)?;
            sys::send(&socket, b"hello over TCP\n")?;
            recv(&socket, &mut buffer)?;
            drop(socket);
            times.push(started.elapsed());
        }
        Ok(Round::each(times))
    }
}

/// socket, sendto, recvfrom, close.
pub struct Udp {
    far_end: FarEnd,
    timeout: bool,
}

impl Udp {
    pub fn open(cores: Cores, timeout: bool) -> io::Result<Self> {
        Ok(Self { far_end: FarEnd::start("udp-echo", cores.near)?, timeout })
    }
}

impl Workload for Udp {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let address = sys::loopback(self.far_end.port);
        let mut times = Vec::with_capacity(amount);
        let mut buffer = [0; 1024];
        for _ in 0..amount {
            let started = Instant::now();
            let socket = sys::socket(libc::SOCK_DGRAM, mode(self.timeout))?;
            sys::sendto(&socket, b"hello over UDP\n", &address)?;
            match sys::recvfrom(&socket, &mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    sys::wait(&socket, libc::POLLIN, TIMEOUT_MS)?;
                    sys::recvfrom(&socket, &mut buffer)?;
                }
                done => drop(done?),
            }
            drop(socket);
            times.push(started.elapsed());
        }
        Ok(Round::each(times))
    }
}

fn listener() -> io::Result<(OwnedFd, Address)> {
    let listener = sys::socket(libc::SOCK_STREAM, 0)?;
    sys::bind(&listener, &sys::loopback(0))?;
    sys::listen(&listener)?;
    sys::end_at_once(&listener)?;
    let address = sys::loopback(sys::local_port(&listener)?);
    Ok((listener, address))
}

/// create_connection to a numeric host with a timeout, and close.
pub struct CreateConnection;

impl Workload for CreateConnection {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let (listener, address) = listener()?;
        let batches = amount.div_ceil(QUEUED);
        let mut total = Duration::ZERO;
        for _ in 0..batches {
            let started = Instant::now();
            for _ in 0..QUEUED {
                let socket = sys::socket(libc::SOCK_STREAM, libc::SOCK_NONBLOCK)?;
                connect(&socket, &address)?;
            }
            total += started.elapsed();
            for _ in 0..QUEUED {
                sys::accept(&listener)?;
            }
        }
        Ok(Round::mean(total, batches * QUEUED))
    }
}

/// accept of connections that wait.
pub struct Accept;

impl Workload for Accept {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let (listener, address) = listener()?;
        let batches = amount.div_ceil(QUEUED);
        let mut total = Duration::ZERO;
        let mut accepted = Vec::with_capacity(QUEUED);
        for _ in 0..batches {
            let mut clients = Vec::with_capacity(QUEUED);
            for _ in 0..QUEUED {
                let client = sys::socket(libc::SOCK_STREAM, 0)?;
                sys::connect(&client, &address)?;
                clients.push(client);
            }
            let started = Instant::now();
            for _ in 0..QUEUED {
                accepted.push(sys::accept(&listener)?);
            }
            total += started.elapsed();
            accepted.clear();
        }
        Ok(Round::mean(total, batches * QUEUED))
    }
}
