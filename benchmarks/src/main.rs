//! The floor of the scoreboard: the same system calls as rsnet makes, in the same order, without
//! Python. `python -m rsnet bench --floor PATH` starts it as it starts its Python workers, and talks
//! to it in the same way: a line with the size of a round in, a line of JSON with its figures out.
//!
//!     rsnet-floor worker WORKLOAD CORE FAR_CORE
//!     rsnet-floor far-end KIND CORE
//!
//! A far end prints its port and serves until its standard input ends.
#![allow(clippy::print_stdout, reason = "what a round took is what this program is asked for")]
#![allow(clippy::print_stderr, reason = "a program says why it ends")]

mod batches;
mod bulk;
mod calls;
mod clients;
mod far_end;
mod round;
mod sys;

use std::env;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use round::Workload;

/// Where the processes of a workload run.
#[derive(Clone, Copy)]
pub struct Cores {
    /// The core that is measured.
    pub near: usize,
    /// The other one, for a far end that should run at the same time.
    pub far: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["worker", workload, near, far] => work(workload, near, far),
        ["--version"] => say(concat!("rsnet-floor ", env!("CARGO_PKG_VERSION"))),
        ["far-end", kind, core] => number(core).and_then(|core| far_end::serve(kind, core)),
        _ => Err(io::Error::other(
            "usage: rsnet-floor worker WORKLOAD CORE FAR_CORE | far-end KIND CORE",
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rsnet-floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(io::Error::other)
}

fn work(name: &str, near: &str, far: &str) -> io::Result<()> {
    let cores = Cores { near: number(near)?, far: number(far)? };
    sys::pin(cores.near)?;
    sys::allow_tracing()?;
    let Some(mut workload) = open(name, cores)? else {
        return say(&format!("{{\"missing\": \"the floor of {name}\"}}"));
    };
    say("{\"ready\": true}")?;
    for line in io::stdin().lock().lines() {
        let round = workload.round(number(line?.trim())?)?;
        say(&round.to_json())?;
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The workload of that name, ready for its rounds; none for a name that only Python has.
fn open(name: &str, cores: Cores) -> io::Result<Option<Box<dyn Workload>>> {
    Ok(Some(match name {
        "recv-tcp" | "recv-tcp-timeout" => Box::new(calls::Ready::tcp()?),
        "recv-unix-timeout" => Box::new(calls::Ready::unix()?),
        "recv-256k" => Box::new(calls::LargeRecv::unix()?),
        "recv-256k-tcp" => Box::new(calls::LargeRecv::tcp()?),
        "pair-unix" => Box::new(calls::Pair::open()?),
        "udp-self" | "udp-self-timeout" => Box::new(calls::UdpSelf::open()?),
        "tcp-client" => Box::new(clients::Tcp::open(cores, false)?),
        "tcp-client-timeout" => Box::new(clients::Tcp::open(cores, true)?),
        "udp-client" => Box::new(clients::Udp::open(cores, false)?),
        "udp-client-timeout" => Box::new(clients::Udp::open(cores, true)?),
        "create-connection" => Box::new(clients::CreateConnection),
        "accept" => Box::new(clients::Accept),
        "sendmmsg-one" => Box::new(batches::Send::addressed(&[64])?),
        "sendmmsg-64" => Box::new(batches::Send::plain(&batches::unequal_sizes())?),
        "sendmmsg-64-addressed" => Box::new(batches::Send::addressed(&batches::unequal_sizes())?),
        "sendmmsg-64-segmented" => Box::new(batches::Send::segmented(64, 128)?),
        "sendmmsg-1200-segmented" => Box::new(batches::Send::segmented(1200, 54)?),
        "recvmmsg-64" => Box::new(batches::Receive::open()?),
        "recvmmsg-64-offload" => Box::new(batches::Offload::open(64, 64)?),
        "recvmmsg-1200-offload" => Box::new(batches::Offload::open(1200, 54)?),
        "sendall-bulk" => Box::new(bulk::Sendall::open(cores)?),
        "recv-into-bulk" => Box::new(bulk::RecvInto::open(cores)?),
        _ => return Ok(None),
    }))
}
