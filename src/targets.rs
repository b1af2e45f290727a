//! Targets as Python gives them: texts, one after the other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use rsnet_core::engine::targets::{Malformed, Targets, Wanted};

use crate::errors::{Error, Result};

/// What is to be asked.
#[pyclass(frozen, module = "rsnet._rsnet", name = "Targets")]
pub struct GivenTargets(Mutex<Wanted>);

impl GivenTargets {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was given so far, in the order of a seed.
    pub fn settled(&self, seed: u64) -> Result<Targets> {
        let wanted = self.wanted();
        if wanted.lacks_ports() {
            return Err(Error::Value(
                "no ports: give ports=, or targets with ports of their own, as in 'host:80'",
            ));
        }
        Ok(wanted.clone().targets(seed))
    }
}

impl From<Malformed> for Error {
    fn from(error: Malformed) -> Self {
        Self::ValueMessage(format!("{:?}: {}", error.item, error.why))
    }
}

#[pymethods]
impl GivenTargets {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// Adds a host, a range or a network, with ports or without.
    fn add(&self, text: &str) -> PyResult<()> {
        Ok(self.wanted().add(text).map_err(Error::from)?)
    }

    /// Adds hosts with ports of their own.
    fn add_pair(&self, host: &str, ports: &str) -> PyResult<()> {
        Ok(self.wanted().add_pair(host, ports).map_err(Error::from)?)
    }

    /// Leaves hosts out.
    fn exclude(&self, text: &str) -> PyResult<()> {
        Ok(self.wanted().exclude(text).map_err(Error::from)?)
    }

    /// Adds to the ports of all hosts without ports of their own.
    fn add_ports(&self, text: &str) -> PyResult<()> {
        Ok(self.wanted().add_ports(text).map_err(Error::from)?)
    }

    /// Where the rows of the targets are, one after the other, in the rows of all the parts of a run,
    /// each in the targets' order.
    fn places(&self, seed: u64, count: u64, shards: u64) -> PyResult<Vec<u64>> {
        let targets = self.settled(seed)?;
        let step = usize::try_from(shards).unwrap_or(usize::MAX).max(1);
        let mut numbers = Vec::new();
        for shard in 0..shards {
            let of_part = (shard..count).step_by(step).map(|position| targets.number_at(position));
            let mut of_part: Vec<u128> = of_part.collect();
            of_part.sort_unstable();
            numbers.extend(of_part);
        }
        let mut places: Vec<u64> = (0..count).collect();
        let number_at = |place: &u64| numbers.get(usize::try_from(*place).ok()?).copied();
        places.sort_by_key(number_at);
        Ok(places)
    }

    /// How many targets there are.
    fn count(&self) -> PyResult<u128> {
        Ok(self.settled(0)?.len())
    }
}
