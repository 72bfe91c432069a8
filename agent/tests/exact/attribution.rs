//! Whose data left through which listener, and why it was copied.

use std::collections::BTreeMap;

use agent_ebpf::{Counter, Endpoint, Looks, Syscall};
use zctrace::{
    exercise::{KnownPort, Ledger, Plan},
    report::{Attach, EndedBy, Facts, KafkaTarget, Report, Target, Window, build},
    snapshot::Snapshot,
};

use super::harness::{LEGS, exact_and_whole, storm};

/// What left through the listener that sends by `syscall`: flows (topic or what stands for one, by zero copy, copied, read
/// before) and reasons.
type Told = (Vec<(String, u64, u64, u64)>, Vec<(&'static str, u64)>);

fn told(report: &Report, ledger: &Ledger, syscall: Syscall) -> Told {
    let port = ledger.transfers.iter().find_map(|known| match known.port {
        KnownPort::Listener(port) if known.syscall == syscall && known.sink == Endpoint::Socket => Some(port),
        _ => None,
    });
    let listener = report.listeners.iter().find(|listener| listener.port == port).unwrap();
    let flows = listener.flows.iter().map(|flow| {
        let whose = flow.topic.as_deref().unwrap_or(flow.from).to_owned();
        (whose, flow.zero_copy_bytes, flow.copied_bytes, flow.read_bytes)
    });
    let reasons = listener.reasons.iter().map(|reason| (reason.code, reason.bytes)).collect();
    let copied: u64 = listener.flows.iter().map(|flow| flow.copied_bytes).sum();
    let zero_copy: u64 = listener.flows.iter().map(|flow| flow.zero_copy_bytes).sum();
    assert_eq!((zero_copy, copied), (listener.egress.zero_copy_bytes, listener.egress.copied_bytes), "margins");
    assert_eq!(listener.reasons.iter().map(|reason| reason.bytes).sum::<u64>(), copied, "margins");
    (flows.collect(), reasons)
}

/// The Report of a process that is taken for a broker.
fn of_a_broker(snapshot: &Snapshot) -> Report {
    let target = Target { kafka: Some(KafkaTarget::default()), ..Target::default() };
    let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::Signal };
    build(snapshot, &Facts { target, ..Facts::default() }, window, Attach::default())
}

#[test]
fn whose_data_left_and_why_it_was_copied() {
    for (ledger, snapshot) in exact_and_whole(Plan::Flows, &LEGS) {
        let report = of_a_broker(&snapshot);
        let told = |syscall| told(&report, &ledger, syscall);
        let flow = |whose: &str, zero_copy, copied, read| (whose.to_owned(), zero_copy, copied, read);
        assert_eq!(
            told(Syscall::Writev),
            (vec![flow("orders", 90_000, 0, 0), flow("none", 0, 140, 0)], vec![("headers", 140)])
        );
        assert_eq!(
            told(Syscall::Write),
            (
                vec![flow("orders", 0, 32_826, 32_768), flow("payments", 0, 10_029, 10_000), flow("none", 0, 40, 0)],
                vec![("tls", 42_895)]
            )
        );
        assert_eq!(
            told(Syscall::Sendto),
            (
                vec![flow("payments", 0, 23_000, 20_000), flow("files", 0, 8_000, 8_000), flow("none", 0, 300, 0)],
                vec![("log_read", 23_000), ("file_read", 8_000), ("headers", 300)]
            )
        );
        // What the small one of 50 bytes sent is 63 at most, so that the rest left in large pieces.
        assert_eq!(
            told(Syscall::Sendmsg),
            (vec![flow("none", 0, 40_050, 0)], vec![("sendfile_refused", 39_987), ("headers", 63)])
        );
        assert_eq!(report.unsent_read_bytes, 5_000 + 7_000);
        assert_eq!(snapshot.refused.values().copied().collect::<Vec<_>>(), [1]);
    }
}

/// Threads at the same time: fewer where a machine is emulated.
fn crowd() -> u64 {
    if storm() < 4_000_000 { 500 } else { 5_000 }
}

#[test]
fn thousands_of_network_threads_are_each_known() {
    let legs = &LEGS[..1];
    for (ledger, snapshot) in exact_and_whole(Plan::Crowd(crowd()), legs) {
        let report = of_a_broker(&snapshot);
        let bytes = crowd() / 2 * 100;
        for syscall in [Syscall::Sendto, Syscall::Sendmsg] {
            let flow = ("orders".to_owned(), 0, bytes, bytes);
            assert_eq!(told(&report, &ledger, syscall), (vec![flow], vec![("log_read", bytes)]));
        }
        assert_eq!((report.unsent_read_bytes, snapshot.counter(Counter::CarriedDropped)), (0, 0));
    }
}

#[test]
fn threads_that_make_it_hard_to_tell_whose_data_they_send() {
    for (ledger, snapshot) in exact_and_whole(Plan::Days, &LEGS) {
        let report = of_a_broker(&snapshot);
        let told = |syscall| told(&report, &ledger, syscall);
        let flow = |whose: &str, zero_copy, copied, read| (whose.to_owned(), zero_copy, copied, read);
        // What was read long ago is still the file's; what came in between by zero copy has nothing to do with it.
        assert_eq!(
            told(Syscall::Writev),
            (
                vec![flow("orders", 0, 10_000, 10_000), flow("payments", 3_000, 0, 0), flow("none", 0, 200, 0)],
                vec![("log_read", 10_000), ("headers", 200)]
            )
        );
        // Two listeners of one thread. Of what was sent after two topics were read, all is taken for the second one's.
        assert_eq!(
            told(Syscall::Sendto),
            (vec![flow("orders", 0, 3_000, 3_000), flow("payments", 0, 700, 400)], vec![("log_read", 3_700)])
        );
        assert_eq!(told(Syscall::Sendmsg), (vec![flow("payments", 0, 6_000, 6_000)], vec![("log_read", 6_000)]));
        // Sessions that began before the watch, and in its middle.
        assert_eq!(
            told(Syscall::Write),
            (vec![flow("payments", 0, 8_029, 8_000), flow("none", 0, 11_266, 0)], vec![("tls", 19_295)])
        );
        // A listener and the one that took its place.
        let reopened: BTreeMap<u64, Vec<(&str, u64)>> = report
            .listeners
            .iter()
            .filter(|listener| [40_000, 50].contains(&listener.egress.egress_bytes))
            .map(|listener| {
                let reasons = listener.reasons.iter().map(|reason| (reason.code, reason.bytes)).collect();
                (listener.egress.egress_bytes, reasons)
            })
            .collect();
        assert_eq!(reopened, BTreeMap::from([(50, vec![("headers", 50)]), (40_000, vec![("unknown", 40_000)])]));
        // The idle thread's, and what another read of the first of two topics.
        assert_eq!(report.unsent_read_bytes, 10_000 + 300);
    }
}

#[test]
fn what_sends_begin_with_is_seen_at_each_of_them_or_soon() {
    for (ledger, snapshot) in exact_and_whole(Plan::Settled, &LEGS) {
        let report = of_a_broker(&snapshot);
        // The ports are known by their bytes: all of them, and those of the sends that began with a header.
        for (all, with_header, plain) in
            [(200 * 105, 200 * 60, 0), (200 * 155, 200 * 105, 50), (200 * 175, 200 * 105, 70)]
        {
            let of_port = |port: u32| {
                let of = snapshot.transfers.iter().filter(move |transfer| transfer.id.port == port);
                of.filter(|transfer| transfer.id.sink == Endpoint::Socket)
            };
            let port = ledger
                .transfers
                .iter()
                .map(|known| known.port.code())
                .find(|port| of_port(*port).map(|transfer| transfer.bytes).sum::<u64>() == all);
            let port = port.unwrap_or_else(|| panic!("no port sent {all} bytes"));
            let tls: u64 = of_port(port).filter(|transfer| transfer.id.tls).map(|transfer| transfer.bytes).sum();
            let listener = report.listeners.iter().find(|listener| listener.port == Some(u16::try_from(port).unwrap()));
            let reasons: Vec<_> = listener.unwrap().reasons.iter().map(|of| (of.code, of.bytes)).collect();
            if plain == 0 {
                assert!((with_header..=all).contains(&tls), "{tls}");
                assert_eq!(reasons, [("tls", all)]);
            } else {
                // What changes is noticed by the next look.
                let late = Looks::EVERY - 1;
                let (least, most) = if plain == 50 { (late * 105, 0) } else { (0, late * plain) };
                assert!((with_header - least..=with_header + most).contains(&tls), "{tls} of {all}");
            }
        }
    }
}
