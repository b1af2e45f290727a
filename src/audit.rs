//! Audit events (PEP 578), with CPython's names and arguments.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

/// Raises an audit event (PEP 578) with CPython's name and arguments.
pub fn audit<'py>(
    py: Python<'py>,
    event: &str,
    arguments: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> PyResult<()> {
    static AUDIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let audit = AUDIT.import(py, "sys", "audit")?;
    let arguments = arguments.into_pyobject(py)?;
    let mut all = vec![event.into_pyobject(py)?.into_any()];
    all.extend(arguments.iter());
    audit.call1(PyTuple::new(py, all)?).map(drop)
}
