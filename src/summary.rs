//! The distributions of a table's times.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt8Type};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow_schema::DataType;
use rsnet_core::stats::Distribution;

use crate::errors::{Error, Result};

/// A column's values in the rows of one state, or in all.
struct Line {
    state: Option<String>,
    metric: String,
    /// Rows, whether they have a value or not.
    rows: u64,
    values: Numbers,
}

/// What a distribution comes to.
#[derive(Default)]
struct Numbers {
    count: u64,
    min: Option<i64>,
    quantiles: [Option<i64>; QUANTILES.len()],
    max: Option<i64>,
    mean: Option<f64>,
    stddev: Option<f64>,
}

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

/// One row for each state and column of nanoseconds that has values; a state without any has one of
/// its own.
pub fn summary(batches: &[RecordBatch]) -> Result<RecordBatch> {
    let states = counts(batches, "state");
    let names: Vec<Option<String>> = match states.is_empty() {
        true => vec![None],
        false => states.iter().map(|(state, _)| Some(state.clone())).collect(),
    };
    let mut lines = Vec::new();
    for (at, state) in names.into_iter().enumerate() {
        let rows = states.get(at).map_or_else(
            || batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            |(_, count)| *count,
        );
        let before = lines.len();
        for metric in metrics(batches) {
            let values = numbers(values(batches, &metric, state.as_deref()))?;
            if values.count > 0 {
                lines.push(Line { state: state.clone(), metric, rows, values });
            }
        }
        if lines.len() == before {
            let values = Numbers::default();
            lines.push(Line { state, metric: String::new(), rows, values });
        }
    }
    table(&lines)
}

/// The values of a column of few kinds, and how many rows have each; none without such a column.
pub fn counts(batches: &[RecordBatch], name: &str) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = Vec::new();
    for batch in batches {
        let Some((keys, names)) = batch.column_by_name(name).and_then(kinds) else {
            continue;
        };
        for (at, name) in names.iter().enumerate() {
            let count = keys.iter().filter(|key| **key == Some(at)).count() as u64;
            match counts.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += count,
                None => counts.push((name.clone(), count)),
            }
        }
    }
    counts.retain(|(_, count)| *count > 0);
    counts
}

/// Which kind each row is of, and the kinds' names.
fn kinds(array: &ArrayRef) -> Option<(Vec<Option<usize>>, Vec<String>)> {
    let dictionary = array.as_any_dictionary_opt()?;
    let keys = dictionary.keys().as_primitive_opt::<UInt8Type>()?;
    let names = dictionary.values().as_string_opt::<i32>()?;
    let keys = keys.iter().map(|key| key.map(usize::from)).collect();
    Some((keys, names.iter().map(|name| name.unwrap_or_default().to_owned()).collect()))
}

fn metrics(batches: &[RecordBatch]) -> Vec<String> {
    let Some(batch) = batches.first() else { return Vec::new() };
    let schema = batch.schema();
    let fields = schema.fields().iter();
    let timed = fields
        .filter(|field| field.name().ends_with("_ns") && field.data_type() == &DataType::Int64);
    timed.map(|field| field.name().clone()).collect()
}

/// A column's values in the rows of one state, or in all.
fn values(batches: &[RecordBatch], metric: &str, state: Option<&str>) -> Vec<i64> {
    let mut found = Vec::new();
    for batch in batches {
        let Some(values) =
            batch.column_by_name(metric).and_then(|array| array.as_primitive_opt::<Int64Type>())
        else {
            continue;
        };
        let of_state = state.and_then(|state| {
            let (keys, names) = kinds(batch.column_by_name("state")?)?;
            let wanted = names.iter().position(|name| name == state);
            Some((keys, wanted))
        });
        let is_asked = |row: usize| {
            of_state.as_ref().is_none_or(|(keys, wanted)| {
                wanted.is_some() && keys.get(row).copied().flatten() == *wanted
            })
        };
        let rows = values.iter().enumerate();
        found.extend(rows.filter(|(row, _)| is_asked(*row)).filter_map(|(_, value)| value));
    }
    found
}

/// A histogram knows nothing below zero: it counts from the smallest value.
fn numbers(values: Vec<i64>) -> Result<Numbers> {
    let base = values.iter().copied().min().unwrap_or(0).min(0);
    let mut found = Distribution::new().ok_or(Error::Memory)?;
    values.iter().for_each(|&value| found.add(value.abs_diff(base)));
    let shifted = |value: u64| i64::try_from(i128::from(value) + i128::from(base)).ok();
    Ok(Numbers {
        count: found.count(),
        min: found.min().and_then(shifted),
        quantiles: QUANTILES.map(|(_, share)| found.quantile(share).and_then(shifted)),
        max: found.max().and_then(shifted),
        mean: found.mean().map(|mean| mean + base as f64),
        stddev: found.stddev(),
    })
}

fn table(lines: &[Line]) -> Result<RecordBatch> {
    let integers = |get: &dyn Fn(&Numbers) -> Option<i64>| -> ArrayRef {
        Arc::new(Int64Array::from_iter(lines.iter().map(|line| get(&line.values))))
    };
    let floats = |get: &dyn Fn(&Numbers) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(lines.iter().map(|line| get(&line.values))))
    };
    let count = lines.iter().map(|line| match line.values.count {
        0 => line.rows,
        count => count,
    });
    let state = StringArray::from_iter(lines.iter().map(|line| line.state.as_deref()));
    let metric = lines.iter().map(|line| (!line.metric.is_empty()).then_some(&line.metric));
    let mut columns: Vec<(&str, ArrayRef, bool)> = Vec::new();
    if lines.iter().any(|line| line.state.is_some()) {
        columns.push(("state", Arc::new(state), true));
    }
    columns.push(("metric", Arc::new(StringArray::from_iter(metric)), true));
    columns.push(("count", Arc::new(UInt64Array::from_iter_values(count)), false));
    columns.push(("min", integers(&|values| values.min), true));
    for (at, (name, _)) in QUANTILES.into_iter().enumerate() {
        columns.push((name, integers(&|values| values.quantiles.get(at).copied().flatten()), true));
    }
    columns.push(("max", integers(&|values| values.max), true));
    columns.push(("mean", floats(&|values| values.mean), true));
    columns.push(("stddev", floats(&|values| values.stddev), true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
