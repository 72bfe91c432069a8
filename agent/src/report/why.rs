//! Why a listener's egress was copied, and whose data it was: from what was seen, never guessed.
//!
//! | reason | what was seen |
//! |---|---|
//! | `tls` | writes that begin with the header of a TLS record |
//! | `headers` | small writes of no file's data: response headers, answers of the protocol |
//! | `log_read` | no TLS, and a topic's log was read by calls before it was written out |
//! | `file_read` | the same with another file, but not with one that a JVM loads classes from |
//! | `sendfile_refused` | large writes of no file's data on a listener for which the kernel refused `sendfile` |
//! | `remote_segments` | large writes of no file's data while a broker's threads that read remote segments ran, as many bytes as came in by connections that it opened and by files that are no log, at most |
//! | `unknown` | anything else |
//!
//! Writes are looked at for a record's header until it is settled whether a thread's are TLS, and then one in 16:
//! [`agent_ebpf::Looks`].

use std::collections::BTreeMap;

use agent_ebpf::{Endpoint, Looks, PORT_OUTBOUND, SIZE_BUCKETS};

use super::{
    Facts, Flow, LocalPort, Reason,
    files::SentByPort,
    listeners::{Path, path},
};
use crate::snapshot::{Sent, Snapshot, Transfer};

/// Writes of at least 2^14 bytes are no headers. Most answers of the protocol are far below, and a TLS record's data are at
/// most so many bytes (RFC 8446, 5.1).
const LARGE_BUCKET: usize = 14;

/// What was seen of a listener's copied egress. Everything in it only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The configuration says that this listener encrypts.
    pub(crate) encrypts: bool,
    /// Copied bytes.
    pub(crate) copied: u64,
    /// Of these, in writes that begin with the header of a TLS record.
    pub(crate) tls: u64,
    /// Of those that do not: bytes taken for what had been read out of a file.
    pub(crate) of_file: u64,
    /// Copied bytes taken for what had been read out of a topic's log, with and without TLS.
    pub(crate) of_log: u64,
    /// Bytes in large writes without TLS and without a file: at least so many, see [`large`].
    pub(crate) large: u64,
    /// Calls of `sendfile` that the kernel refused.
    pub(crate) refused: u64,
    /// Bytes that left by zero copy.
    pub(crate) zero_copy: u64,
    /// What was seen of remote segments: the whole process's, not the listener's.
    pub(crate) remote: Remote,
}

/// What was seen of a process that reads segments from remote (tiered) storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Nanoseconds that its threads for that ran; 0 where its configuration does not say that it has remote storage.
    pub(crate) ran: u64,
    /// Bytes of files that are no topic's log, read by threads that did not send them: a storage that is a file system, or
    /// copies on disk of another.
    pub(crate) from_files: u64,
    /// Bytes that came in by connections that it opened: a storage somewhere else; followers fetch so, too.
    pub(crate) from_connections: u64,
}

impl Remote {
    const fn since(self, earlier: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(earlier.ran),
            from_files: self.from_files.saturating_sub(earlier.from_files),
            from_connections: self.from_connections.saturating_sub(earlier.from_connections),
        }
    }

    /// The most that can be of remote segments.
    const fn most(self) -> u64 {
        if self.ran > 0 { self.from_files.saturating_add(self.from_connections) } else { 0 }
    }
}

impl Seen {
    /// What was seen since.
    pub(crate) const fn since(&self, earlier: &Self) -> Self {
        Self {
            encrypts: self.encrypts,
            copied: self.copied.saturating_sub(earlier.copied),
            tls: self.tls.saturating_sub(earlier.tls),
            of_file: self.of_file.saturating_sub(earlier.of_file),
            of_log: self.of_log.saturating_sub(earlier.of_log),
            large: self.large.saturating_sub(earlier.large),
            refused: self.refused.saturating_sub(earlier.refused),
            zero_copy: self.zero_copy.saturating_sub(earlier.zero_copy),
            remote: self.remote.since(earlier.remote),
        }
    }

    /// Adds what was seen of another listener.
    pub(crate) const fn merge(&mut self, other: &Self) {
        self.encrypts |= other.encrypts;
        self.copied += other.copied;
        self.tls += other.tls;
        self.of_file += other.of_file;
        self.of_log += other.of_log;
        self.large += other.large;
        self.refused += other.refused;
        self.zero_copy += other.zero_copy;
        // One process's.
        self.remote = other.remote;
    }

    /// Whether what is copied here is encrypted in user space: more than half of it begins with a record's header. The rest
    /// of such a listener goes on with records that an earlier write left cut short.
    const fn is_tls(&self) -> bool {
        self.tls > 0 && self.tls >= self.copied - self.tls
    }
}

/// The reason `code` has this label in every output.
pub(crate) const REASONS: [&str; 7] =
    ["tls", "headers", "log_read", "file_read", "sendfile_refused", "remote_segments", "unknown"];

/// The parts of the copied bytes by reason, largest first. Their sum is all of them.
pub(crate) fn reasons(seen: &Seen) -> Vec<Reason> {
    let mut bytes = [0; REASONS.len()];
    let [tls, headers, log_read, file_read, refused, remote, unknown] = &mut bytes;
    let rest = seen.copied - seen.tls.min(seen.copied);
    if seen.is_tls() {
        *tls = seen.copied;
    } else if seen.encrypts {
        // What the configuration says was not seen on the wire.
        (*tls, *unknown) = (seen.copied - rest, rest);
    } else {
        *tls = seen.copied - rest;
        let of_file = seen.of_file.min(rest);
        *log_read = of_file.min(seen.of_log);
        *file_read = of_file - *log_read;
        let large = seen.large.min(rest - of_file);
        if seen.refused > 0 {
            *refused = large;
        } else {
            *remote = large.min(seen.remote.most());
            *unknown = large - *remote;
        }
        *headers = rest - of_file - large;
    }
    let mut reasons: Vec<_> = REASONS
        .into_iter()
        .zip(bytes)
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(code, bytes)| Reason { code, bytes, text: text(code, seen) })
        .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.bytes));
    reasons
}

/// What a reason means and what shows it.
fn text(code: &str, seen: &Seen) -> String {
    match code {
        "tls" => {
            let (first, every) = (Looks::SETTLED, Looks::EVERY);
            let (of, rest) = if seen.tls < seen.copied && seen.is_tls() {
                (format!("of the {} copied ", seen.copied), ", the others go on with records that were cut short")
            } else {
                (String::new(), "")
            };
            format!(
                "TLS in user space: {} {of}bytes left in writes that begin with the header of a TLS record (of a thread's the \
                 first {first} are looked at, then one in {every} while they agree){rest}.",
                seen.tls
            )
        }
        "headers" => "Response headers and answers of the protocol: writes below 16 KiB of no file's data.".to_owned(),
        "log_read" => "The log was read by calls and written out without TLS: what converting to old message formats does."
            .to_owned(),
        "file_read" => {
            "A file that is no topic's log was read by calls and written out without TLS by the same thread."
                .to_owned()
        }
        "sendfile_refused" => format!(
            "The kernel refused sendfile {} times, and large writes of no file's data followed: the JDK maps the file and \
             writes out the mapping.",
            seen.refused
        ),
        "remote_segments" => format!(
            "Remote (tiered) segments: the broker's threads that read them (remote-log-reader) ran for {} ms, {} bytes came in \
             by files that are no topic's log and {} by connections that it opened, to threads that did not send them, and \
             threads that read no file wrote 16 KiB and more at once, without TLS.",
            seen.remote.ran / 1_000_000,
            seen.remote.from_files,
            seen.remote.from_connections
        ),
        _ if seen.encrypts => {
            "The configuration says that this listener encrypts, and these writes do not begin with the header of a TLS \
             record."
                .to_owned()
        }
        _ => "Writes of 16 KiB and more, without TLS, before which their thread read no file: data that another thread made or \
              read."
            .to_owned(),
    }
}

/// The reasons in one sentence, for the verdict. `percent` is of a part and a whole.
pub(super) fn sentence(reasons: &[Reason], percent: impl Fn(u64, u64) -> String) -> Option<String> {
    let copied: u64 = reasons.iter().map(|reason| reason.bytes).sum();
    let part = |reason: &Reason| {
        let what = match reason.code {
            "tls" => "TLS in user space",
            "headers" => "small answers and response headers",
            "log_read" => "reads of the log without TLS",
            "file_read" => "reads of other files without TLS",
            "sendfile_refused" => "sendfile refused by the kernel",
            "remote_segments" => "remote (tiered) segments",
            _ => "what the numbers do not tell",
        };
        if reasons.len() == 1 { what.to_owned() } else { format!("{what} ({} %)", percent(reason.bytes, copied)) }
    };
    (!reasons.is_empty())
        .then(|| format!("Copied because of: {}.", reasons.iter().map(part).collect::<Vec<_>>().join(", ")))
}

/// A listener's egress by where its bytes came from, largest first: the sums are the listener's. And what was seen of it.
pub(super) struct Why {
    pub(super) flows: Vec<Flow>,
    pub(super) seen: Seen,
}

/// By port, for everything that sent.
pub(super) fn why(delta: &Snapshot, facts: &Facts, mut sent: SentByPort, unsent: u64) -> BTreeMap<LocalPort, Why> {
    let mut all = BTreeMap::new();
    let remote = remote(delta, unsent);
    for (port, totals) in totals(delta) {
        let of_files = sent.remove(&port).unwrap_or_default().flows;
        let mut seen = Seen { remote, ..totals.seen };
        seen.encrypts = match port {
            LocalPort::Port(port) => facts.listeners.iter().any(|known| known.port == port && known.encrypts()),
            LocalPort::Entry(_) => false,
        };
        seen.of_log = of_files.iter().filter(|flow| flow.topic.is_some()).map(|flow| flow.copied_bytes).sum();
        // What was sent after classes were loaded is no file's.
        seen.of_file = seen.of_file.min(of_files.iter().map(|flow| flow.copied_bytes).sum());
        let flows = flows(of_files, &totals.egress, &reasons(&seen), seen.of_file);
        all.insert(port, Why { flows, seen });
    }
    all
}

fn remote(delta: &Snapshot, unsent: u64) -> Remote {
    let outbound = |transfer: &&Transfer| transfer.id.source == Endpoint::Socket && transfer.id.port == PORT_OUTBOUND;
    Remote {
        ran: delta.cpu.as_ref().map_or(0, |cpu| cpu.remote_readers),
        from_files: unsent,
        from_connections: delta.transfers.iter().filter(outbound).map(|transfer| transfer.bytes).sum(),
    }
}

#[derive(Default)]
struct Totals {
    /// Everything by zero copy, and everything from memory, with MSG_ZEROCOPY or without.
    egress: Sent,
    seen: Seen,
}

fn totals(delta: &Snapshot) -> BTreeMap<LocalPort, Totals> {
    let mut all: BTreeMap<LocalPort, Totals> = BTreeMap::new();
    for transfer in &delta.transfers {
        let id = &transfer.id;
        let Some(port) = LocalPort::from_code(id.port).filter(|_| id.sink == Endpoint::Socket) else { continue };
        let Totals { egress, seen } = all.entry(port).or_default();
        match path(id.syscall, id.source, id.msg_zerocopy) {
            Path::ZeroCopy => {
                egress.zero_copy += transfer.bytes;
                seen.zero_copy += transfer.bytes;
                continue;
            }
            Path::Undetermined => {
                egress.copied += transfer.bytes;
                continue;
            }
            Path::Copied => {}
        }
        egress.copied += transfer.bytes;
        seen.copied += transfer.bytes;
        match (id.tls, id.of_file) {
            (true, _) => seen.tls += transfer.bytes,
            (false, true) => seen.of_file += transfer.bytes,
            (false, false) => seen.large += large(&transfer.sizes, transfer.bytes),
        }
    }
    for other in delta.other.iter().filter(|other| other.sink == Endpoint::Socket) {
        let Totals { egress, seen } = all.entry(LocalPort::Entry(super::OTHER)).or_default();
        match path(other.syscall, other.source, false) {
            Path::ZeroCopy => {
                egress.zero_copy += other.tally.bytes;
                seen.zero_copy += other.tally.bytes;
            }
            Path::Copied | Path::Undetermined => {
                egress.copied += other.tally.bytes;
                seen.copied += other.tally.bytes;
            }
        }
    }
    for (port, calls) in &delta.refused {
        if let Some(port) = LocalPort::from_code(*port) {
            all.entry(port).or_default().seen.refused += calls;
        }
    }
    all
}

/// The least that the large ones of these calls, which moved `bytes` together, can have moved: no less than each one's least
/// size, and no less than what is left when each small one moved the most that it can.
fn large(sizes: &[u64; SIZE_BUCKETS], bytes: u64) -> u64 {
    let (small, large) = sizes.split_at(LARGE_BUCKET);
    if large.iter().all(|calls| *calls == 0) {
        return 0;
    }
    // A bucket holds sizes from a power of two to below the next.
    let least: u64 = (LARGE_BUCKET..).zip(large).map(|(bucket, calls)| calls.saturating_mul(1 << bucket)).sum();
    let most: u64 = (0u32..).zip(small).map(|(bucket, calls)| calls.saturating_mul((2 << bucket) - 1)).sum();
    least.max(bytes.saturating_sub(most))
}

fn flows(mut flows: Vec<Flow>, egress: &Sent, reasons: &[Reason], plain_of_file: u64) -> Vec<Flow> {
    let has = |code: &str| reasons.iter().any(|reason| reason.code == code);
    // With TLS and without it from files of one listener, nobody can tell which topic left how.
    let is_mixed = has("tls") && plain_of_file > 0 && (has("log_read") || has("file_read"));
    let mut rest = *egress;
    for flow in &mut flows {
        rest.zero_copy = rest.zero_copy.saturating_sub(flow.zero_copy_bytes);
        rest.copied = rest.copied.saturating_sub(flow.copied_bytes);
        flow.reason = match &flow.topic {
            _ if flow.copied_bytes == 0 => None,
            _ if is_mixed => Some("unknown"),
            _ if has("tls") => Some("tls"),
            Some(_) if has("log_read") => Some("log_read"),
            None if has("file_read") => Some("file_read"),
            _ => Some("unknown"),
        };
    }
    flows.sort_unstable_by(|a, b| {
        let bytes = |flow: &Flow| flow.zero_copy_bytes + flow.copied_bytes;
        // Topics by name before the other files.
        bytes(b).cmp(&bytes(a)).then_with(|| (a.topic.is_none(), &a.topic).cmp(&(b.topic.is_none(), &b.topic)))
    });
    if rest.zero_copy + rest.copied > 0 {
        let likely = ["tls", "headers", "sendfile_refused", "remote_segments", "unknown"];
        let reason = reasons.iter().map(|reason| reason.code).find(|code| likely.contains(code));
        flows.push(Flow {
            from: "none",
            topic: None,
            zero_copy_bytes: rest.zero_copy,
            copied_bytes: rest.copied,
            read_bytes: 0,
            reason: reason.filter(|_| rest.copied > 0),
        });
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(ran: u64, from_files: u64, from_connections: u64) -> Remote {
        Remote { ran, from_files, from_connections }
    }

    fn told(seen: &Seen) -> Vec<(&'static str, u64)> {
        let reasons = reasons(seen);
        assert_eq!(reasons.iter().map(|reason| reason.bytes).sum::<u64>(), seen.copied, "{seen:?}");
        reasons.into_iter().map(|reason| (reason.code, reason.bytes)).collect()
    }

    #[test]
    fn each_reason_follows_from_what_was_seen() {
        let none = Seen { copied: 100, ..Seen::default() };
        for (seen, reasons) in [
            (Seen::default(), vec![]),
            (none.clone(), vec![("headers", 100)]),
            (Seen { tls: 100, ..none.clone() }, vec![("tls", 100)]),
            // Records that were cut short, and a listener of which only some of it is TLS.
            (Seen { tls: 60, of_file: 20, ..none.clone() }, vec![("tls", 100)]),
            (
                Seen { tls: 10, of_file: 60, of_log: 70, ..none.clone() },
                vec![("log_read", 60), ("headers", 30), ("tls", 10)],
            ),
            (Seen { of_file: 90, of_log: 90, ..none.clone() }, vec![("log_read", 90), ("headers", 10)]),
            (Seen { of_file: 90, ..none.clone() }, vec![("file_read", 90), ("headers", 10)]),
            (Seen { large: 80, ..none.clone() }, vec![("unknown", 80), ("headers", 20)]),
            (Seen { large: 80, refused: 2, ..none.clone() }, vec![("sendfile_refused", 80), ("headers", 20)]),
            // What came in bounds what can have been sent of it; without threads that read remote segments it is nothing.
            (
                Seen { large: 80, remote: remote(1, 50, 10), ..none.clone() },
                vec![("remote_segments", 60), ("headers", 20), ("unknown", 20)],
            ),
            (
                Seen { large: 80, remote: remote(1, 0, 500), ..none.clone() },
                vec![("remote_segments", 80), ("headers", 20)],
            ),
            (Seen { large: 80, remote: remote(0, 500, 0), ..none.clone() }, vec![("unknown", 80), ("headers", 20)]),
            (
                Seen { large: 80, refused: 1, remote: remote(1, 500, 0), ..none.clone() },
                vec![("sendfile_refused", 80), ("headers", 20)],
            ),
            (Seen { remote: remote(1, 500, 0), ..none.clone() }, vec![("headers", 100)]),
            // A refusal after which nothing large was written explains nothing.
            (Seen { refused: 2, ..none.clone() }, vec![("headers", 100)]),
            (Seen { encrypts: true, ..none }, vec![("unknown", 100)]),
        ] {
            assert_eq!(told(&seen), reasons, "{seen:?}");
        }
    }

    #[test]
    fn large_writes_are_told_by_the_least_that_they_can_have_moved() {
        let mut sizes = [0; SIZE_BUCKETS];
        (sizes[13], sizes[14], sizes[20]) = (9, 2, 1);
        let least = 2 * 16_384 + (1 << 20);
        assert_eq!(large(&sizes, least + 9 * 8192), least);
        // The small ones can't have moved more than this, so the large ones moved the rest.
        assert_eq!(large(&sizes, 3 << 20), (3 << 20) - 9 * 16_383);
        (sizes[14], sizes[20]) = (0, 0);
        assert_eq!(large(&sizes, 9 * 10_000), 0);
    }

    #[test]
    fn a_sentence_names_the_parts() {
        let seen = Seen { copied: 100, of_file: 75, of_log: 75, ..Seen::default() };
        let percent = |part: u64, whole: u64| (part * 100 / whole).to_string();
        let text = sentence(&reasons(&seen), percent);
        let expected =
            "Copied because of: reads of the log without TLS (75 %), small answers and response headers (25 %).";
        assert_eq!(text.as_deref(), Some(expected));
        assert_eq!(sentence(&[], percent), None);
    }
}
