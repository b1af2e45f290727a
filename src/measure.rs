//! Many questions in one call, and their answers as columns.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rsnet_core::engine::clients::{self, Plan};
use rsnet_core::engine::dialogue::{Dialogue, Until};
use rsnet_core::engine::rows::{Rows, Tally};
use rsnet_core::engine::targets::Targets;

use crate::call;
use crate::columns::{Answers, columns};
use crate::errors::Error;
use crate::table::Table;
use crate::targets::GivenTargets;

/// Which targets of a run, and whom to tell of its progress.
struct Part {
    targets: Targets,
    shard: u64,
    shards: u64,
    count: u64,
}

impl Part {
    fn positions(&self) -> impl Iterator<Item = u64> {
        // Every `shards`-th: a part of a random order is a random part.
        let step = usize::try_from(self.shards).unwrap_or(usize::MAX).max(1);
        (self.shard..self.count).step_by(step)
    }

    fn len(&self) -> u64 {
        self.count.saturating_sub(self.shard).div_ceil(self.shards.max(1))
    }

    fn rounds(&self) -> u64 {
        self.targets.round_at(self.count.saturating_sub(1)).saturating_add(1)
    }
}

/// Asks targets by TCP: connects, says something if there is something to say, listens for the
/// answer.
///
/// Returns the table, and the exception that ended the run early, if one did.
#[pyfunction]
#[pyo3(signature = (given, settings, progress))]
pub fn tcp_clients(
    py: Python<'_>,
    given: &GivenTargets,
    settings: &Bound<'_, PyDict>,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Table, Option<PyErr>)> {
    let plan = plan(settings)?;
    let part = part(given, settings)?;
    let answers = match &plan.dialogue {
        None => Answers::None,
        Some(dialogue) if dialogue.until == Until::Something => Answers::Banners,
        Some(_) => Answers::Dialogues,
    };
    let all = part.len();
    let started_ns = since_epoch_ns();
    let mut rows = Rows::default();
    let (ended, raised) = call::without_interpreter(py, || {
        let mut raised = None;
        let mut watch = |tally: Tally| {
            let looked = call::look_in(|py| match &progress {
                Some(progress) => progress.call1(py, (tally.done(), all)).map(drop),
                None => Ok(()),
            });
            match looked {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    raised = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let ended = clients::run(&part.targets, part.positions(), &plan, &mut rows, &mut watch);
        let targets = &part.targets;
        let rounds = part.rounds();
        rows.sort_by_place(|row| {
            let number = targets.number_at(row.position).saturating_mul(rounds.into());
            number.saturating_add(targets.round_at(row.position).into())
        });
        (ended, raised)
    });
    ended.map_err(Error::from)?;
    let batch = call::without_interpreter(py, || {
        columns(&part.targets, &rows, started_ns, answers, plan.every)
    })?;
    let table = Table::new(batch);
    let raised = match (&raised, &progress) {
        // The last word, so that a bar ends where it should.
        (None, Some(progress)) => progress.call1(py, (rows.tally().done(), all)).err(),
        _ => raised,
    };
    Ok((table, raised))
}

fn since_epoch_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

// Settings. The Python functions have checked them, and said in their own words what is wrong.

fn setting<'py, T: for<'a> FromPyObject<'a, 'py, Error = PyErr>>(
    settings: &Bound<'py, PyDict>,
    name: &str,
) -> PyResult<Option<T>> {
    match settings.get_item(name)? {
        Some(value) if !value.is_none() => value.extract().map(Some),
        _ => Ok(None),
    }
}

fn seconds(settings: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<Duration>> {
    let longest = Duration::from_secs(u64::from(u32::MAX));
    let seconds: Option<f64> = setting(settings, name)?;
    Ok(seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or(longest).min(longest)))
}

fn plan(settings: &Bound<'_, PyDict>) -> PyResult<Plan> {
    let source: Option<String> = setting(settings, "source")?;
    let interface: Option<String> = setting(settings, "interface")?;
    Ok(Plan {
        timeout: seconds(settings, "timeout")?.unwrap_or(Duration::MAX),
        concurrency: setting(settings, "concurrency")?.unwrap_or(1),
        rate: setting(settings, "rate")?,
        retries: setting(settings, "retries")?.unwrap_or(0),
        every: seconds(settings, "every")?,
        dialogue: dialogue(settings)?,
        source: match source {
            Some(text) => match text.parse::<IpAddr>() {
                Ok(address) => Some(address),
                Err(_) => return Err(Error::ValueMessage(format!("{text:?} is no address")).into()),
            },
            None => None,
        },
        interface: interface.map(String::into_bytes),
    })
}

fn dialogue(settings: &Bound<'_, PyDict>) -> PyResult<Option<Dialogue>> {
    let Some(most_bytes) = setting(settings, "most_bytes")? else { return Ok(None) };
    let until = if let Some(count) = setting(settings, "until_bytes")? {
        Until::Bytes(count)
    } else if let Some(delimiter) = setting(settings, "until_delimiter")? {
        Until::Delimiter(delimiter)
    } else if let Some(silence) = seconds(settings, "until_silence")? {
        Until::Silence(silence)
    } else if setting(settings, "until_close")?.unwrap_or(false) {
        Until::Close
    } else {
        Until::Something
    };
    Ok(Some(Dialogue {
        payload: setting(settings, "payload")?.unwrap_or_default(),
        until,
        most_bytes,
        timeout: seconds(settings, "response_timeout")?.unwrap_or(Duration::MAX),
    }))
}

fn part(given: &GivenTargets, settings: &Bound<'_, PyDict>) -> PyResult<Part> {
    let targets = given.settled(setting(settings, "seed")?.unwrap_or(0))?;
    let most: u64 = setting(settings, "most_targets")?.unwrap_or(u64::MAX);
    let rounds: u64 = setting(settings, "rounds")?.unwrap_or(1);
    let count = u64::try_from(targets.len()).unwrap_or(u64::MAX).min(most).saturating_mul(rounds);
    let shards = setting(settings, "shards")?.unwrap_or(1);
    Ok(Part { targets, count, shard: setting(settings, "shard")?.unwrap_or(0), shards })
}
