//! The plans: one file each.

pub(super) mod basic;
pub(super) mod compat;
pub(super) mod fds;
pub(super) mod io_uring;
pub(super) mod listener;
pub(super) mod partial;
pub(super) mod storm;
pub(super) mod threads;
pub(super) mod zerocopy;
