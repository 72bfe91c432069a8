//! The contract between the program in the kernel and the agent: call names, endpoints, map keys and values, and the
//! numbers that the agent sets before load. `no_std`, plain data, the same layout on both sides.
//!
//! One direction only: the kernel writes these values, the agent reads them.
#![no_std]

pub mod account;
pub mod clients;
pub mod features;
pub mod files;
pub mod fills;
pub mod latency;
pub mod offsets;
pub mod order;
pub mod sync;
pub mod syscall;
pub mod target;
pub mod thread;

pub use account::*;
pub use clients::*;
pub use features::{Constants, Features};
pub use files::*;
pub use fills::*;
pub use latency::*;
pub use offsets::Offsets;
pub use order::*;
pub use sync::*;
pub use syscall::{Class, Syscall, SyscallTable};
pub use target::*;
pub use thread::*;
