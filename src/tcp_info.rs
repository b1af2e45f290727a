//! What getsockopt(TCP_INFO) returned, as numbers.

use pyo3::prelude::*;
use rsnet_core::tcp_info;

/// The fields' names.
#[pyfunction]
pub fn tcp_info_names() -> Vec<&'static str> {
    tcp_info::names().collect()
}

/// The fields' values; None for what was not returned.
#[pyfunction]
#[pyo3(signature = (returned))]
pub fn tcp_info_values(returned: &[u8]) -> [Option<u64>; tcp_info::FIELD_COUNT] {
    tcp_info::values(returned)
}
