//! udp.ping: probes as columns, and what they come to.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{
    ArrayRef, Int16Array, Int64Array, RecordBatch, TimestampNanosecondArray, UInt32Array,
};
use pyo3::prelude::*;
use rsnet_core::delay;
use rsnet_core::engine::ping::{self, Plan, Probe};
use rsnet_core::errno::Errno;

use crate::call;
use crate::columns::{Texts, kinds};
use crate::errors::{Error, Result};
use crate::table::Table;

/// The states of probes, in the order of their numbers.
const STATES: [&str; 4] = ["received", "lost", "late", "error"];
const RECEIVED: u8 = 0;
const LOST: u8 = 1;
const LATE: u8 = 2;
const ERROR: u8 = 3;

/// What all probes come to: names and numbers, for the metadata.
type Totals = Vec<(&'static str, Option<f64>)>;

/// Sends probes by UDP and waits for what comes back.
///
/// Returns the table, the totals, and the exception that ended it early, if one did.
#[pyfunction]
#[pyo3(signature = (host, port, count, interval_ns, timeout_ns, payload_bytes, poisson_seed, source, progress))]
#[allow(clippy::too_many_arguments, reason = "plain values that Python has checked")]
pub fn udp_ping(
    py: Python<'_>,
    host: &str,
    port: u16,
    count: u32,
    interval_ns: u64,
    timeout_ns: u64,
    payload_bytes: usize,
    poisson_seed: Option<u64>,
    source: Option<String>,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Table, Totals, Option<PyErr>)> {
    let source = source.map(|source| address(&source, 0)).transpose()?;
    let plan = Plan {
        peer: address(host, port)?,
        count,
        interval: Duration::from_nanos(interval_ns),
        poisson_seed,
        timeout: Duration::from_nanos(timeout_ns),
        payload_bytes,
        source,
    };
    let (probes, raised) = call::without_interpreter(py, || {
        let mut raised = None;
        let probes = ping::run(&plan, &mut |done| {
            let looked = call::look_in(|py| match &progress {
                Some(progress) => progress.call1(py, (done, count)).map(drop),
                None => Ok(()),
            });
            match looked {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    raised = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        (probes, raised)
    });
    let probes = probes.map_err(Error::from)?;
    let states: Vec<u8> = probes.iter().map(|probe| state(probe, timeout_ns)).collect();
    let table = Table::new(columns(&probes, &states)?);
    Ok((table, totals(&probes, &states), raised))
}

/// A literal address, as the Python function has resolved it.
fn address(host: &str, port: u16) -> Result<SocketAddr> {
    let text =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    text.parse().map_err(|_| Error::ValueMessage(format!("{host:?} is no address")))
}

fn state(probe: &Probe, timeout_ns: u64) -> u8 {
    match (probe.rtt_ns, probe.errno) {
        (Some(rtt_ns), _) if rtt_ns <= timeout_ns => RECEIVED,
        (Some(_), _) => LATE,
        (None, 0) => LOST,
        (None, _) => ERROR,
    }
}

/// The times of the replies that came in time.
fn rtts_in_time(probes: &[Probe], states: &[u8]) -> Vec<Option<u64>> {
    let both = probes.iter().zip(states);
    both.map(|(probe, &state)| probe.rtt_ns.filter(|_| state == RECEIVED)).collect()
}

/// The numbers of the probes in the order in which the replies came.
fn arrivals(probes: &[Probe]) -> Vec<u32> {
    let mut order: Vec<(u32, u32)> =
        (0..).zip(probes).filter_map(|(number, probe)| Some((probe.arrival?, number))).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, number)| number).collect()
}

fn totals(probes: &[Probe], states: &[u8]) -> Totals {
    let count = |wanted: u8| states.iter().filter(|&&state| state == wanted).count() as f64;
    let sent = probes.len() as f64;
    let extents = delay::reorder_extents(&arrivals(probes));
    let numbered: Vec<(u32, u32)> = (0..)
        .zip(probes)
        .filter_map(|(number, probe)| Some((number, probe.reflector_sequence?)))
        .collect();
    let by_direction = delay::lost_by_direction(&numbered);
    let missing = count(LOST) + count(LATE);
    let duplicates: u32 = probes.iter().map(|probe| probe.copies.saturating_sub(1)).sum();
    vec![
        ("sent", Some(sent)),
        ("received", Some(count(RECEIVED))),
        ("lost", Some(count(LOST))),
        ("late", Some(count(LATE))),
        ("errors", Some(count(ERROR))),
        ("loss_ratio", (sent > 0.0).then(|| missing / sent)),
        ("lost_forward", by_direction.map(|(forward, _)| forward.into())),
        ("lost_backward", by_direction.map(|(_, backward)| backward.into())),
        ("duplicates", Some(duplicates.into())),
        ("reordered", Some(extents.iter().filter(|&&extent| extent > 0).count() as f64)),
        ("reorder_extent", Some(extents.iter().copied().max().unwrap_or(0).into())),
        ("jitter_ns", delay::jitter_ns(&delay::ipdv_ns(&rtts_in_time(probes, states)))),
    ]
}

fn columns(probes: &[Probe], states: &[u8]) -> Result<RecordBatch> {
    let integers = |get: &dyn Fn(&Probe) -> Option<i64>| -> ArrayRef {
        Arc::new(Int64Array::from_iter(probes.iter().map(get)))
    };
    let of_ns = |ns: u64| i64::try_from(ns).ok();
    let rtts = rtts_in_time(probes, states);
    let mut errors = Texts::default();
    for probe in probes {
        match probe.errno {
            0 => errors.push(None),
            errno => errors.push_errno(Errno(errno)),
        }
    }
    let errno = probes.iter().map(|probe| i16::try_from(probe.errno).ok().filter(|&n| n != 0));
    let extents = extents_by_probe(probes);
    let time = probes.iter().map(|probe| probe.sent_wall_ns);
    let time = TimestampNanosecondArray::from_iter_values(time).with_timezone("UTC");
    let clocks = probes.iter().map(|probe| probe.rtt_ns.map(|_| u8::from(!probe.has_kernel_time)));
    let count = u32::try_from(probes.len()).unwrap_or(u32::MAX);
    let late_ns = |probe: &Probe| of_ns(probe.sent_ns.saturating_sub(probe.due_ns));
    let states = states.iter().map(|&state| Some(state)).collect();
    Ok(RecordBatch::try_from_iter_with_nullable(vec![
        ("sequence", Arc::new(UInt32Array::from_iter_values(0..count)) as ArrayRef, false),
        ("state", kinds(states, &STATES)?, false),
        ("rtt_ns", integers(&|probe| probe.rtt_ns.and_then(of_ns)), true),
        ("forward_ns", integers(&|probe| probe.forward_ns), true),
        ("backward_ns", integers(&|probe| probe.backward_ns), true),
        ("ipdv_ns", Arc::new(Int64Array::from(delay::ipdv_ns(&rtts))), true),
        ("pdv_ns", Arc::new(Int64Array::from(delay::pdv_ns(&rtts))), true),
        ("send_late_ns", integers(&late_ns), true),
        ("copies", Arc::new(UInt32Array::from_iter_values(probes.iter().map(|p| p.copies))), false),
        ("reorder_extent", Arc::new(UInt32Array::from(extents)), true),
        ("errno", Arc::new(Int16Array::from_iter(errno)), true),
        ("error", errors.finish()?, true),
        ("clock", kinds(clocks.collect(), &["kernel", "user"])?, true),
        ("time", Arc::new(time), false),
    ])?)
}

fn extents_by_probe(probes: &[Probe]) -> Vec<Option<u32>> {
    let extents = delay::reorder_extents(&arrivals(probes));
    let of_probe = |probe: &Probe| extents.get(probe.arrival? as usize).copied();
    probes.iter().map(of_probe).collect()
}
