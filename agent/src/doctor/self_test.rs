//! Known transfers of every kind, counted by each leg.

use std::{collections::BTreeMap, path::Path};

use agent_ebpf::{Endpoint, Syscall};
use serde::Serialize;

use crate::{
    exercise::{Child, Ledger, Plan},
    probe::{Capacity, Leg, LegChoice, Probe, ProbeError},
    snapshot::Snapshot,
    target::listening_ports,
};

/// What the known calls are: every call and pair of endpoints, failures, threads that start later, descriptors that change
/// what they mean, a listener that opens later.
const PLANS: [Plan; 5] = [Plan::Basic, Plan::Partial, Plan::Threads, Plan::Fds, Plan::LateListener];

/// One leg's test.
#[derive(Debug, Serialize)]
pub struct SelfTest {
    /// By which leg.
    pub leg: &'static str,
    /// Why it could not be made.
    pub failure: Option<String>,
    /// What was made of each call.
    pub calls: Vec<CallLine>,
    /// What was counted differently from what was done.
    pub differences: Vec<Difference>,
    /// System calls of the host for which the kernel did not run the hook meanwhile.
    pub missed_calls: u64,
}

impl SelfTest {
    /// Whether it was made, and every call and byte was counted.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.failure.is_none() && self.differences.is_empty()
    }

    /// Whether it was made, and what was not counted is what the kernel says that it missed.
    pub(crate) fn misses_calls(&self) -> bool {
        self.failure.is_none() && !self.is_exact() && self.missed_calls > 0
    }
}

/// All that was done by one system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CallLine {
    /// The call.
    pub syscall: Syscall,
    /// Calls that moved bytes.
    pub calls: u64,
    /// The bytes.
    pub bytes: u64,
    /// Calls that failed or moved nothing.
    pub without_bytes: u64,
    /// Whether all of that was counted, and under the right endpoints.
    pub exact: bool,
}

/// Something that was counted wrongly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The call.
    pub syscall: Syscall,
    /// Between which endpoints, or how it ended.
    pub what: String,
    /// Calls and bytes that were made.
    pub made: (u64, u64),
    /// Calls and bytes that were counted.
    pub counted: (u64, u64),
}

/// Makes the test by each leg that the machine allows; by none, it says why `raw` is not.
pub(super) fn run() -> Vec<SelfTest> {
    let legs: Vec<Leg> = Leg::ALL.into_iter().filter(|leg| is_possible(*leg)).collect();
    if legs.is_empty() { vec![test(Leg::Raw)] } else { legs.into_iter().map(test).collect() }
}

/// Whether the kernel can have the leg at all. What else keeps it from being attached is for its test to say.
fn is_possible(leg: Leg) -> bool {
    match Probe::attach(leg.choice(), Capacity::default()) {
        Ok(_) => true,
        Err(ProbeError::NoLeg(_) | ProbeError::NoTracefs | ProbeError::NoTrampoline { .. }) => false,
        // Lockdown forbids functions' hooks alone.
        Err(ProbeError::NotPermitted { .. }) => !leg.hooks_functions(),
        Err(_) => true,
    }
}

fn test(leg: Leg) -> SelfTest {
    let mut test =
        SelfTest { leg: leg.name(), failure: None, calls: Vec::new(), differences: Vec::new(), missed_calls: 0 };
    if let Err(failure) = count_all(leg.choice(), &mut test) {
        test.failure = Some(failure);
    }
    test
}

fn count_all(choice: LegChoice, test: &mut SelfTest) -> Result<(), String> {
    let targets = u16::try_from(PLANS.len()).map_err(|error| error.to_string())?;
    let mut probe =
        Probe::attach(choice, Capacity { targets, ..Capacity::default() }).map_err(|error| error.to_string())?;
    for plan in PLANS {
        let (ledger, snapshot) = count(plan, &mut probe)?;
        let (calls, differences) = compare(&ledger, &snapshot);
        add(&mut test.calls, &calls);
        test.differences.extend(differences);
        // The host's since the probe was attached, not the target's.
        test.missed_calls = snapshot.missed_calls;
    }
    Ok(())
}

/// Lets a process make the calls of `plan`: what it did, and what was counted.
fn count(plan: Plan, probe: &mut Probe) -> Result<(Ledger, Snapshot), String> {
    let proc = Path::new("/proc");
    // Not its path: the file may have been replaced since this process was started.
    let mut child = Child::spawn(&proc.join("self/exe"), &plan).map_err(|error| error.to_string())?;
    let pid = child.pid();
    let slot =
        probe.watch(pid, || listening_ports(proc, pid).unwrap_or_default()).map_err(|error| error.to_string())?;
    child.go();
    let ledger = child.wait_done().map_err(|error| error.to_string())?;
    probe.stop(slot).map_err(|error| error.to_string())?;
    let snapshot = probe.snapshot(slot).map_err(|error| error.to_string())?;
    Ok((ledger, snapshot))
}

fn add(calls: &mut Vec<CallLine>, more: &[CallLine]) {
    for line in more {
        match calls.iter_mut().find(|there| there.syscall == line.syscall) {
            Some(there) => {
                there.calls += line.calls;
                there.bytes += line.bytes;
                there.without_bytes += line.without_bytes;
                there.exact &= line.exact;
            }
            None => calls.push(*line),
        }
    }
    calls.sort_by_key(|line| line.syscall);
}

/// What was done beside what was counted: pure.
#[must_use]
pub fn compare(ledger: &Ledger, snapshot: &Snapshot) -> (Vec<CallLine>, Vec<Difference>) {
    let (made, counted) = (made(ledger), counted(snapshot));
    let mut differences = Vec::new();
    for key in made.keys().chain(counted.keys().filter(|key| !made.contains_key(key))) {
        let of = |sums: &Sums| sums.get(key).copied().unwrap_or_default();
        if of(&made) != of(&counted) {
            differences.push(Difference { syscall: key.0, what: key.1.text(), made: of(&made), counted: of(&counted) });
        }
    }
    let mut lines: BTreeMap<Syscall, CallLine> = BTreeMap::new();
    for ((syscall, what), (calls, bytes)) in &made {
        let exact = !differences.iter().any(|difference| difference.syscall == *syscall);
        let line = lines.entry(*syscall).or_insert(CallLine {
            syscall: *syscall,
            calls: 0,
            bytes: 0,
            without_bytes: 0,
            exact,
        });
        match what {
            What::Moved(..) => line.calls += calls,
            What::Returned(_) => line.without_bytes += calls,
        }
        line.bytes += bytes;
    }
    (lines.into_values().collect(), differences)
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// From, to, whose socket, whether with MSG_ZEROCOPY.
    Moved(Endpoint, Endpoint, u32, bool),
    /// Nothing moved: 0 or an errno.
    Returned(u32),
}

impl What {
    fn text(self) -> String {
        match self {
            Self::Moved(source, sink, port, msg_zerocopy) => {
                let port = if port < agent_ebpf::PORT_NONE { format!(", port {port}") } else { String::new() };
                let flag = if msg_zerocopy { ", MSG_ZEROCOPY" } else { "" };
                format!("{source:?} to {sink:?}{port}{flag}").to_lowercase()
            }
            Self::Returned(0) => "returned 0".to_owned(),
            Self::Returned(errno) => format!("errno {errno}"),
        }
    }
}

/// Calls and bytes.
type Sums = BTreeMap<(Syscall, What), (u64, u64)>;

fn made(ledger: &Ledger) -> Sums {
    let moved = ledger.transfers.iter().map(|known| {
        let what = What::Moved(known.source, known.sink, known.port.code(), known.msg_zerocopy);
        ((known.syscall, what), (known.calls, known.bytes))
    });
    let errors = ledger.errors.iter().map(|(syscall, errno, calls)| ((*syscall, What::Returned(*errno)), (*calls, 0)));
    let empty = ledger.empty.iter().map(|(syscall, calls)| ((*syscall, What::Returned(0)), (*calls, 0)));
    moved.chain(errors).chain(empty).collect()
}

fn counted(snapshot: &Snapshot) -> Sums {
    let moved = snapshot.transfers.iter().map(|transfer| {
        let id = transfer.id;
        let what = What::Moved(id.source, id.sink, id.port, id.msg_zerocopy);
        ((id.syscall, what), (transfer.calls(), transfer.bytes))
    });
    let results =
        snapshot.results.iter().map(|result| ((result.syscall, What::Returned(result.result)), (result.calls, 0)));
    // What differs in a flag that the ledger does not know is one.
    let mut sums = Sums::new();
    for (key, (calls, bytes)) in moved.chain(results) {
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + calls, sum.1 + bytes);
    }
    sums
}
