//! `rate_limit`: requests a second, as a token bucket.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A bucket of `burst` tokens; one comes back each `interval`.
#[derive(Debug)]
pub(super) struct Bucket {
    interval: Duration,
    burst: u32,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(super) fn new(interval: Duration, burst: u32, now: Instant) -> Self {
        Self { interval, burst, state: Mutex::new((f64::from(burst), now)) }
    }

    /// Takes a token, if there is one.
    pub(super) fn allow(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let back = now.saturating_duration_since(state.1).as_secs_f64() / self.interval.as_secs_f64();
        let tokens = (state.0 + back).min(f64::from(self.burst));
        let allowed = tokens >= 1.0;
        *state = (if allowed { tokens - 1.0 } else { tokens }, now);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_each_interval() {
        let start = Instant::now();
        let bucket = Bucket::new(Duration::from_secs(2), 3, start);
        let at = |seconds| bucket.allow(start + Duration::from_secs(seconds));
        assert_eq!([0, 0, 0, 0].map(at), [true, true, true, false]);
        assert_eq!([1, 2, 3, 4].map(at), [false, true, false, true]);
        // After a long rest no more than the burst.
        assert_eq!([1000, 1000, 1000, 1000].map(at), [true, true, true, false]);
    }
}
