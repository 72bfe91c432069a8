//! Whether the host's clock was set back. zctrace itself goes by the monotonic clock: what suffers is whoever compares
//! its times of day with others'.

use std::time::{Duration, Instant, SystemTime};

/// Smaller steps are the work of a time service.
const STEP: Duration = Duration::from_secs(1);

/// Both clocks as they stood when last looked at.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    monotonic: Instant,
    wall: SystemTime,
}

impl Clocks {
    /// As they stand.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// How far the time of day was set back between `self` and `later`, if by more than a second.
    #[must_use]
    pub fn set_back(&self, later: &Self) -> Option<Duration> {
        let expected = self.wall.checked_add(later.monotonic.duration_since(self.monotonic))?;
        expected.duration_since(later.wall).ok().filter(|step| *step > STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_back_is_told() {
        let before = Clocks::now();
        let seconds = Duration::from_secs;
        let later = |wall| Clocks { monotonic: before.monotonic + seconds(10), wall };
        assert_eq!(before.set_back(&later(before.wall + seconds(10))), None);
        assert_eq!(before.set_back(&later(before.wall + seconds(3600))), None, "forth");
        assert_eq!(before.set_back(&later(before.wall + Duration::from_millis(9500))), None, "a slow clock");
        assert_eq!(before.set_back(&later(before.wall)), Some(seconds(10)));
        assert_eq!(before.set_back(&later(before.wall - seconds(3600))), Some(seconds(3610)));
    }
}
