//! What is attached to the broker.

/// What is attached while a topic is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    Nothing,
    /// The same again: what two readings differ by without any reason.
    NothingAgain,
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
    pub(super) const ALL: [Self; 7] =
        [Self::Nothing, Self::NothingAgain, Self::Zctrace, Self::Bare, Self::Serve, Self::Bpftrace, Self::Strace];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing attached",
            Self::NothingAgain => "nothing attached, again",
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
        matches!(self, Self::Zctrace | Self::Bare | Self::Bpftrace)
    }

    /// Most readings go where the question is; strace takes so long that it has few.
    pub(super) const fn has_its_turn(self, round: u64) -> bool {
        match self {
            Self::Nothing | Self::NothingAgain | Self::Zctrace => true,
            Self::Bare => round.is_multiple_of(3),
            Self::Bpftrace => round % 3 == 1,
            Self::Serve => round % 3 == 2,
            Self::Strace => round % 16 == 1,
        }
    }

    /// What part of a reading of the others is enough.
    pub(super) const fn is_slow(self) -> bool {
        matches!(self, Self::Strace)
    }
}
