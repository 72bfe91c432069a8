//! The C library's heap, which by itself keeps what was freed for later, and that for each thread.

/// One heap for all threads: what a scrape has freed on one is there for the next scrape on another. To be called before
/// threads start.
pub fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a setting without pointers.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives what is free back to the system.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a call without arguments that matter; what is in use stays.
    unsafe {
        libc::malloc_trim(0);
    }
}
