//! The part of rsnet that needs no interpreter: system calls, addresses, deadlines, and the
//! descriptor that several threads may share and one of them may close.

pub mod cmsg;
pub mod delay;
pub mod descriptor;
pub mod engine;
pub mod errno;
pub mod metadata;
pub mod mmsg;
pub mod reflector;
pub mod resolver;
pub mod sockaddr;
pub mod stamp;
pub mod stats;
pub mod sys;
pub mod tcp_info;
pub mod timeout;
