//! The plans: one file each.

use super::{ExerciseError, Recorder};

/// The calls of a plan, with everything prepared that is not to be counted.
pub(super) type Calls = Box<dyn FnOnce(&mut Recorder) -> Result<(), ExerciseError>>;

pub(super) mod basic;
pub(super) mod cold;
pub(super) mod compat;
pub(super) mod crowd;
pub(super) mod days;
pub(super) mod fds;
pub(super) mod flows;
pub(super) mod io_uring;
pub(super) mod kernel_tls;
pub(super) mod listener;
pub(super) mod partial;
pub(super) mod settled;
pub(super) mod slow;
pub(super) mod storm;
pub(super) mod threads;
pub(super) mod zerocopy;
