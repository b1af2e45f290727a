//! Tens of thousands of clients on one thread: who is asked, in which order and how fast, what is
//! said, and what came of it.

pub mod clients;
pub mod dialogue;
pub mod hosts;
pub mod names;
pub mod order;
pub mod pace;
pub mod ping;
pub mod rows;
pub mod slots;
pub mod targets;
pub mod verdict;
