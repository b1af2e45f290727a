//! The far end of measurements, as Python starts and stops it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use rsnet_core::reflector;

use crate::call;
use crate::errors::Error;

/// A reflector that runs until it is stopped.
#[pyclass(frozen, module = "rsnet._rsnet")]
pub struct Reflector {
    running: Mutex<Option<reflector::Reflector>>,
    echo: SocketAddr,
    stamp: SocketAddr,
    counts: Arc<reflector::Counts>,
}

#[pymethods]
impl Reflector {
    #[new]
    #[pyo3(signature = (host, echo_port, stamp_port, rate))]
    fn new(
        py: Python<'_>,
        host: &str,
        echo_port: u16,
        stamp_port: u16,
        rate: f64,
    ) -> PyResult<Self> {
        let Ok(host) = host.parse() else {
            return Err(Error::ValueMessage(format!("{host:?} is no address")).into());
        };
        let (echo, stamp) = (SocketAddr::new(host, echo_port), SocketAddr::new(host, stamp_port));
        let running =
            call::without_interpreter(py, || reflector::Reflector::start(echo, stamp, rate));
        let running = running.map_err(Error::from)?;
        let (echo, stamp) = (running.echo(), running.stamp());
        let counts = Arc::clone(running.counts());
        Ok(Self { running: Mutex::new(Some(running)), echo, stamp, counts })
    }

    #[getter]
    fn echo(&self) -> (String, u16) {
        (self.echo.ip().to_string(), self.echo.port())
    }

    #[getter]
    fn stamp(&self) -> (String, u16) {
        (self.stamp.ip().to_string(), self.stamp.port())
    }

    /// Datagrams received, answered and refused so far.
    fn counts(&self) -> (u64, u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.counts.received), of(&self.counts.answered), of(&self.counts.refused))
    }

    /// Stops it; once is enough.
    fn stop(&self, py: Python<'_>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        call::without_interpreter(py, || drop(running));
    }
}
