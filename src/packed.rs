//! Columns in a piece, of some rows of a table: to be put in another order, or sent to another process.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, make_array};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_data::transform::MutableArrayData;
use arrow_data::{ArrayData, ArrayDataBuilder};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{Error, Result};

/// A column as Python sends it: name, whether it may be missing, data.
pub type Column = (String, bool, Packed);

/// A column's data as Python sends it: type, length, which are there (a byte each), the buffers, and
/// those of a dictionary's values.
pub type Packed = (String, usize, Option<Vec<u8>>, Vec<Vec<u8>>, Vec<Nested>);

/// A dictionary's values: as a column's, with no further ones below.
pub type Nested = (String, usize, Option<Vec<u8>>, Vec<Vec<u8>>);

/// The types that measurements have, and their names.
fn types() -> [(&'static str, DataType); 13] {
    let dictionary = |key| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
    [
        ("int16", DataType::Int16),
        ("int32", DataType::Int32),
        ("int64", DataType::Int64),
        ("uint8", DataType::UInt8),
        ("uint16", DataType::UInt16),
        ("uint32", DataType::UInt32),
        ("uint64", DataType::UInt64),
        ("float64", DataType::Float64),
        ("utf8", DataType::Utf8),
        ("binary", DataType::Binary),
        ("time", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))),
        ("kinds", dictionary(DataType::UInt8)),
        ("texts", dictionary(DataType::UInt16)),
    ]
}

/// These rows of a table, in this order.
pub fn taken(schema: &SchemaRef, batches: &[RecordBatch], rows: &[usize]) -> Result<RecordBatch> {
    let ranges = rows.iter().map(|&row| row..row + 1);
    let columns = (0..schema.fields().len()).map(|at| gathered(batches, at, ranges.clone()));
    let arrays = columns.map(|data| Ok(make_array(data?))).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.clone(), arrays)?)
}

/// The batch with those dictionaries of another that are equal to its own: what has the same dictionary
/// can be put together without a larger one, for which the keys are too small.
pub fn with_dictionaries_of(batch: RecordBatch, model: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(model.columns()).map(|(array, model)| {
        match (array.as_any_dictionary_opt(), model.as_any_dictionary_opt()) {
            (Some(ours), Some(theirs)) if ours.values() == theirs.values() => {
                ours.with_values(Arc::clone(theirs.values()))
            }
            _ => Arc::clone(array),
        }
    });
    Ok(RecordBatch::try_new(model.schema(), columns.collect())?)
}

/// One column's values in some ranges of rows.
fn gathered(
    batches: &[RecordBatch],
    at: usize,
    ranges: impl ExactSizeIterator<Item = Range<usize>>,
) -> Result<ArrayData> {
    let parts: Vec<ArrayData> =
        batches.iter().filter_map(|batch| Some(batch.columns().get(at)?.to_data())).collect();
    let mut before = Vec::with_capacity(parts.len());
    let mut sum = 0;
    for part in &parts {
        before.push(sum);
        sum += part.len();
    }
    let mut all = MutableArrayData::new(parts.iter().collect(), false, ranges.len());
    for rows in ranges {
        let mut first = rows.start;
        while first < rows.end.min(sum) {
            let part = before.partition_point(|&before| before <= first).saturating_sub(1);
            let (Some(&start), Some(data)) = (before.get(part), parts.get(part)) else { break };
            let last = rows.end.min(start + data.len());
            all.try_extend(part, first - start, last - start)?;
            first = last;
        }
    }
    Ok(all.freeze())
}

/// The columns of some rows, as `batch` takes them.
pub fn columns<'py>(
    py: Python<'py>,
    schema: &Schema,
    batches: &[RecordBatch],
    rows: Range<usize>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let mut columns = Vec::new();
    for (at, field) in schema.fields().iter().enumerate() {
        let data = gathered(batches, at, std::iter::once(rows.clone()))?;
        let name = type_name(data.data_type())?;
        let children = data.child_data().iter().map(|child| {
            let name = type_name(child.data_type())?;
            Ok((name, child.len(), presence(py, child), buffers(py, child)))
        });
        let children = children.collect::<PyResult<Vec<_>>>()?;
        let packed = (name, data.len(), presence(py, &data), buffers(py, &data), children);
        let column = (field.name(), field.is_nullable(), packed);
        columns.push(column.into_pyobject(py)?.into_any());
    }
    Ok(columns)
}

fn type_name(wanted: &DataType) -> Result<&'static str> {
    let found = types().into_iter().find(|(_, known)| known == wanted);
    found
        .map(|(name, _)| name)
        .ok_or_else(|| Error::ValueMessage(format!("no columns of {wanted}")))
}

fn presence<'py>(py: Python<'py>, data: &ArrayData) -> Option<Bound<'py, PyBytes>> {
    let nulls = data.nulls()?;
    let bytes: Vec<u8> = nulls.iter().map(u8::from).collect();
    Some(PyBytes::new(py, &bytes))
}

fn buffers<'py>(py: Python<'py>, data: &ArrayData) -> Vec<Bound<'py, PyBytes>> {
    data.buffers().iter().map(|buffer| PyBytes::new(py, buffer.as_slice())).collect()
}

/// The columns that `columns` packed. Everything is checked: it may come from anywhere.
pub fn batch(columns: Vec<Column>) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays = Vec::with_capacity(columns.len());
    for (name, is_nullable, (kind, len, present, buffers, children)) in columns {
        let mut builder = builder(&kind, len, present, buffers)?;
        for (kind, len, present, buffers) in children {
            builder = builder.add_child_data(self::builder(&kind, len, present, buffers)?.build()?);
        }
        let data = builder.build()?;
        fields.push(Field::new(name, data.data_type().clone(), is_nullable));
        arrays.push(make_array(data));
    }
    let schema = Schema::new_with_metadata(fields, HashMap::new());
    Ok(RecordBatch::try_new(Arc::new(schema), arrays)?)
}

fn builder(
    kind: &str,
    len: usize,
    present: Option<Vec<u8>>,
    buffers: Vec<Vec<u8>>,
) -> Result<ArrayDataBuilder> {
    let Some((_, data_type)) = types().into_iter().find(|(name, _)| *name == kind) else {
        return Err(Error::ValueMessage(format!("no columns of {kind}")));
    };
    let nulls = present.map(|bytes| bytes.iter().map(|&byte| byte != 0).collect::<Vec<_>>());
    Ok(ArrayDataBuilder::new(data_type)
        .len(len)
        .nulls(nulls.map(NullBuffer::from))
        .buffers(buffers.into_iter().map(Buffer::from_vec).collect())
        .align_buffers(true))
}
