//! What is attached to the broker.

use std::time::Duration;

/// What is attached in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// That of the windows before and after.
    Nothing,
    /// The same in between: what windows differ by without any reason.
    NothingAgain,
    /// A program at every system call's exit that returns at once.
    Empty,
    /// `zctrace --pid`, as it is by default.
    Zctrace,
    /// The same without what can be left out.
    Bare,
    /// `zctrace serve`, scraped once a second.
    Serve,
    Bpftrace,
    Strace,
}

impl Setup {
    pub(super) const ALL: [Self; 8] = [
        Self::Nothing,
        Self::NothingAgain,
        Self::Empty,
        Self::Zctrace,
        Self::Bare,
        Self::Serve,
        Self::Bpftrace,
        Self::Strace,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing attached",
            Self::NothingAgain => "nothing attached, again",
            Self::Empty => "empty program",
            Self::Zctrace => "zctrace",
            Self::Bare => "zctrace, everything optional left out",
            Self::Serve => "zctrace serve, scraped each second",
            Self::Bpftrace => "bpftrace, count and sum",
            Self::Strace => "strace",
        }
    }

    /// What `--only` calls it.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::NothingAgain => "again",
            Self::Empty => "empty",
            Self::Zctrace => "zctrace",
            Self::Bare => "bare",
            Self::Serve => "serve",
            Self::Bpftrace => "bpftrace",
            Self::Strace => "strace",
        }
    }

    pub(super) const fn is_baseline(self) -> bool {
        matches!(self, Self::Nothing | Self::NothingAgain)
    }

    /// Whether the kernel has an account of it.
    pub(super) const fn has_programs(self) -> bool {
        matches!(self, Self::Empty | Self::Zctrace | Self::Bare | Self::Bpftrace)
    }

    /// How often it has its turn in a round. Most windows go where the question is; strace takes so long that it has few.
    pub(super) const fn turns(self, round: u64) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Zctrace => 4,
            Self::NothingAgain | Self::Bare | Self::Serve => 2,
            Self::Empty | Self::Bpftrace => 1,
            Self::Strace => round.is_multiple_of(8) as u64,
        }
    }

    /// How long its window is, where it is longer than that of the others.
    pub(super) const fn window(self) -> Option<Duration> {
        match self {
            // With one scrape in it.
            Self::Serve => Some(Duration::from_millis(1250)),
            // It has a few requests only in the others' time.
            Self::Strace => Some(Duration::from_secs(2)),
            _ => None,
        }
    }
}
