//! What is said on a connection: a request, and a response until it is enough.

use std::os::fd::RawFd;
use std::time::Duration;

use crate::errno::{Errno, Result};
use crate::sys::{self, ReadableMemory, WritableMemory};

use super::rows::Ending;

/// What to say, and when to stop listening.
#[derive(Clone, Debug)]
pub struct Dialogue {
    /// What is sent once the connection stands.
    pub payload: Vec<u8>,
    /// What is waited for.
    pub until: Until,
    /// How many bytes of the response are kept at most.
    pub most_bytes: usize,
    /// How long it may take, from the completed handshake on.
    pub timeout: Duration,
}

/// What ends a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// Anything: the first bytes that come.
    Something,
    /// So many bytes.
    Bytes(usize),
    /// These bytes.
    Delimiter(Vec<u8>),
    /// A time without any.
    Silence(Duration),
    /// The peer's close.
    Close,
}

/// How far a dialogue has come.
#[derive(Debug, Default)]
pub struct Talk {
    sent: usize,
    /// When the request's last byte was written.
    pub sent_ns: u64,
    /// What came so far.
    pub response: Vec<u8>,
    /// When the first of it came.
    pub first_ns: Option<u64>,
}

/// What there is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// To wait until the socket is ready.
    Wait,
    /// Nothing: it ended so, perhaps with an error.
    Ended(Ending, Option<Errno>),
}

/// A good size for where bytes arrive before it is known how many they are.
pub const SCRATCH_BYTES: usize = 64 * 1024;

impl Talk {
    /// Sends what there is room for, before there can be a response.
    pub fn begin(&mut self, fd: RawFd, dialogue: &Dialogue, now_ns: impl Fn() -> u64) {
        // An error is told again when somebody waits for the socket.
        if self.send(fd, &dialogue.payload).is_ok() {
            self.sent_ns = now_ns();
        }
    }

    /// Sends and receives until the socket has no more to give. `scratch` is any memory: what arrives
    /// is put there first.
    pub fn go_on(
        &mut self,
        fd: RawFd,
        dialogue: &Dialogue,
        scratch: &mut [u8],
        now_ns: impl Fn() -> u64,
    ) -> Next {
        if self.sent_ns == 0 {
            match self.send(fd, &dialogue.payload) {
                Ok(()) => self.sent_ns = now_ns(),
                Err(error) if error.would_block() => return Next::Wait,
                Err(error) => return Next::Ended(Ending::Broken, Some(error)),
            }
        }
        self.receive(fd, dialogue, scratch, now_ns)
    }

    fn send(&mut self, fd: RawFd, payload: &[u8]) -> Result<()> {
        while let Some(rest) = payload.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let memory = ReadableMemory { start: rest.as_ptr(), len: rest.len() };
            match sys::send(fd, memory, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(Errno(libc::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        fd: RawFd,
        dialogue: &Dialogue,
        scratch: &mut [u8],
        now_ns: impl Fn() -> u64,
    ) -> Next {
        loop {
            let room = dialogue.most_bytes.saturating_sub(self.response.len());
            if room == 0 {
                return Next::Ended(Ending::Full, None);
            }
            let len = room.min(scratch.len());
            let memory = WritableMemory { start: scratch.as_mut_ptr(), len };
            match sys::recv(fd, memory, libc::MSG_DONTWAIT) {
                Ok(0) if dialogue.until == Until::Close => {
                    return Next::Ended(Ending::Complete, None);
                }
                Ok(0) => return Next::Ended(Ending::Closed, None),
                Ok(count) => {
                    self.first_ns.get_or_insert_with(&now_ns);
                    let known = self.response.len();
                    self.response.extend_from_slice(scratch.get(..count).unwrap_or_default());
                    if self.is_enough(dialogue, known) {
                        return Next::Ended(Ending::Complete, None);
                    }
                }
                Err(Errno(libc::EINTR)) => {}
                Err(error) if error.would_block() => return Next::Wait,
                Err(error) => return Next::Ended(Ending::Broken, Some(error)),
            }
        }
    }

    /// Whether the response is complete, given how much of it was looked at before.
    fn is_enough(&mut self, dialogue: &Dialogue, known: usize) -> bool {
        match &dialogue.until {
            Until::Something => true,
            Until::Bytes(wanted) => {
                let is_enough = self.response.len() >= *wanted;
                self.response.truncate(*wanted);
                is_enough
            }
            Until::Delimiter(delimiter) => {
                let from = known.saturating_sub(delimiter.len().saturating_sub(1));
                let fresh = self.response.get(from..).unwrap_or_default();
                match fresh.windows(delimiter.len().max(1)).position(|part| part == delimiter) {
                    Some(at) => {
                        self.response.truncate(from + at + delimiter.len());
                        true
                    }
                    None => false,
                }
            }
            Until::Silence(_) | Until::Close => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn dialogue(until: Until) -> Dialogue {
        Dialogue { payload: b"ask".to_vec(), until, most_bytes: 1 << 20, timeout: Duration::MAX }
    }

    fn response(until: Until, pieces: &[&[u8]]) -> (Vec<u8>, Next) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (dialogue, mut talk) = (dialogue(until), Talk::default());
        assert_eq!(talk.go_on(ours.as_raw_fd(), &dialogue, &mut [0; 64], || 1), Next::Wait);
        theirs.read_exact(&mut [0; 3]).unwrap();
        for piece in pieces {
            theirs.write_all(piece).unwrap();
            match talk.go_on(ours.as_raw_fd(), &dialogue, &mut [0; 64], || 2) {
                Next::Wait => {}
                ended @ Next::Ended(..) => return (talk.response, ended),
            }
        }
        drop(theirs);
        let ended = talk.go_on(ours.as_raw_fd(), &dialogue, &mut [0; 64], || 3);
        (talk.response, ended)
    }

    #[test]
    fn a_response_ends_where_it_should() {
        let complete = || Next::Ended(Ending::Complete, None);
        let closed = || Next::Ended(Ending::Closed, None);
        let delimiter = || Until::Delimiter(b"\r\n".to_vec());
        for (until, pieces, expected) in [
            (Until::Something, &[b"ab".as_slice(), b"c"], (b"ab".to_vec(), complete())),
            (Until::Bytes(3), &[b"ab", b"cd"], (b"abc".to_vec(), complete())),
            (Until::Bytes(9), &[b"ab", b"cd"], (b"abcd".to_vec(), closed())),
            (delimiter(), &[b"ab\r", b"\ncd"], (b"ab\r\n".to_vec(), complete())),
            (delimiter(), &[b"ab\r", b"cd\n"], (b"ab\rcd\n".to_vec(), closed())),
            (Until::Close, &[b"ab", b"cd"], (b"abcd".to_vec(), complete())),
        ] {
            assert_eq!(response(until, pieces), expected);
        }
    }

    #[test]
    fn no_more_is_kept_than_asked_for() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"abcdef").unwrap();
        let dialogue = Dialogue { most_bytes: 4, ..dialogue(Until::Close) };
        let mut talk = Talk::default();
        let next = talk.go_on(ours.as_raw_fd(), &dialogue, &mut [0; 64], || 1);
        assert_eq!(
            (next, talk.response.as_slice()),
            (Next::Ended(Ending::Full, None), &b"abcd"[..])
        );
    }
}
