//! `rsnet._rsnet`: the export list and nothing else.

#![allow(
    missing_docs,
    reason = "an extension module has no Rust API: its doc strings are Python's"
)]

mod address;
mod arguments;
mod audit;
mod buffer;
mod call;
mod columns;
mod construct;
mod datagram;
mod entry;
mod error_queue;
mod errors;
mod file;
mod gil;
mod instance;
mod lifetime;
mod measure;
mod message;
mod options;
mod packed;
mod pinging;
mod recvmmsg;
mod reflecting;
mod resolve;
mod sendmmsg;
mod socket;
mod summary;
mod table;
mod targets;
mod tcp_info;
mod transfer;

/// What rsnet does natively.
#[pyo3::pymodule(gil_used = true)]
mod _rsnet {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::construct::new_socket;
    #[pymodule_export]
    use crate::entry::use_class;
    #[pymodule_export]
    use crate::entry::use_file_class;
    #[pymodule_export]
    use crate::error_queue::QueuedError;
    #[pymodule_export]
    use crate::gil::gil_policy;
    #[pymodule_export]
    use crate::measure::tcp_clients;
    #[pymodule_export]
    use crate::pinging::udp_ping;
    #[pymodule_export]
    use crate::reflecting::Reflector;
    #[pymodule_export]
    use crate::resolve::numeric_addrinfo;
    #[pymodule_export]
    use crate::socket::Socket;
    #[pymodule_export]
    use crate::table::Table;
    #[pymodule_export]
    use crate::targets::GivenTargets;
    #[pymodule_export]
    use crate::tcp_info::tcp_info_names;
    #[pymodule_export]
    use crate::tcp_info::tcp_info_values;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        rsnet_core::descriptor::prepare_for_forks().map_err(crate::errors::Error::from)?;
        crate::gil::prepare_for_forks()?;
        crate::errors::prepare(module.py())?;
        module.add("Datagram", crate::datagram::class(module.py())?)?;
        crate::entry::install(module.py())
    }
}
