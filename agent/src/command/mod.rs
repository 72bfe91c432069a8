//! What each command does: the only place that knows of the machine, of time and of outputs at once.

pub mod doctor;
pub mod serve;
pub mod watch;
