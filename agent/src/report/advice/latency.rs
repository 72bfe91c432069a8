//! Rules about how long calls take.

use super::Advice;
use crate::report::{CallLatency, LocalPort, Report};

/// Fewer slow calls than these are bad luck.
const LEAST_SLOW: u64 = 10;
/// So many calls for one that is slow: fewer give reason.
const SLOW_IN: u64 = 1000;

/// Everything that durations give reason for.
#[must_use]
pub(super) fn advise(report: &Report) -> Vec<Advice> {
    slow_sendfile(report).into_iter().collect()
}

/// `sendfile` waits for data that are not in memory, and with it the network thread that made it (KAFKA-7504).
fn slow_sendfile(report: &Report) -> Option<Advice> {
    let latency = report.latency.as_ref()?;
    let is_slow = |call: &&CallLatency| {
        let slow = call.took.slow_calls;
        call.syscall == "sendfile" && call.sink == "socket" && slow >= LEAST_SLOW && slow * SLOW_IN >= call.took.calls
    };
    let mut evidence: Vec<String> =
        latency.calls.iter().filter(is_slow).map(|call| told(call, latency.slow_seconds)).collect();
    if evidence.is_empty() {
        return None;
    }
    if let Some(cache) = report.page_cache.as_ref().filter(|cache| cache.total.asked_bytes > 0) {
        evidence.push(format!("{} bytes that were read were not in memory", cache.total.asked_bytes));
    }
    Some(Advice {
        id: "slow_sendfile",
        text: "Calls of sendfile took long. A network thread that waits in one serves none of its clients meanwhile (KAFKA-7504)."
            .to_owned(),
        evidence,
        remedy: "Keep in memory what consumers read: leave more of it to the page cache, or let consumers lag less; have faster \
                 disks; more num.network.threads, so that a thread that waits holds up fewer clients."
            .to_owned(),
    })
}

fn told(call: &CallLatency, slow_seconds: f64) -> String {
    let through = match &call.local_port {
        Some(LocalPort::Port(port)) => format!("port {port}"),
        Some(LocalPort::Entry(entry)) => (*entry).to_owned(),
        None => "no port".to_owned(),
    };
    format!(
        "{} of {} sendfile calls through {through} took {:.0} ms or longer, the longest {:.0} ms",
        call.took.slow_calls,
        call.took.calls,
        slow_seconds * 1e3,
        call.took.max_seconds * 1e3
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Attach, EndedBy, Facts, Latency, Took, Window, build};

    fn report(calls: u64, slow_calls: u64) -> Report {
        let took = Took { calls, slow_calls, max_seconds: 0.25, ..Took::default() };
        let local_port = Some(LocalPort::Port(9092));
        let call = CallLatency { syscall: "sendfile", source: "file", sink: "socket", local_port, took };
        let latency = Latency { slow_seconds: 0.01, unmeasured_calls: 0, calls: vec![call], topics: Vec::new() };
        let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::Signal };
        let report = build(&crate::snapshot::Snapshot::default(), &Facts::default(), window, Attach::default());
        Report { latency: Some(latency), ..report }
    }

    #[test]
    fn one_call_in_a_thousand_is_reason_enough() {
        let advice = advise(&report(10_000, 10));
        assert_eq!(advice.len(), 1);
        assert_eq!(
            advice[0].evidence,
            ["10 of 10000 sendfile calls through port 9092 took 10 ms or longer, the longest 250 ms"]
        );
        for (calls, slow) in [(10_001, 10), (1000, 9), (0, 0)] {
            assert!(advise(&report(calls, slow)).is_empty(), "{slow} of {calls}");
        }
    }
}
