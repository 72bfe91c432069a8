//! From what was counted and what is known of the broker to the Report. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use agent_ebpf::{Counter, RESULT_RESTARTED, SIZE_BUCKETS};

use super::{
    Attach, EmptyCount, ErrorCount, Facts, LocalPort, Lost, OTHER, Report, SCHEMA_VERSION, SizeBucket, Topic, Transfer,
    Window, advice::advise, cache, clients, cost, files::Tally, latency, listeners, notes, order, sync,
};
use crate::snapshot::{Snapshot, Transfer as Counted, TransferId};

/// Builds the Report of one target over one window.
#[must_use]
pub fn build(delta: &Snapshot, facts: &Facts, window: Window, attach: Attach) -> Report {
    Builder::default().build(&[delta], facts, window, attach, Vec::new())
}

/// Builds the Reports of one target, one after the other: what they have in common is worked out once.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    tally: Tally,
}

impl Builder {
    /// Takes back a Report that nobody looks at any more: its memory is used again. Its topics are for the next one.
    pub fn take_back(&mut self, report: Report) -> Vec<Topic> {
        self.tally.take_back(report.listeners.into_iter().map(|listener| listener.flows));
        report.topics
    }

    /// Builds one from what was counted in several parts, such as what a process does that runs and what those did that
    /// have ended. `topics` are those of the Report before, if there was one: their memory is used again.
    #[must_use]
    pub fn build(
        &mut self,
        parts: &[&Snapshot],
        facts: &Facts,
        window: Window,
        attach: Attach,
        mut topics: Vec<Topic>,
    ) -> Report {
        let fills = cache::OfFiles::new(parts);
        let logs = order::OfLogs::new(parts);
        let files = self.tally.files(parts, facts, &fills, &logs, &mut topics);
        let sent = self.tally.sent();
        // Everything but files is little: it is simply added up.
        let sum = match parts {
            [one] => Cow::Borrowed(*one),
            parts => Cow::Owned(parts.iter().fold(Snapshot::default(), |sum, part| sum.plus(&part.without_files()))),
        };
        let delta = &*sum;
        let calls = cost::calls(delta, &sent);
        let (mut listeners, total) = listeners::listeners(delta, facts, sent, self.tally.unsent());
        cost::add(&mut listeners, delta.cpu.as_ref(), &calls);
        clients::add(&mut listeners, delta.clients.as_ref());
        let mut report = Report {
            schema_version: SCHEMA_VERSION,
            target: facts.target.clone(),
            window,
            attach,
            transfers: transfers(delta),
            errors: errors(delta),
            empty: empty(delta),
            latency: delta.durations.as_ref().map(|took| {
                let calls = delta.transfers.iter().map(Counted::calls).chain(delta.other.iter().map(|t| t.tally.calls));
                latency::latency(took, facts.slow, calls.sum(), |log| self.tally.topic_of(log, &topics))
            }),
            cost: cost::process(&listeners, delta.cpu.as_ref()),
            listeners,
            total,
            topics,
            files,
            page_cache: cache::page_cache(parts, &fills, delta, facts),
            syncs: delta.syncs.as_deref().map(sync::syncs),
            order: order::sequence(parts, &logs, delta, facts),
            residency: facts.residency.clone(),
            machine: facts.machine.clone(),
            advice: Vec::new(),
            unsent_read_bytes: delta.counter(Counter::CarriedUnattributed) + delta.unsent_read,
            lost: lost(delta),
            notes: Vec::new(),
        };
        report.advice = advise(&report);
        report.notes = notes::notes(&report, delta, facts);
        report
    }
}

fn transfers(delta: &Snapshot) -> Vec<Transfer> {
    let kept = with_and_without_tls(delta).map(|(id, (transfer, tls_bytes))| Transfer {
        syscall: id.syscall.name(),
        source: id.source.name(),
        sink: id.sink.name(),
        local_port: LocalPort::from_code(id.port),
        msg_zerocopy: id.msg_zerocopy,
        calls: transfer.sizes.iter().sum(),
        bytes: transfer.bytes,
        tls_bytes,
        size_histogram: Some(size_histogram(&transfer.sizes)),
    });
    let other = delta.other.iter().map(|other| Transfer {
        syscall: other.syscall.name(),
        source: other.source.name(),
        sink: other.sink.name(),
        local_port: Some(LocalPort::Entry(OTHER)),
        msg_zerocopy: false,
        calls: other.tally.calls,
        bytes: other.tally.bytes,
        tls_bytes: 0,
        size_histogram: None,
    });
    let mut transfers: Vec<_> = kept.chain(other).collect();
    transfers.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.syscall.cmp(b.syscall)));
    transfers
}

/// Transfers with those of a file and those that began with a TLS record among the others of their kind, and the bytes of
/// the latter.
fn with_and_without_tls(delta: &Snapshot) -> impl Iterator<Item = (TransferId, (Counted, u64))> {
    let mut kinds: BTreeMap<TransferId, (Counted, u64)> = BTreeMap::new();
    for transfer in &delta.transfers {
        let id = TransferId { tls: false, of_file: false, ..transfer.id };
        let tls_bytes = if transfer.id.tls { transfer.bytes } else { 0 };
        kinds
            .entry(id)
            .and_modify(|(sum, tls)| {
                sum.add(transfer);
                *tls += tls_bytes;
            })
            .or_insert_with(|| (transfer.clone(), tls_bytes));
    }
    kinds.into_iter()
}

fn size_histogram(sizes: &[u64; SIZE_BUCKETS]) -> Vec<SizeBucket> {
    (0u32..)
        .zip(sizes)
        .filter(|(_, calls)| **calls > 0)
        .map(|(bucket, calls)| SizeBucket {
            min: 1 << bucket,
            max: (bucket as usize + 1 < SIZE_BUCKETS).then(|| (1 << (bucket + 1)) - 1),
            calls: *calls,
        })
        .collect()
}

fn errors(delta: &Snapshot) -> Vec<ErrorCount> {
    let mut errors: Vec<_> = delta
        .results
        .iter()
        .filter(|result| result.result != 0)
        .map(|result| ErrorCount {
            syscall: result.syscall.name(),
            errno: errno_name(result.result),
            calls: result.calls,
        })
        .collect();
    errors.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.syscall.cmp(b.syscall)));
    errors
}

fn errno_name(errno: u32) -> String {
    if errno == RESULT_RESTARTED {
        return "restarted".to_owned();
    }
    let errno = i32::try_from(errno).unwrap_or(0);
    super::errno::name(errno).map_or_else(|| errno.to_string(), str::to_owned)
}

fn empty(delta: &Snapshot) -> Vec<EmptyCount> {
    let mut empty: Vec<_> = delta
        .results
        .iter()
        .filter(|result| result.result == 0)
        .map(|result| EmptyCount { syscall: result.syscall.name(), calls: result.calls })
        .collect();
    empty.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.syscall.cmp(b.syscall)));
    empty
}

fn lost(delta: &Snapshot) -> Lost {
    let transfers: u64 = delta.other.iter().map(|other| other.tally.bytes).sum();
    let files: u64 = delta.files_other.bytes.iter().sum();
    Lost {
        updates: delta.counter(Counter::TransfersFull)
            + delta.counter(Counter::FilesFull)
            + delta.counter(Counter::DirectoriesFull),
        other_bytes: transfers + files,
        unknown_endpoint_calls: delta.counter(Counter::EndpointUnknown),
        unknown_endpoint_bytes: delta.counter(Counter::EndpointUnknownBytes),
        unknown_length_calls: delta.counter(Counter::LengthUnknown),
        missed_calls: delta.missed_calls,
    }
}
