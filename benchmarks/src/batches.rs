//! Datagrams by the batch: sendmmsg and recvmmsg, with the kernel's offload and without.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::round::{Round, Workload};
use crate::sys::{self, Address, Message};

/// Datagrams a call.
pub const BATCH: usize = 128;
/// Sends of many segments that wait to be received.
const SENDS_FED: usize = 4;
const RECEIVE_BUFFER_BYTES: libc::c_int = 4 << 20;
const LARGEST_BYTES: usize = 65535;

/// 64 on average, and each larger than the one before: no two of them can be sent as segments.
pub fn unequal_sizes() -> [usize; BATCH] {
    std::array::from_fn(|number| 33 + number % 64)
}

fn sockets() -> io::Result<(OwnedFd, OwnedFd, Address)> {
    let receiver = sys::socket(libc::SOCK_DGRAM, 0)?;
    sys::set_option(&receiver, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES)?;
    sys::bind(&receiver, &sys::loopback(0))?;
    let address = sys::loopback(sys::local_port(&receiver)?);
    let sender = sys::socket(libc::SOCK_DGRAM, 0)?;
    Ok((sender, receiver, address))
}

/// Batches of datagrams, sent to a socket that is emptied between them.
pub struct Send {
    sender: OwnedFd,
    receiver: OwnedFd,
    /// None of a connected socket.
    address: Option<Address>,
    payloads: Vec<Vec<u8>>,
    /// How many payloads go in one message, for the kernel to cut.
    segments: usize,
    control: Vec<u64>,
}

impl Send {
    /// To one peer that the socket is connected to, each datagram by itself.
    pub fn plain(sizes: &[usize]) -> io::Result<Self> {
        Self::open(sizes, 1, true)
    }

    /// To one address.
    pub fn addressed(sizes: &[usize]) -> io::Result<Self> {
        Self::open(sizes, 1, false)
    }

    /// To one peer that the socket is connected to, that many equal ones for the kernel to cut.
    pub fn segmented(size: usize, segments: usize) -> io::Result<Self> {
        Self::open(&[size; BATCH], segments, true)
    }

    fn open(sizes: &[usize], segments: usize, connected: bool) -> io::Result<Self> {
        let (sender, receiver, address) = sockets()?;
        sys::set_nonblocking(&receiver)?;
        if connected {
            sys::connect(&sender, &address)?;
        }
        let address = (!connected).then_some(address);
        let payloads: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![b'x'; size]).collect();
        let size = sizes.first().copied().unwrap_or_default();
        let control = match u16::try_from(size) {
            Ok(size) if segments > 1 => sys::segment_control(size)?.to_vec(),
            _ => Vec::new(),
        };
        Ok(Self { sender, receiver, address, payloads, segments, control })
    }

    fn send_batch(&mut self, headers: &mut Vec<libc::mmsghdr>) -> io::Result<()> {
        if let ([payload], Some(address)) = (self.payloads.as_slice(), &self.address) {
            return sys::sendto(&self.sender, payload, address).map(drop);
        }
        let mut parts: Vec<libc::iovec> =
            self.payloads.iter().map(|payload| sys::part(payload)).collect();
        let messages = parts.chunks(self.segments).count();
        let mut addresses = vec![self.address; messages];
        let mut controls = vec![self.control.clone(); messages];
        let mut batch: Vec<Message<'_>> = parts
            .chunks_mut(self.segments)
            .zip(&mut addresses)
            .zip(&mut controls)
            .map(|((parts, address), control)| Message {
                parts,
                address: address.as_mut(),
                control,
            })
            .collect();
        sys::sendmmsg(&self.sender, headers, &mut batch).map(drop)
    }
}

impl Workload for Send {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let batches = amount.div_ceil(self.payloads.len());
        let mut total = Duration::ZERO;
        let mut headers = Vec::new();
        let mut buffer = [0; 2048];
        for _ in 0..batches {
            let started = Instant::now();
            self.send_batch(&mut headers)?;
            total += started.elapsed();
            while sys::drain(&self.receiver, &mut buffer).is_ok() {}
        }
        Ok(Round::mean(total, batches * self.payloads.len()))
    }
}

/// Takes what one call gives; how many bytes.
fn receive(
    receiver: &OwnedFd,
    buffers: &mut [Vec<u8>],
    headers: &mut Vec<libc::mmsghdr>,
    control_words: usize,
) -> io::Result<usize> {
    let mut parts: Vec<libc::iovec> = buffers.iter().map(|buffer| sys::part(buffer)).collect();
    let mut addresses = vec![sys::loopback(0); buffers.len()];
    let mut controls = vec![vec![0_u64; control_words]; buffers.len()];
    let mut batch: Vec<Message<'_>> = parts
        .chunks_mut(1)
        .zip(&mut addresses)
        .zip(&mut controls)
        .map(|((parts, address), control)| Message { parts, address: Some(address), control })
        .collect();
    sys::recvmmsg(receiver, headers, &mut batch).map(|(_, bytes)| bytes)
}

/// Batches of 64-byte datagrams, received.
pub struct Receive {
    sender: OwnedFd,
    receiver: OwnedFd,
    buffers: Vec<Vec<u8>>,
}

impl Receive {
    pub fn open() -> io::Result<Self> {
        let (sender, receiver, address) = sockets()?;
        sys::connect(&sender, &address)?;
        Ok(Self { sender, receiver, buffers: vec![vec![0; 2048]; BATCH] })
    }
}

impl Workload for Receive {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let batches = amount.div_ceil(BATCH);
        let mut total = Duration::ZERO;
        let mut headers = Vec::new();
        for _ in 0..batches {
            for _ in 0..BATCH {
                sys::feed(&self.sender, &[b'x'; 64])?;
            }
            let started = Instant::now();
            receive(&self.receiver, &mut self.buffers, &mut headers, 0)?;
            total += started.elapsed();
        }
        Ok(Round::mean(total, batches * BATCH))
    }
}

/// Datagrams that the kernel hands over many at a time, in one piece (UDP_GRO).
pub struct Offload {
    sender: OwnedFd,
    receiver: OwnedFd,
    address: Address,
    payload: Vec<u8>,
    segments: usize,
    control: [u64; 3],
    buffers: Vec<Vec<u8>>,
}

impl Offload {
    pub fn open(size: u16, segments: usize) -> io::Result<Self> {
        let (sender, receiver, address) = sockets()?;
        sys::set_option(&receiver, libc::SOL_UDP, libc::UDP_GRO, 1)?;
        Ok(Self {
            sender,
            receiver,
            address,
            payload: vec![b'x'; usize::from(size) * segments],
            segments,
            control: sys::segment_control(size)?,
            buffers: vec![vec![0; LARGEST_BYTES]; SENDS_FED],
        })
    }

    fn feed(&mut self) -> io::Result<()> {
        for _ in 0..SENDS_FED {
            let mut parts = [sys::part(&self.payload)];
            let address = Some(&mut self.address);
            let message = Message { parts: &mut parts, address, control: &mut self.control };
            sys::sendmsg(&self.sender, message)?;
        }
        Ok(())
    }
}

impl Workload for Offload {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let datagrams = SENDS_FED * self.segments;
        let batches = amount.div_ceil(datagrams);
        let mut total = Duration::ZERO;
        let mut headers = Vec::new();
        for _ in 0..batches {
            self.feed()?;
            let mut missing = self.payload.len() * SENDS_FED;
            let started = Instant::now();
            while missing > 0 {
                // 4 words: a control message with one int, as UDP_GRO gives it, and room to spare.
                let bytes = receive(&self.receiver, &mut self.buffers, &mut headers, 4)?;
                missing = missing.saturating_sub(bytes.max(1));
            }
            total += started.elapsed();
        }
        Ok(Round::mean(total, batches * datagrams))
    }
}
