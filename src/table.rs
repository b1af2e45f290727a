//! Columns of a measurement as Python has them: Arrow's, which pandas, polars, pyarrow and DuckDB take
//! over without a copy.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::types::{
    Float64Type, Int16Type, Int32Type, Int64Type, TimestampNanosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch, RecordBatchIterator};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef, TimeUnit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyCapsule, PyList, PyTuple};

use crate::errors::{Error, Result};
use crate::{packed, summary};

/// Columns with names and types, in pieces: at least one, if an empty one.
#[pyclass(frozen, module = "rsnet._rsnet")]
pub struct Table {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Table {
    /// One piece.
    pub fn new(batch: RecordBatch) -> Self {
        Self { schema: batch.schema(), batches: vec![batch] }
    }

    fn with_schema(&self, schema: Schema) -> Result<Self> {
        let schema = Arc::new(schema);
        let batches = self.batches.iter().map(|batch| batch.clone().with_schema(schema.clone()));
        Ok(Self { batches: batches.collect::<std::result::Result<_, _>>()?, schema })
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Self::ValueMessage(error.to_string())
    }
}

#[pymethods]
impl Table {
    fn __len__(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The columns' names.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    /// What is known of all rows together.
    #[getter]
    fn metadata(&self) -> HashMap<String, String> {
        let entries = self.schema.metadata().iter();
        entries.map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    /// How many bytes the columns take.
    #[getter]
    fn nbytes(&self) -> usize {
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum()
    }

    /// The same columns with other metadata.
    fn with_metadata(&self, metadata: HashMap<String, String>) -> PyResult<Self> {
        Ok(self.with_schema(self.schema.as_ref().clone().with_metadata(metadata))?)
    }

    /// Rows from one number to another, without a copy.
    fn slice(&self, start: usize, stop: usize) -> Self {
        let mut batches = Vec::new();
        let mut before = 0;
        for batch in &self.batches {
            let (first, last) = (start.max(before), stop.min(before + batch.num_rows()));
            if first < last {
                batches.push(batch.slice(first - before, last - first));
            }
            before += batch.num_rows();
        }
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(self.schema.clone()));
        }
        Self { schema: self.schema.clone(), batches }
    }

    /// These rows, in this order.
    fn take(&self, rows: Vec<usize>) -> PyResult<Self> {
        Ok(Self::new(packed::taken(&self.schema, &self.batches, &rows)?))
    }

    /// The values of a column of few kinds, and how many rows have each.
    fn counts(&self, name: &str) -> Vec<(String, u64)> {
        summary::counts(&self.batches, name)
    }

    /// The distributions of the columns of nanoseconds.
    fn summary(&self) -> PyResult<Self> {
        Ok(Self::new(summary::summary(&self.batches)?))
    }

    /// The values of one column.
    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for batch in &self.batches {
            if let Some(array) = batch.column_by_name(name) {
                for row in 0..array.len() {
                    list.append(value(py, array.as_ref(), row)?)?;
                }
            }
        }
        Ok(list)
    }

    /// Rows from one number to another, as tuples.
    fn rows<'py>(
        &self,
        py: Python<'py>,
        start: usize,
        stop: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for batch in self.slice(start, stop).batches {
            for row in 0..batch.num_rows() {
                let fields = batch.columns().iter().map(|array| value(py, array.as_ref(), row));
                list.append(PyTuple::new(py, fields.collect::<PyResult<Vec<_>>>()?)?)?;
            }
        }
        Ok(list)
    }

    /// The Arrow PyCapsule interface: a stream of the pieces.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface lets a producer give its own types.
        drop(requested_schema);
        let pieces = self.batches.clone().into_iter().map(Ok);
        let reader = RecordBatchIterator::new(pieces, self.schema.clone());
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// What `Table.of_state` makes the same table of: for other processes.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let rows = 0..self.__len__();
        let columns = packed::columns(py, &self.schema, &self.batches, rows)?;
        (self.metadata(), columns).into_pyobject(py)
    }

    /// The table that `state` was taken of.
    #[staticmethod]
    fn of_state(metadata: HashMap<String, String>, columns: Vec<packed::Column>) -> PyResult<Self> {
        Self::new(packed::batch(columns)?).with_metadata(metadata)
    }

    /// The rows of several tables with the same columns, one after the other.
    #[staticmethod]
    fn joined(tables: Vec<PyRef<'_, Self>>) -> PyResult<Self> {
        let mut every = tables.iter().flat_map(|table| table.batches.iter().cloned());
        let Some(first) = every.next() else {
            return Err(Error::Value("no tables to join").into());
        };
        let names = |batch: &RecordBatch| -> Vec<(String, DataType)> {
            let schema = batch.schema();
            let fields = schema.fields().iter();
            fields.map(|field| (field.name().clone(), field.data_type().clone())).collect()
        };
        let mut batches = vec![first];
        for batch in every {
            let Some(model) = batches.first() else { break };
            if names(&batch) != names(model) {
                return Err(Error::Value("the tables have different columns").into());
            }
            let batch = packed::with_dictionaries_of(batch, model)?;
            batches.push(batch);
        }
        let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        Ok(Self { schema, batches })
    }
}

/// One value as Python has it.
fn value<'py>(py: Python<'py>, array: &dyn Array, row: usize) -> PyResult<Bound<'py, PyAny>> {
    if array.is_null(row) {
        return Ok(py.None().into_bound(py));
    }
    macro_rules! number {
        ($kind:ty) => {
            Ok(array.as_primitive::<$kind>().value(row).into_pyobject(py)?.into_any())
        };
    }
    match array.data_type() {
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Boolean => {
            Ok(array.as_boolean().value(row).into_pyobject(py)?.to_owned().into_any())
        }
        DataType::Utf8 => Ok(array.as_string::<i32>().value(row).into_pyobject(py)?.into_any()),
        DataType::Binary => Ok(PyBytes::new(py, array.as_binary::<i32>().value(row)).into_any()),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            time(py, array.as_primitive::<TimestampNanosecondType>().value(row))
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = match dictionary.keys().data_type() {
                DataType::UInt8 => dictionary.keys().as_primitive::<UInt8Type>().value(row).into(),
                _ => dictionary.keys().as_primitive::<UInt16Type>().value(row).into(),
            };
            value(py, dictionary.values().as_ref(), key)
        }
        other => Err(Error::ValueMessage(format!("no Python value for {other}")).into()),
    }
}

/// A time as a datetime in UTC. Python's are exact to the microsecond.
fn time(py: Python<'_>, ns: i64) -> PyResult<Bound<'_, PyAny>> {
    static EPOCH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static TIMEDELTA: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let epoch = EPOCH.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
        let module = py.import("datetime")?;
        let utc = module.getattr("timezone")?.getattr("utc")?;
        Ok(module.getattr("datetime")?.call1((1970, 1, 1, 0, 0, 0, 0, utc))?.unbind())
    })?;
    let timedelta = TIMEDELTA.import(py, "datetime", "timedelta")?;
    epoch.bind(py).add(timedelta.call1((0, 0, ns.div_euclid(1000)))?)
}
