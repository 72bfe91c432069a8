//! What sending costs: processor time by listener, system calls and copies, and what the same bytes would cost by zero copy.

use std::collections::BTreeMap;

use agent_ebpf::Endpoint;
use serde::Serialize;

use super::{Listener, LocalPort, files::SentByPort};
use crate::{
    cpu::{Cpu, PortTime, TICK_SECONDS, Time},
    snapshot::Snapshot,
};

/// Bytes in a gigabyte.
const GB: f64 = 1e9;
/// Below so many bytes sent, a price for each gigabyte says nothing: a tick of one thread would be a second and more of it.
const LEAST_PRICED: u64 = 10_000_000;
/// Below so many bytes sent, or ticks used, a comparison says nothing.
const LEAST_BYTES: u64 = 100_000_000;
const LEAST_TICKS: u64 = 20;
/// 95 of 100 draws of a normal distribution are within so many standard deviations.
const WITHIN_95: f64 = 1.96;

/// What a listener's traffic cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Threads that sent through it.
    pub threads: u64,
    /// Those that sent through other ports, too: their time is shared out by sends.
    pub shared_threads: u64,
    /// Their time in user space, in seconds.
    pub user_seconds: f64,
    /// Their time in the kernel, in seconds.
    pub kernel_seconds: f64,
    /// How far off the sum of the two may be, in seconds: a tick for each thread.
    pub uncertainty_seconds: f64,
    /// How far off either of the two may be, in seconds, since the timer samples the split: 95 % of the time.
    pub split_uncertainty_seconds: f64,
    /// Their time over that of the process; `None` where that used none.
    pub share_of_process: Option<f64>,
    /// Time for each gigabyte (10^9 bytes) that left; `None` where less than 10 MB did, too little to tell.
    pub user_seconds_per_gb: Option<f64>,
    /// The same in the kernel.
    pub kernel_seconds_per_gb: Option<f64>,
    /// System calls that moved its bytes: sends, receives, and the reads of files before sends.
    pub calls: u64,
    /// Calls for each gigabyte that left; `None` where less than 10 MB did. Each crosses from user space into the kernel and back.
    pub calls_per_gb: Option<f64>,
    /// How often a byte that left was copied, by processor or devices: 2 by zero copy, 4 by read + write; 2 as well where it
    /// came from no file, from memory to the kernel and to the network.
    pub copies_per_byte: Option<f64>,
}

/// What sending costs, all together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessCost {
    /// Time of the whole process in user space, in seconds.
    pub user_seconds: f64,
    /// Time of the whole process in the kernel, in seconds.
    pub kernel_seconds: f64,
    /// Of both, what could not be given to a listener: threads that sent through none.
    pub other_seconds: f64,
    /// What the listeners that copy would cost by zero copy.
    pub estimates: Vec<Estimate>,
    /// Why there is no estimate, if there is none.
    pub no_estimate: Option<String>,
}

/// What the bytes of a listener that copies would cost by zero copy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The listener that copies.
    pub port: u16,
    /// The listener whose cost a byte is taken.
    pub reference_port: u16,
    /// What it cost, in seconds of processor time.
    pub seconds: f64,
    /// What the same bytes would have cost at the reference's price.
    pub zero_copy_seconds: f64,
    /// The least and the most that this is, by the uncertainty of the reference's time.
    pub zero_copy_seconds_low: f64,
    /// See above.
    pub zero_copy_seconds_high: f64,
    /// What it takes more in user space for each gigabyte: encryption where it encrypts, and handling the bytes.
    pub user_seconds_per_gb: f64,
    /// What it takes more in the kernel for each gigabyte: the copies and the calls.
    pub kernel_seconds_per_gb: f64,
    /// How far off each of the two may be, for each gigabyte: 95 % of the time.
    pub uncertainty_seconds_per_gb: f64,
    /// How this was worked out.
    pub method: &'static str,
}

const METHOD: &str = "Processor time of the network threads of each listener for each byte that left, in this window. The \
                      difference in user space is taken for encryption and the handling of the bytes, that in the kernel for \
                      copies and calls. Sizes of fetches and numbers of clients that differ between the two are in it.";

#[allow(clippy::cast_precision_loss)] // counts below 2^53 in all practice
fn seconds(ticks: u64) -> f64 {
    ticks as f64 * TICK_SECONDS
}

/// How far off one part of `time` may be that the timer has sampled, in seconds.
#[allow(clippy::cast_precision_loss)]
fn split_uncertainty(time: Time, threads: u64) -> f64 {
    let all = time.total() as f64;
    let share = if time.total() == 0 { 0.0 } else { time.user as f64 / all };
    (WITHIN_95 * (all * share * (1.0 - share)).sqrt() + threads as f64) * TICK_SECONDS
}

/// Calls that moved bytes of each port.
pub(super) fn calls(delta: &Snapshot, sent: &SentByPort) -> BTreeMap<LocalPort, u64> {
    let mut calls: BTreeMap<LocalPort, u64> = BTreeMap::new();
    for transfer in &delta.transfers {
        let is_socket = transfer.id.sink == Endpoint::Socket || transfer.id.source == Endpoint::Socket;
        if let Some(port) = LocalPort::from_code(transfer.id.port).filter(|_| is_socket) {
            *calls.entry(port).or_default() += transfer.calls();
        }
    }
    for (port, of) in sent {
        *calls.entry(port.clone()).or_default() += of.read_calls;
    }
    calls
}

/// Gives each listener its cost.
pub(super) fn add(listeners: &mut [Listener], cpu: Option<&Cpu>, calls: &BTreeMap<LocalPort, u64>) {
    let Some(cpu) = cpu else { return };
    for (code, used) in &cpu.ports {
        let Some(port) = LocalPort::from_code(*code) else { continue };
        let is_it = |listener: &&mut Listener| match &port {
            LocalPort::Port(port) => listener.port == Some(*port),
            LocalPort::Entry(entry) => listener.port.is_none() && listener.name.as_deref() == Some(entry),
        };
        if let Some(listener) = listeners.iter_mut().find(is_it) {
            listener.cost = Some(cost(listener, used, cpu, calls.get(&port).copied().unwrap_or(0)));
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn cost(listener: &Listener, used: &PortTime, cpu: &Cpu, calls: u64) -> Cost {
    let egress = &listener.egress;
    let bytes = egress.egress_bytes as f64;
    let per_gb = |of: f64| (egress.egress_bytes >= LEAST_PRICED).then(|| of / (bytes / GB));
    // From the disk into the page cache, those of files; every byte to the network card.
    let by_devices = || ((egress.zero_copy_bytes + egress.carried_file_bytes) as f64 / bytes).min(1.0) + 1.0;
    let (user_seconds, kernel_seconds) = (seconds(used.time.user), seconds(used.time.kernel));
    let process = cpu.process.total();
    Cost {
        threads: used.threads,
        shared_threads: used.shared,
        user_seconds,
        kernel_seconds,
        uncertainty_seconds: seconds(used.threads),
        split_uncertainty_seconds: split_uncertainty(used.time, used.threads),
        share_of_process: (process > 0).then(|| (used.time.total() as f64 / process as f64).min(1.0)),
        user_seconds_per_gb: per_gb(user_seconds),
        kernel_seconds_per_gb: per_gb(kernel_seconds),
        calls,
        calls_per_gb: per_gb(calls as f64),
        copies_per_byte: egress.copy_amplification.map(|moved| by_devices() + moved),
    }
}

/// The whole process, and what copying listeners would cost by zero copy.
pub(super) fn process(listeners: &[Listener], cpu: Option<&Cpu>) -> Option<ProcessCost> {
    let cpu = cpu?;
    let given: u64 = cpu.ports.values().map(|port| port.time.total()).sum();
    let (estimates, no_estimate) = match estimates(listeners) {
        Ok(estimates) => (estimates, None),
        Err(why) => (Vec::new(), Some(why.to_owned())),
    };
    Some(ProcessCost {
        user_seconds: seconds(cpu.process.user),
        kernel_seconds: seconds(cpu.process.kernel),
        other_seconds: seconds(cpu.process.total().saturating_sub(given)),
        estimates,
        no_estimate,
    })
}

/// A listener that sends much more than it takes in, for long enough.
fn measured(listener: &Listener) -> Option<(u16, &Cost, f64)> {
    let (port, cost) = (listener.port?, listener.cost.as_ref()?);
    let bytes = listener.egress.egress_bytes;
    let enough = bytes >= LEAST_BYTES && cost.user_seconds + cost.kernel_seconds >= seconds(LEAST_TICKS);
    #[allow(clippy::cast_precision_loss)]
    (enough && listener.ingress_bytes <= bytes / 10).then_some((port, cost, bytes as f64))
}

fn estimates(listeners: &[Listener]) -> Result<Vec<Estimate>, &'static str> {
    let share_at_least = |listener: &Listener, of: fn(&super::Egress) -> Option<f64>| {
        of(&listener.egress).is_some_and(|share| share >= 0.9)
    };
    if !listeners.iter().any(|listener| share_at_least(listener, |egress| egress.copy_ratio) && listener.port.is_some())
    {
        return Err("No listener copied most of what it sent.");
    }
    let reference = listeners
        .iter()
        .filter(|listener| share_at_least(listener, |egress| egress.zero_copy_ratio))
        .filter_map(measured)
        .max_by(|a, b| a.2.total_cmp(&b.2));
    let Some((reference_port, reference, reference_bytes)) = reference else {
        return Err("No listener sent 100 MB by zero copy and took in little, so there is no price to compare with.");
    };
    let estimates: Vec<_> = listeners
        .iter()
        .filter(|listener| share_at_least(listener, |egress| egress.copy_ratio))
        .filter_map(measured)
        .map(|(port, cost, bytes)| {
            let scale = bytes / reference_bytes;
            let zero_copy = (reference.user_seconds + reference.kernel_seconds) * scale;
            let off = reference.uncertainty_seconds * scale;
            let per_gb = |copied: f64, by_zero_copy: f64| (copied / bytes - by_zero_copy / reference_bytes) * GB;
            let split_off =
                (cost.split_uncertainty_seconds / bytes).hypot(reference.split_uncertainty_seconds / reference_bytes);
            Estimate {
                port,
                reference_port,
                seconds: cost.user_seconds + cost.kernel_seconds,
                zero_copy_seconds: zero_copy,
                zero_copy_seconds_low: (zero_copy - off).max(0.0),
                zero_copy_seconds_high: zero_copy + off,
                user_seconds_per_gb: per_gb(cost.user_seconds, reference.user_seconds),
                kernel_seconds_per_gb: per_gb(cost.kernel_seconds, reference.kernel_seconds),
                uncertainty_seconds_per_gb: split_off * GB,
                method: METHOD,
            }
        })
        .collect();
    if estimates.is_empty() {
        return Err("The listeners that copy sent less than 100 MB, or took in much, which is in their time, too.");
    }
    Ok(estimates)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::Egress;

    fn listener(port: u16, zero_copy_bytes: u64, copied_bytes: u64, ingress_bytes: u64) -> Listener {
        let egress_bytes = zero_copy_bytes + copied_bytes;
        let carried_file_bytes = copied_bytes;
        let egress = Egress { egress_bytes, zero_copy_bytes, copied_bytes, carried_file_bytes, ..Egress::default() };
        Listener { port: Some(port), ingress_bytes, egress: egress.with_ratios(), ..Listener::default() }
    }

    fn used(user: u64, kernel: u64, threads: u64) -> PortTime {
        PortTime { time: Time { user, kernel }, threads, shared: 0 }
    }

    fn cpu() -> Cpu {
        let ports = BTreeMap::from([(1, used(100, 300, 3)), (2, used(900, 700, 3))]);
        Cpu { ports, process: Time { user: 2_000, kernel: 2_000 }, ..Cpu::default() }
    }

    const CALLS: u64 = 10_000;

    fn costed(mut listeners: Vec<Listener>) -> (Vec<Listener>, ProcessCost) {
        add(&mut listeners, Some(&cpu()), &BTreeMap::from([(LocalPort::Port(2), CALLS)]));
        let process = process(&listeners, Some(&cpu())).unwrap();
        (listeners, process)
    }

    #[test]
    fn a_listeners_price_is_its_threads_time_over_its_bytes() {
        let (listeners, process) = costed(vec![listener(1, 4_000_000_000, 0, 0), listener(2, 0, 2_000_000_000, 0)]);
        let ssl = listeners[1].cost.as_ref().unwrap();
        assert_eq!((ssl.user_seconds, ssl.kernel_seconds, ssl.share_of_process), (9.0, 7.0, Some(0.4)));
        assert_eq!((ssl.user_seconds_per_gb, ssl.kernel_seconds_per_gb), (Some(4.5), Some(3.5)));
        assert_eq!((ssl.calls_per_gb, ssl.copies_per_byte), (Some(5_000.0), Some(4.0)));
        assert_eq!(listeners[0].cost.as_ref().unwrap().copies_per_byte, Some(2.0));
        assert_eq!(process.other_seconds, 20.0);
        let estimate = &process.estimates[0];
        assert_eq!((estimate.port, estimate.reference_port, estimate.seconds), (2, 1, 16.0));
        assert_eq!(estimate.zero_copy_seconds, 2.0);
        assert!((estimate.zero_copy_seconds_low - 1.985).abs() < 1e-9, "{estimate:?}");
        assert_eq!((estimate.user_seconds_per_gb, estimate.kernel_seconds_per_gb), (4.25, 2.75));
        assert!(estimate.uncertainty_seconds_per_gb > 0.1, "{estimate:?}");
    }

    #[test]
    fn what_came_from_no_file_was_not_copied_from_a_disk_and_little_has_no_price() {
        let mut headers = listener(1, 0, 161, 302);
        headers.egress = Egress { carried_file_bytes: 0, ..headers.egress }.with_ratios();
        let (listeners, _) = costed(vec![headers, listener(2, 9_999_999, 0, 0)]);
        let of = |index: usize| listeners[index].cost.as_ref().unwrap();
        assert_eq!((of(0).copies_per_byte, of(1).copies_per_byte), (Some(2.0), Some(2.0)));
        for cost in [of(0), of(1)] {
            assert_eq!((cost.user_seconds_per_gb, cost.kernel_seconds_per_gb, cost.calls_per_gb), (None, None, None));
        }
        assert_eq!(of(1).calls, CALLS);
    }

    #[test]
    fn without_something_to_compare_with_there_is_no_estimate() {
        for listeners in [
            vec![listener(1, 4_000_000_000, 0, 0)],
            vec![listener(1, 4_000_000, 0, 0), listener(2, 0, 2_000_000_000, 0)],
            vec![listener(1, 4_000_000_000, 0, 0), listener(2, 0, 2_000_000_000, 1_900_000_000)],
        ] {
            let (_, process) = costed(listeners);
            assert_eq!(process.estimates, []);
            assert!(process.no_estimate.is_some());
        }
    }

    #[test]
    fn time_that_was_not_looked_at_is_no_cost() {
        let mut listeners = vec![listener(1, 4_000_000_000, 0, 0)];
        add(&mut listeners, None, &BTreeMap::new());
        assert_eq!(listeners[0].cost, None);
        assert_eq!(process(&listeners, None), None);
    }

    #[test]
    fn a_split_is_sampled_and_a_tick_for_each_thread_may_be_missing() {
        assert_eq!(split_uncertainty(Time { user: 0, kernel: 100 }, 1), 0.01);
        assert!((split_uncertainty(Time { user: 50, kernel: 50 }, 0) - 0.098).abs() < 1e-9);
        assert_eq!(split_uncertainty(Time::default(), 0), 0.0);
    }
}
