//! One file for each idea.

pub(crate) mod account;
pub(crate) mod call;
pub(crate) mod clients;
pub(crate) mod context;
pub(crate) mod counter;
pub(crate) mod exit;
pub(crate) mod fills;
pub(crate) mod globals;
pub(crate) mod latency;
pub(crate) mod maps;
pub(crate) mod messages;
pub(crate) mod naming;
pub(crate) mod object;
pub(crate) mod order;
pub(crate) mod preempt;
pub(crate) mod read;
pub(crate) mod recent;
pub(crate) mod refused;
pub(crate) mod resolve;
pub(crate) mod short;
pub(crate) mod sync;
pub(crate) mod target;
pub(crate) mod task;
pub(crate) mod thread;
pub(crate) mod transfer;
pub(crate) mod values;
