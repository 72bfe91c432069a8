//! zctrace: how much of what a running Kafka broker sends leaves by zero copy, how much is copied through user space,
//! on which listener and topic.
//!
//! The way of the data, with no way back: kernel, maps, [`snapshot`], [`report`], [`output`].

#[cfg(not(target_os = "linux"))]
compile_error!("zctrace watches Linux system calls through eBPF: build it for a Linux target (x86_64 or aarch64)");

pub mod cli;
pub mod command;
pub mod cpu;
pub mod discover;
pub mod doctor;
pub mod error;
pub mod exercise;
pub mod facts;
pub mod fleet;
pub mod kafka;
pub mod log;
pub mod machine;
pub mod output;
pub mod privileges;
pub mod probe;
pub mod report;
pub mod residency;
pub mod serve;
pub mod snapshot;
pub mod target;
mod units;
