//! The far end of the rows that talk to another process, for the floor and for Python alike.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, Command, Stdio};
use std::{env, thread};

use crate::sys;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: floor\r\nContent-Type: text/plain\r\n\
Content-Length: 100\r\nConnection: keep-alive\r\n\r\n\
0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
const CHUNK_BYTES: usize = 256 * 1024;

/// A far end in a process of its own, which ends with this value.
pub struct FarEnd {
    process: Child,
    pub port: u16,
}

impl FarEnd {
    pub fn start(kind: &str, core: usize) -> io::Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(["far-end", kind, &core.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { process, port })
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Nothing can be done about a child that is gone already.
        self.process.wait().ok();
    }
}

/// Serves until standard input ends.
pub fn serve(kind: &str, core: usize) -> io::Result<()> {
    sys::pin(core)?;
    sys::give_way()?;
    match kind {
        "udp-echo" => serve_beside_input(udp_socket()?, |socket| echo_datagrams(&socket)),
        "tcp-echo" => answer(|request| request),
        "http" => answer(|_| RESPONSE),
        "source" => serve_beside_input(tcp_listener()?, |listener| {
            for_each_stream(&listener, |stream| {
                loop {
                    sys::send(&stream, &[b'x'; CHUNK_BYTES])?;
                }
            })
        }),
        "sink" => serve_beside_input(tcp_listener()?, |listener| {
            for_each_stream(&listener, |mut stream| {
                let mut buffer = vec![0; CHUNK_BYTES];
                while stream.read(&mut buffer)? > 0 {}
                Ok(())
            })
        }),
        _ => Err(io::Error::other(format!("no far end is called {kind}"))),
    }
}

fn tcp_listener() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    sys::end_at_once(&listener)?;
    println!("{}", listener.local_addr()?.port());
    Ok(listener)
}

fn udp_socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    println!("{}", socket.local_addr()?.port());
    Ok(socket)
}

/// Serves in a thread, and returns when standard input ends: the process goes, the thread with it.
fn serve_beside_input<S: Send + 'static>(
    socket: S,
    serve: impl FnOnce(S) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    thread::spawn(move || serve(socket));
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn echo_datagrams(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let (received, address) = sys::recvfrom(socket, &mut buffer)?;
        // Whoever asked may be gone: that is no reason not to answer the next.
        sys::sendto(socket, buffer.get(..received).unwrap_or_default(), &address).ok();
    }
}

fn for_each_stream(
    listener: &TcpListener,
    serve: impl Fn(TcpStream) -> io::Result<()> + Copy + Send + 'static,
) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        thread::spawn(move || serve(stream));
    }
}

/// Answers each piece that a connection brings, all connections in one thread: a program that
/// connects, asks once and closes would otherwise measure how long a thread takes to start.
fn answer(respond: for<'a> fn(&'a [u8]) -> &'a [u8]) -> io::Result<()> {
    let listener = tcp_listener()?;
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut ready = Vec::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let mut fds: Vec<RawFd> = vec![0, listener.as_raw_fd()];
        fds.extend(streams.iter().map(AsRawFd::as_raw_fd));
        sys::wait_readable(&fds, &mut ready)?;
        if ready.first() == Some(&true) {
            return Ok(());
        }
        let mut number = 2;
        streams.retain(|stream| {
            let is_ready = ready.get(number) == Some(&true);
            number += 1;
            !is_ready || answer_once(stream, respond, &mut buffer)
        });
        if ready.get(1) == Some(&true) {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
    }
}

/// Whether the connection is still there.
fn answer_once(
    stream: &TcpStream,
    respond: for<'a> fn(&'a [u8]) -> &'a [u8],
    buffer: &mut [u8],
) -> bool {
    match sys::recv(stream, buffer) {
        Ok(received) if received > 0 => {
            sys::send(stream, respond(buffer.get(..received).unwrap_or_default())).is_ok()
        }
        _ => false,
    }
}
