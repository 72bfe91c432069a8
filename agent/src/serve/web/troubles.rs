//! What clients did wrong, as one line of the log for many of them: a line for each would be theirs to fill the disk with.

use std::sync::atomic::{AtomicU64, Ordering};

use super::WebStats;

/// Troubles that were told.
#[derive(Debug, Default)]
pub struct Troubles {
    told: [u64; 7],
}

type Of = fn(&WebStats) -> &AtomicU64;

const KINDS: [(&str, Of); 7] = [
    ("too slow", |stats| &stats.timeouts),
    ("no HTTP", |stats| &stats.malformed),
    ("failed TLS handshakes", |stats| &stats.tls_failures),
    ("no right user and password", |stats| &stats.denied),
    ("turned away, too many at once", |stats| &stats.turned_away),
    ("closed for others", |stats| &stats.connections_evicted),
    ("not accepted, no descriptors left", |stats| &stats.accept_errors),
];

impl Troubles {
    /// What came since the last time, in words; `None` where nothing did.
    pub fn news(&mut self, stats: &WebStats) -> Option<String> {
        let news = KINDS.iter().zip(&mut self.told).filter_map(|((what, of), told)| {
            let now = of(stats).load(Ordering::Relaxed);
            let more = now.saturating_sub(std::mem::replace(told, now));
            (more > 0).then(|| format!("{what}: {more}"))
        });
        let news = news.collect::<Vec<_>>().join(", ");
        (!news.is_empty()).then_some(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_told_once() {
        let (stats, mut troubles) = (WebStats::default(), Troubles::default());
        assert_eq!(troubles.news(&stats), None);
        stats.timeouts.store(3, Ordering::Relaxed);
        stats.denied.store(1, Ordering::Relaxed);
        assert_eq!(troubles.news(&stats).as_deref(), Some("too slow: 3, no right user and password: 1"));
        assert_eq!(troubles.news(&stats), None);
        stats.timeouts.store(5, Ordering::Relaxed);
        assert_eq!(troubles.news(&stats).as_deref(), Some("too slow: 2"));
    }
}
