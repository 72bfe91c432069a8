//! A leg that the kernel refuses when it is half attached.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;

use aya::{Btf, Ebpf, programs::FExit};
use support::{alone, executable};
use zctrace::{
    exercise::{Child, Plan},
    probe::{Capacity, Leg, LegChoice, Probe},
    target::listening_ports,
};

/// The kernel lets so many programs hook one function (`BPF_MAX_TRAMP_LINKS`, include/linux/bpf.h), or a few less.
const CROWD: usize = 48;

/// One of the functions that the leg `fexit` hooks, neither the first nor the last of them.
const FUNCTION: &str = if cfg!(target_arch = "aarch64") { "__arm64_sys_write" } else { "__x64_sys_write" };

/// Programs that do nothing, on one function, as many as the kernel takes.
fn crowd() -> Ebpf {
    let object = aya::include_bytes_aligned!("../../agent-ebpf/prebuilt/zctrace.bpf.o");
    let mut ebpf = Ebpf::load(object).unwrap();
    let types = Btf::from_sys_fs().unwrap();
    // They jump to what a map holds, and that is empty.
    let names =
        ["fexit_main", "fexit_other"].into_iter().flat_map(|name| (0..24).map(move |n| format!("{name}_{n:02}")));
    let mut attached = 0;
    for name in names {
        let program: &mut FExit = ebpf.program_mut(&name).unwrap().try_into().unwrap();
        program.load(FUNCTION, &types).unwrap();
        match program.attach() {
            Ok(_) => attached += 1,
            Err(_) => break,
        }
    }
    assert!((1..CROWD).contains(&attached), "{attached} programs hook {FUNCTION}: the kernel refuses no more of them");
    ebpf
}

#[test]
fn trampolines_that_are_refused_half_way_give_way_to_the_next_leg() {
    let _alone = alone();
    if let Err(refusal) = Probe::attach(LegChoice::Fexit, Capacity::default()) {
        eprintln!("the leg fexit can't be had on this kernel, nor be refused half-way: {refusal}");
        return;
    }
    // Where the kernel can preempt a thread in the hook, `auto` passes `fexit` over before it could be refused.
    let by_itself = Probe::attach(LegChoice::Auto, Capacity::default()).unwrap().leg() == Leg::Fexit;
    let crowd = crowd();
    let error = Probe::attach(LegChoice::Fexit, Capacity::default()).err().unwrap().to_string();
    assert!(error.contains(FUNCTION), "{error}");

    let mut child = Child::spawn(&executable(), &Plan::Basic).unwrap();
    let mut probe = Probe::attach(LegChoice::Auto, Capacity::default()).unwrap();
    assert_ne!(probe.leg(), Leg::Fexit);
    let told = probe.reason().contains("fexit was refused: ") && probe.reason().contains(FUNCTION);
    assert_eq!(told, by_itself, "{}", probe.reason());
    let slot = probe.watch(child.pid(), || listening_ports(Path::new("/proc"), child.pid()).unwrap()).unwrap();
    child.go();
    let ledger = child.wait_done().unwrap();
    probe.stop(slot).unwrap();
    let snapshot = probe.snapshot(slot).unwrap();
    // Had the hooks before the refused one stayed, their calls would count twice.
    let made: u64 = ledger.transfers.iter().map(|known| known.calls).sum();
    let counted: u64 = snapshot.transfers.iter().map(|transfer| transfer.calls()).sum();
    assert!(made > 0 && counted <= made && made <= counted + snapshot.missed_calls, "{counted} of {made}");

    drop(crowd);
    // What was refused is possible again, and nothing of the first try is in the way.
    assert_eq!(Probe::attach(LegChoice::Fexit, Capacity::default()).unwrap().leg(), Leg::Fexit);
}
