//! Socket traffic by listener: egress by path, ratios, and the verdict.

use std::collections::BTreeMap;

use agent_ebpf::{Class, Endpoint, Syscall};

use super::{
    DATAGRAM, Egress, Facts, Listener, LocalPort, OTHER, OUTBOUND, Reason,
    files::SentByPort,
    why::{self, Seen, Why},
};
use crate::snapshot::Snapshot;

#[derive(Default)]
struct Sums {
    ingress_bytes: u64,
    egress: Egress,
}

/// How egress by a call leaves.
pub(super) enum Path {
    ZeroCopy,
    Copied,
    Undetermined,
}

pub(super) fn path(syscall: Syscall, source: Endpoint, msg_zerocopy: bool) -> Path {
    match syscall.class() {
        _ if msg_zerocopy => Path::Undetermined,
        Class::InKernel if source != Endpoint::Memory => Path::ZeroCopy,
        _ => Path::Copied,
    }
}

/// Every listener that is configured or had traffic, in the order of their ports, then the entries that
/// are no port; and all together.
pub(super) fn listeners(delta: &Snapshot, facts: &Facts, sent: SentByPort, unsent: u64) -> (Vec<Listener>, Egress) {
    let mut sums: BTreeMap<LocalPort, Sums> = BTreeMap::new();
    for known in &facts.listeners {
        sums.entry(LocalPort::Port(known.port)).or_default();
    }
    add_transfers(delta, &mut sums);
    let mut why = why::why(delta, facts, sent, unsent);
    let mut total = Egress::default();
    let listeners = sums
        .into_iter()
        .map(|(port, sums)| {
            let egress = sums.egress.with_ratios();
            total.merge(&egress);
            let mut listener = listener(&port, sums.ingress_bytes, egress, facts);
            if let Some(Why { flows, seen }) = why.remove(&port) {
                listener.set_seen(seen);
                listener.flows = flows;
            }
            listener
        })
        .collect();
    (listeners, total.with_ratios())
}

/// Egress of all listeners together: what a progress line shows.
#[must_use]
pub fn total_egress(delta: &Snapshot) -> Egress {
    let mut sums = BTreeMap::new();
    add_transfers(delta, &mut sums);
    let mut total = Egress::default();
    for sums in sums.values() {
        total.merge(&sums.egress);
    }
    total.with_ratios()
}

fn add_transfers(delta: &Snapshot, sums: &mut BTreeMap<LocalPort, Sums>) {
    for transfer in &delta.transfers {
        let Some(port) = LocalPort::from_code(transfer.id.port) else { continue };
        let entry = sums.entry(port).or_default();
        if transfer.id.source == Endpoint::Socket {
            entry.ingress_bytes += transfer.bytes;
        }
        if transfer.id.sink == Endpoint::Socket {
            entry.egress.carried_file_bytes += transfer.carried_file_bytes;
            entry.egress.add(path(transfer.id.syscall, transfer.id.source, transfer.id.msg_zerocopy), transfer.bytes);
        }
    }
    for other in &delta.other {
        if other.source == Endpoint::Socket {
            sums.entry(LocalPort::Entry(OTHER)).or_default().ingress_bytes += other.tally.bytes;
        }
        if other.sink == Endpoint::Socket {
            let entry = sums.entry(LocalPort::Entry(OTHER)).or_default();
            entry.egress.add(path(other.syscall, other.source, false), other.tally.bytes);
        }
    }
}

fn listener(port: &LocalPort, ingress_bytes: u64, egress: Egress, facts: &Facts) -> Listener {
    let (port, name, protocol, used_by) = match port {
        LocalPort::Port(port) => {
            let known = facts.listeners.iter().find(|known| known.port == *port);
            let (name, protocol) =
                (known.map(|known| known.name.clone()), known.and_then(|known| known.protocol.clone()));
            (Some(*port), name, protocol, known.map(|known| known.used_by.name()))
        }
        LocalPort::Entry(entry) => (None, Some((*entry).to_owned()), None, None),
    };
    let mut listener = Listener { port, name, protocol, used_by, ingress_bytes, egress, ..Listener::default() };
    listener.verdict = verdict(&listener);
    listener
}

impl Listener {
    /// Takes the reasons from what was seen.
    pub(crate) fn set_seen(&mut self, seen: Seen) {
        self.set_reasons(why::reasons(&seen));
        self.seen = seen;
    }

    /// Takes other reasons than those that follow from everything that was seen.
    pub(crate) fn set_reasons(&mut self, reasons: Vec<Reason>) {
        self.why = why::sentence(&reasons, percent);
        self.reasons = reasons;
    }
}

impl Egress {
    fn add(&mut self, path: Path, bytes: u64) {
        self.egress_bytes += bytes;
        match path {
            Path::ZeroCopy => self.zero_copy_bytes += bytes,
            Path::Copied => self.copied_bytes += bytes,
            Path::Undetermined => self.undetermined_bytes += bytes,
        }
    }

    pub(crate) const fn merge(&mut self, other: &Self) {
        self.egress_bytes += other.egress_bytes;
        self.zero_copy_bytes += other.zero_copy_bytes;
        self.copied_bytes += other.copied_bytes;
        self.undetermined_bytes += other.undetermined_bytes;
        self.carried_file_bytes += other.carried_file_bytes;
    }

    /// What was added since `earlier`, without ratios.
    #[must_use]
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            egress_bytes: self.egress_bytes.saturating_sub(earlier.egress_bytes),
            zero_copy_bytes: self.zero_copy_bytes.saturating_sub(earlier.zero_copy_bytes),
            copied_bytes: self.copied_bytes.saturating_sub(earlier.copied_bytes),
            undetermined_bytes: self.undetermined_bytes.saturating_sub(earlier.undetermined_bytes),
            carried_file_bytes: self.carried_file_bytes.saturating_sub(earlier.carried_file_bytes),
            ..Self::default()
        }
    }

    /// The same with its ratios, which are only there where there was egress.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // a ratio of two counts below 2^53, in all practice
    pub fn with_ratios(self) -> Self {
        let of_egress = |bytes: u64| (self.egress_bytes > 0).then(|| bytes as f64 / self.egress_bytes as f64);
        Self {
            zero_copy_ratio: of_egress(self.zero_copy_bytes),
            copy_ratio: of_egress(self.copied_bytes),
            // With MSG_ZEROCOPY nobody can tell whether the CPU moved the bytes.
            copy_amplification: of_egress(self.copied_bytes + self.carried_file_bytes)
                .filter(|_| self.undetermined_bytes == 0),
            ..self
        }
    }
}

/// A share that is neither nothing nor everything, and is never shown as if it were; rounded as in the tables beside it.
fn percent(part: u64, whole: u64) -> String {
    let (part, whole) = (u128::from(part), u128::from(whole.max(1)));
    let hundredths = (2 * part * 10_000 + whole) / (2 * whole);
    match hundredths.min(9_999) {
        0 => "less than 0.01".to_owned(),
        hundredths => format!("{}.{:02}", hundredths / 100, hundredths % 100),
    }
}

/// What the numbers of a listener say, in one sentence that claims no more than they do.
fn verdict(listener: &Listener) -> String {
    let who = match (&listener.name, listener.port) {
        (Some(name), Some(port)) => format!("{name} :{port}"),
        (None, Some(port)) => format!("Port {port}"),
        (Some(name), None) if name == OUTBOUND => "Connections that it opened itself (outbound)".to_owned(),
        (Some(name), None) if name == DATAGRAM => "Datagram sockets".to_owned(),
        (Some(name), None) => name.clone(),
        (None, None) => "Sockets".to_owned(),
    };
    let egress = &listener.egress;
    if egress.egress_bytes == 0 {
        return match listener.ingress_bytes {
            0 => format!("{who} was idle: nothing came in, nothing left."),
            _ => format!("{who} only took bytes in: nothing left, so there is no zero-copy ratio."),
        };
    }
    let encrypts = listener.protocol.as_deref().is_some_and(|protocol| protocol.ends_with("SSL"));
    let why =
        if encrypts && egress.copied_bytes > 0 { ", as on every listener that encrypts in the broker" } else { "" };
    let mut verdict = if egress.undetermined_bytes > 0 {
        format!("{who} sent with MSG_ZEROCOPY: which of it was copied cannot be told")
    } else if egress.copied_bytes == 0 {
        format!("{who} sent every byte by zero copy")
    } else if egress.zero_copy_bytes == 0 {
        format!("{who} sent nothing by zero copy: every byte was copied through user space{why}")
    } else {
        let share = percent(egress.zero_copy_bytes, egress.egress_bytes);
        let rest = if egress.copied_bytes < egress.egress_bytes / 10 { "the rest" } else { "all else" };
        format!("{who} sent {share} % by zero copy, {rest} was copied through user space{why}")
    };
    verdict.push('.');
    if listener.used_by == Some("brokers") {
        verdict.push_str(" By its configuration it is the one that other brokers replicate through.");
    }
    verdict
}
