//! Kernels that refuse a program. Like every test that hooks the kernel, these need its privileges.
#![allow(clippy::unwrap_used)]

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::*;

/// `r0 = *(u64 *)(r2 + 0)`: nothing is in `r2` when a program begins.
const BAD: [u8; 8] = [0x79, 0x20, 0, 0, 0, 0, 0, 0];

/// The object with a first instruction that no verifier accepts in these programs.
fn broken(programs: &[&str]) -> Vec<u8> {
    let mut object = OBJECT.to_vec();
    let places: Vec<u64> = {
        let file = object::File::parse(OBJECT).unwrap();
        let place = |name: &&str| {
            let symbol = file.symbol_by_name(name).unwrap();
            let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
            section.file_range().unwrap().0 + symbol.address()
        };
        programs.iter().map(place).collect()
    };
    for place in places {
        let place = usize::try_from(place).unwrap();
        object[place..place + BAD.len()].copy_from_slice(&BAD);
    }
    object
}

fn try_legs(object: &[u8], kernel: &Kernel, choice: LegChoice) -> Result<(Leg, String), ProbeError> {
    attach_object(object, kernel, bare_loader, choice, Capacity::default(), Parts::default())
        .map(|attached| (attached.leg, attached.reason))
}

const RAW: &str = "raw_sys_exit";
const TRACEPOINT: &str = "tracepoint_sys_exit";

#[test]
fn a_program_that_the_verifier_rejects_gives_way_to_the_next_leg() {
    let kernel = Kernel::of_this_machine().unwrap();
    let kernel = Kernel { facts: KernelFacts { trampolines: false, ..kernel.facts }, ..kernel };
    let (leg, reason) = try_legs(&broken(&[RAW]), &kernel, LegChoice::Auto).unwrap();
    assert_eq!(leg, Leg::Tracepoint);
    assert!(
        reason.contains("raw was refused: the kernel's verifier rejected zctrace's program `raw_sys_exit`"),
        "{reason}"
    );
    assert!(!reason.contains('\n') && !reason.contains("R2"), "the log is for the error: {reason}");
}

#[test]
fn where_every_program_is_rejected_the_first_log_is_shown_cut() {
    let kernel = Kernel::of_this_machine().unwrap();
    let kernel = Kernel { facts: KernelFacts { trampolines: false, ..kernel.facts }, ..kernel };
    let error = try_legs(&broken(&[RAW, TRACEPOINT]), &kernel, LegChoice::Auto).unwrap_err().to_string();
    assert!(error.contains("`raw_sys_exit`") && error.contains("R2 !read_ok"), "{error}");
    assert!(error.lines().count() <= LOG_LINES + 1, "{error}");
    // Another program than one that a security module forbids: what is wrong with it is what must be told.
    let facts = KernelFacts { trampolines: true, ..kernel.facts };
    let kernel = Kernel { facts, ..kernel };
    match try_legs(&broken(&[RAW, TRACEPOINT]), &kernel, LegChoice::Auto) {
        Ok((leg, _)) => assert_eq!(leg, Leg::Fexit),
        Err(error) => assert!(error.to_string().contains("R2 !read_ok"), "{error}"),
    }
    let error = try_legs(&broken(&[RAW]), &kernel, LegChoice::Raw).unwrap_err().to_string();
    assert!(error.contains("R2 !read_ok"), "what was asked for is not replaced: {error}");
}

#[test]
fn a_trampoline_that_is_refused_gives_way_to_the_next_leg() {
    let kernel = Kernel::of_this_machine().unwrap();
    // A kernel that seems to allow them; this one or the verifier refuses.
    let facts = KernelFacts { trampolines: true, syscall_functions: true, lockdown: false, ..kernel.facts };
    let kernel = Kernel { facts, ..kernel };
    let (leg, reason) = try_legs(&broken(&["fexit_main"]), &kernel, LegChoice::Auto).unwrap();
    assert_eq!(leg, Leg::Raw);
    assert!(reason.contains("fexit was refused: "), "{reason}");
}

#[test]
fn durations_that_a_kernel_refuses_are_missing_with_a_reason_and_take_nothing_with_them() {
    let kernel = Kernel::of_this_machine().unwrap();
    let parts = Parts { latency: Some(std::time::Duration::from_millis(10)), ..Parts::default() };
    let object = broken(&["raw_sys_enter"]);
    let attached = attach_object(&object, &kernel, bare_loader, LegChoice::Raw, Capacity::default(), parts).unwrap();
    assert_eq!((attached.leg, attached.parts.latency), (Leg::Raw, None));
    let reason = attached.missing.latency.unwrap();
    assert!(reason.contains("rejected zctrace's program `raw_sys_enter`") && !reason.contains('\n'), "{reason}");
    let whole = attach_object(OBJECT, &kernel, bare_loader, LegChoice::Raw, Capacity::default(), parts).unwrap();
    assert_eq!((whole.parts, whole.missing), (parts, Missing::default()));
    assert!(is_loaded(&whole.ebpf, "raw_sys_enter"));
    // What is off has no hook.
    let without =
        attach_object(OBJECT, &kernel, bare_loader, LegChoice::Raw, Capacity::default(), Parts::default()).unwrap();
    assert!(without.ebpf.programs().all(|(name, _)| !name.contains("enter") || !is_loaded(&without.ebpf, name)));
}

fn is_loaded(ebpf: &Ebpf, name: &str) -> bool {
    ebpf.program(name).is_some_and(|program| program.fd().is_ok())
}

#[test]
fn memory_that_is_refused_by_an_old_kernel_names_the_limit() {
    let refused = |version, code| {
        let kernel = KernelFacts { version, ..KernelFacts::ALL };
        no_maps(&kernel, &io::Error::from_raw_os_error(code)).to_string()
    };
    assert!(refused((5, 10), libc::EPERM).contains("LimitMEMLOCK"));
    assert!(!refused((5, 11), libc::EPERM).contains("LimitMEMLOCK"), "counted by the control group since");
    assert!(refused((6, 12), libc::ENOMEM).contains("refused memory"));
}

/// A call costs 20 ns where returns are slowed down against speculation. What has a name of its own in the object was meant to be
/// called; what the compiler names was meant to be a part of who calls it.
#[test]
fn the_program_calls_no_function_that_was_meant_to_be_inlined() {
    let file = object::File::parse(OBJECT).unwrap();
    let functions = file.symbols().filter(|symbol| symbol.kind() == object::SymbolKind::Text);
    let names: Vec<&str> = functions.map(|symbol| symbol.name().unwrap()).collect();
    assert!(names.contains(&RAW) && names.contains(&"find_file"), "{names:?}");
    let mangled: Vec<&&str> = names.iter().filter(|name| name.starts_with("_R") || name.starts_with("_ZN")).collect();
    assert!(mangled.is_empty(), "{mangled:?}");
}
