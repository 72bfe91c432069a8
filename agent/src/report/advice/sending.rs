//! Rules about how the broker sends: what makes it copy, or makes many calls of few bytes.

use super::Advice;
use crate::report::{Egress, Listener, LocalPort, Report, Transfer};

/// Below so many bytes a listener gives no reason for advice.
const LEAST_BYTES: u64 = 100_000_000;
/// Data of topics below so many bytes were not converted, or fetched from elsewhere, to any effect.
const LEAST_CONVERTED: u64 = 1_000_000;
/// Fetches that carry less than this on average are small: a batch of the producer's default size has 16 KiB.
const SMALL_SEND: u64 = 16_384;
/// A call in five that finds the socket full says that its buffer is what cuts the calls.
const FULL_IN: u64 = 5;

/// Everything that the way of sending gives reason for.
#[must_use]
pub(super) fn advise(report: &Report) -> Vec<Advice> {
    let sending = [encrypted(report), small_sends(report), send_buffer(report)];
    let copying = [old_formats(report), refused(report), remote_segments(report)];
    sending.into_iter().chain(copying).flatten().collect()
}

/// `SSL :9093`.
fn name(listener: &Listener) -> String {
    match (&listener.name, listener.port) {
        (Some(name), Some(port)) => format!("{name} :{port}"),
        (Some(name), None) => name.clone(),
        (None, Some(port)) => format!(":{port}"),
        (None, None) => "a listener".to_owned(),
    }
}

/// Megabytes, as people say them.
fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

fn bytes_for(listener: &Listener, code: &str) -> u64 {
    listener.reasons.iter().filter(|reason| reason.code == code).map(|reason| reason.bytes).sum()
}

/// Data of topics that left copied through this listener.
fn topics_copied(listener: &Listener) -> u64 {
    listener.flows.iter().filter(|flow| flow.topic.is_some()).map(|flow| flow.copied_bytes).sum()
}

/// Much of what leaves is encrypted in the broker: those who need no encryption pay for it, too.
fn encrypted(report: &Report) -> Option<Advice> {
    let copies = |listener: &&Listener| {
        listener.port.is_some() && bytes_for(listener, "tls") > 0 && topics_copied(listener) >= LEAST_BYTES
    };
    let listeners: Vec<&Listener> = report.listeners.iter().filter(copies).collect();
    if listeners.is_empty() {
        return None;
    }
    let mut evidence: Vec<String> = listeners.iter().map(|listener| encrypts(listener)).collect();
    for estimate in report.cost.iter().flat_map(|cost| &cost.estimates) {
        evidence.push(format!(
            "port {} used {:.1} s of processor time, and would have used about {:.1} s ({:.1} to {:.1}) for the same bytes at \
             the price of port {}",
            estimate.port,
            estimate.seconds,
            estimate.zero_copy_seconds,
            estimate.zero_copy_seconds_low,
            estimate.zero_copy_seconds_high,
            estimate.reference_port
        ));
    }
    let plain =
        report.listeners.iter().find(|listener| listener.protocol.as_deref() == Some("PLAINTEXT") && sends(listener));
    let how = plain.map_or_else(
        || "add an internal listener with PLAINTEXT beside this one".to_owned(),
        |plain| format!("let them use {}", name(plain)),
    );
    Some(Advice {
        id: "encrypted_in_the_broker",
        text: "Data of topics is encrypted in the broker, so none of it leaves by zero copy. Kernel TLS is no way out: the JDK \
               encrypts in its own memory, whatever the kernel has."
            .to_owned(),
        evidence,
        remedy: format!(
            "Keep TLS as the rule. Only for clients in a network that you trust like this host, {how}: there everybody on \
             the way can read and change what is sent."
        ),
    })
}

fn encrypts(listener: &Listener) -> String {
    let cost = listener.cost.as_ref().and_then(|cost| cost.share_of_process);
    let cost = cost.map_or_else(String::new, |share| {
        format!(", with threads that used {:.0} % of the process's processor time", share * 100.0)
    });
    format!("{} sent {} of topics as TLS records{cost}", name(listener), megabytes(topics_copied(listener)))
}

/// A listener that sends by zero copy.
fn sends(listener: &Listener) -> bool {
    listener.port.is_some() && listener.egress.zero_copy_ratio.is_some_and(|ratio| ratio > 0.9)
}

/// The `sendfile` calls of a listener.
fn sendfile<'a>(report: &'a Report, listener: &Listener) -> Option<&'a Transfer> {
    let port = listener.port.map(LocalPort::Port);
    let is_it = |transfer: &&Transfer| {
        transfer.syscall == "sendfile"
            && transfer.source == "file"
            && transfer.sink == "socket"
            && transfer.local_port == port
    };
    report.transfers.iter().find(is_it)
}

fn sends_much(egress: &Egress) -> bool {
    egress.zero_copy_bytes >= LEAST_BYTES
}

/// Zero copy in small pieces.
fn small_sends(report: &Report) -> Option<Advice> {
    let evidence: Vec<String> = report
        .listeners
        .iter()
        .filter(|listener| sends_much(&listener.egress))
        .filter_map(|listener| Some((listener, sendfile(report, listener)?)))
        .filter(|(_, calls)| calls.bytes / calls.calls.max(1) < SMALL_SEND)
        .map(|(listener, calls)| {
            let mean = calls.bytes / calls.calls.max(1);
            format!(
                "{} sent {} by {} sendfile calls of {mean} bytes each",
                name(listener),
                megabytes(calls.bytes),
                calls.calls
            )
        })
        .collect();
    (!evidence.is_empty()).then(|| Advice {
        id: "small_sends",
        text: "Zero copy moves little with each call, so the calls and the answers' headers cost more than the data.".to_owned(),
        evidence,
        remedy: "Let batches grow: linger.ms and batch.size of the producers, fetch.min.bytes of the consumers. Each waits a \
                 little longer for more at once."
            .to_owned(),
    })
}

/// The socket's buffer cuts the calls.
fn send_buffer(report: &Report) -> Option<Advice> {
    let all = |of: &dyn Fn(&Transfer) -> u64| -> u64 {
        let is_it = |transfer: &&Transfer| transfer.syscall == "sendfile" && transfer.sink == "socket";
        report.transfers.iter().filter(is_it).map(of).sum()
    };
    let (calls, bytes) = (all(&|transfer| transfer.calls), all(&|transfer| transfer.bytes));
    let full: u64 = report
        .errors
        .iter()
        .filter(|error| error.syscall == "sendfile" && error.errno == "EAGAIN")
        .map(|error| error.calls)
        .sum();
    // Large calls would be larger still; small ones have another reason.
    let mean = bytes / calls.max(1);
    (bytes >= LEAST_BYTES && full >= calls / FULL_IN && (SMALL_SEND..262_144).contains(&mean)).then(|| Advice {
        id: "send_buffer_cuts_sendfile",
        text: "Sends find the socket's buffer full before their data are through, and go on later with another call."
            .to_owned(),
        evidence: vec![format!(
            "{full} sendfile calls found the buffer full (EAGAIN), beside {calls} that sent {mean} bytes each"
        )],
        remedy: "Try socket.send.buffer.bytes=-1, which lets the kernel size the buffers (net.ipv4.tcp_wmem), or 1 MiB instead of \
                 the default of 100 KiB; it takes that much more memory for each busy connection."
            .to_owned(),
    })
}

/// Logs read by calls for a listener that does not encrypt.
fn old_formats(report: &Report) -> Option<Advice> {
    let mut evidence = Vec::new();
    for listener in &report.listeners {
        if bytes_for(listener, "log_read") < LEAST_CONVERTED {
            continue;
        }
        for flow in listener.flows.iter().filter(|flow| flow.reason == Some("log_read")) {
            let topic = flow.topic.as_deref().unwrap_or_default();
            evidence.push(format!(
                "{} read {} of {topic} into memory and sent {}",
                name(listener),
                megabytes(flow.read_bytes),
                megabytes(flow.copied_bytes)
            ));
        }
    }
    (!evidence.is_empty()).then(|| Advice {
        id: "log_read_without_tls",
        text: "Logs are read into the broker's memory for a listener that does not encrypt. That is what a broker does that \
               converts batches to an older format for an old client."
            .to_owned(),
        evidence,
        remedy: "Find the consumers of these topics that are older than Kafka 0.11 (kafka.network RequestMetrics, \
                 FetchMessageConversionsPerSec) and bring them up to date."
            .to_owned(),
    })
}

/// The kernel refuses `sendfile`.
fn refused(report: &Report) -> Option<Advice> {
    let evidence: Vec<String> = report
        .listeners
        .iter()
        .filter(|listener| bytes_for(listener, "sendfile_refused") > 0)
        .map(|listener| {
            let reason = listener.reasons.iter().find(|reason| reason.code == "sendfile_refused");
            format!("{}: {}", name(listener), reason.map_or("", |reason| reason.text.as_str()))
        })
        .collect();
    (!evidence.is_empty()).then(|| Advice {
        id: "sendfile_refused",
        text: "The kernel can't send these logs by sendfile, so the JDK maps them and writes the mappings out.".to_owned(),
        evidence,
        remedy: "Look at the file system of log.dirs, and at what restricts the broker's system calls (seccomp, sandboxes): \
                 ext4 and xfs on local disks send by sendfile."
            .to_owned(),
    })
}

/// Segments that come from remote storage.
fn remote_segments(report: &Report) -> Option<Advice> {
    let with = |listener: &&Listener| bytes_for(listener, "remote_segments") >= LEAST_CONVERTED;
    let mut evidence: Vec<String> = report
        .listeners
        .iter()
        .filter(with)
        .map(|listener| {
            let bytes = megabytes(bytes_for(listener, "remote_segments"));
            format!("{} sent {bytes} that had to be fetched from remote storage", name(listener))
        })
        .collect();
    if evidence.is_empty() {
        return None;
    }
    let settings = report.target.kafka.iter().flat_map(|kafka| &kafka.settings);
    evidence.extend(
        settings
            .filter(|of| of.key.starts_with("log.local.retention."))
            .map(|of| format!("its configuration sets {}={}", of.key, of.value)),
    );
    Some(Advice {
        id: "remote_segments_read",
        text: "Consumers read what is no longer in the log directories: it is fetched from remote (tiered) storage into the \
               broker's memory and leaves copied. That is what such storage is for, as long as it is the exception."
            .to_owned(),
        evidence,
        remedy: "Where these consumers are always so far behind, keep segments local for longer: local.retention.ms and \
                 local.retention.bytes of the topics. It takes that much more room in log.dirs."
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        report::{Attach, EndedBy, ErrorCount, Flow, Reason, Window, build, tests::facts},
        snapshot::Snapshot,
    };

    fn report(listeners: Vec<Listener>) -> Report {
        let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::Signal };
        Report { listeners, ..build(&Snapshot::default(), &facts(), window, Attach::default()) }
    }

    fn listener(protocol: &str, port: u16, zero_copy_bytes: u64, copied_bytes: u64, code: &'static str) -> Listener {
        let egress_bytes = zero_copy_bytes + copied_bytes;
        let egress = Egress { egress_bytes, zero_copy_bytes, copied_bytes, ..Egress::default() }.with_ratios();
        let reason = Reason { code, bytes: copied_bytes, text: "what was seen".to_owned() };
        let flow = Flow {
            from: "topic",
            topic: Some("orders".into()),
            zero_copy_bytes,
            copied_bytes,
            read_bytes: copied_bytes,
            reason: Some(code),
        };
        Listener {
            port: Some(port),
            name: Some(protocol.to_owned()),
            protocol: Some(protocol.to_owned()),
            egress,
            reasons: vec![reason],
            flows: vec![flow],
            ..Listener::default()
        }
    }

    fn sendfile_calls(port: u16, calls: u64, bytes: u64) -> Transfer {
        Transfer {
            syscall: "sendfile",
            source: "file",
            sink: "socket",
            local_port: Some(LocalPort::Port(port)),
            msg_zerocopy: false,
            calls,
            bytes,
            tls_bytes: 0,
            size_histogram: None,
        }
    }

    fn ids(report: &Report) -> Vec<&'static str> {
        advise(report).into_iter().map(|advice| advice.id).collect()
    }

    #[test]
    fn encryption_is_called_out_without_talking_it_down() {
        let ssl = listener("SSL", 9093, 0, 300_000_000, "tls");
        let advice = advise(&report(vec![ssl.clone()])).remove(0);
        assert_eq!(advice.id, "encrypted_in_the_broker");
        assert_eq!(advice.evidence, ["SSL :9093 sent 300 MB of topics as TLS records"]);
        assert!(
            advice.remedy.starts_with("Keep TLS as the rule.") && advice.remedy.contains("read and change"),
            "{advice:?}"
        );
        let plain = listener("PLAINTEXT", 9092, 100, 0, "headers");
        assert!(advise(&report(vec![ssl, plain])).remove(0).remedy.contains("let them use PLAINTEXT :9092"));
        assert_eq!(ids(&report(vec![listener("SSL", 9093, 0, 3_000_000, "tls")])), [""; 0]);
    }

    #[test]
    fn small_sends_and_full_buffers_are_told_apart() {
        let plain = || report(vec![listener("PLAINTEXT", 9092, 200_000_000, 0, "headers")]);
        let with = |calls, full| {
            let errors = vec![ErrorCount { syscall: "sendfile", errno: "EAGAIN".to_owned(), calls: full }];
            Report { transfers: vec![sendfile_calls(9092, calls, 200_000_000)], errors, ..plain() }
        };
        assert_eq!(ids(&with(100_000, 0)), ["small_sends"]);
        assert_eq!(ids(&with(4_000, 3_000)), ["send_buffer_cuts_sendfile"]);
        assert_eq!(ids(&with(4_000, 3)), [""; 0]);
        assert_eq!(ids(&with(100, 90)), [""; 0], "calls of 2 MB need no larger buffer");
    }

    #[test]
    fn copies_without_encryption_have_their_own_advice() {
        for (code, id) in [
            ("log_read", "log_read_without_tls"),
            ("sendfile_refused", "sendfile_refused"),
            ("remote_segments", "remote_segments_read"),
        ] {
            let advice = advise(&report(vec![listener("PLAINTEXT", 9092, 0, 5_000_000, code)])).remove(0);
            assert_eq!((advice.id, advice.evidence.len()), (id, 1));
        }
        assert_eq!(ids(&report(vec![listener("PLAINTEXT", 9092, 0, 5_000_000, "headers")])), [""; 0]);
        assert_eq!(ids(&report(vec![listener("PLAINTEXT", 9092, 0, 500, "log_read")])), [""; 0]);
    }
}
