//! Offsets and the decision on a leg, for each of Debian's kernels without booting it.
#![allow(clippy::unwrap_used)]

use agent_ebpf::Offsets;

use super::{KernelFacts, Layout, Leg, LegChoice, Preemption, candidates, kernel};

/// Debian's kernels, cut down by `cargo xtask kernels --fixtures`.
macro_rules! kernel {
    ($name:literal) => {
        Layout::parse(include_bytes!(concat!("fixtures/", $name, ".btf"))).unwrap()
    };
}

#[test]
fn every_offset_is_found_in_each_kernel() {
    let kernels = [kernel!("5.10-amd64"), kernel!("6.1-amd64"), kernel!("6.12-amd64"), kernel!("newest-amd64")];
    let offsets: Vec<Offsets> = kernels.iter().map(|kernel| kernel.offsets().unwrap()).collect();
    // As these kernels' own debug information has it.
    assert_eq!(offsets.iter().take(3).map(|these| these.task_files).collect::<Vec<_>>(), [2808, 3048, 3048]);
    for these in &offsets {
        // arch/x86/include/asm/ptrace.h has not changed since 2008.
        assert_eq!((these.pt_regs_nr, these.pt_regs_args), (120, [112, 104, 96, 56]));
        assert_eq!(these.sock_family, 16);
        assert_ne!((these.id_file, these.id_inode, these.id_socket), (0, 0, 0));
    }
}

#[test]
fn every_offset_is_found_in_each_kernel_of_arm64() {
    for kernel in [kernel!("6.1-arm64"), kernel!("6.12-arm64"), kernel!("newest-arm64")] {
        let these = kernel.offsets().unwrap();
        // arch/arm64/include/asm/ptrace.h: 31 registers, sp, pc, pstate; orig_x0; syscallno.
        let (first, number) = (272, 280);
        assert_eq!((these.pt_regs_nr, these.pt_regs_args, these.pt_regs_result), (number, [first, 8, 16, 24], 0));
        // arch/arm64/include/asm/thread_info.h: TIF_32BIT.
        assert_eq!(these.task_compat_bit, 1 << 22);
        assert_eq!(these.sock_family, 16);
        assert_ne!((these.id_file, these.id_inode, these.id_socket), (0, 0, 0));
    }
}

#[test]
fn the_run_queue_is_asked_where_it_can_be_and_nothing_preempts() {
    let run_queue = |layout: &Layout, version, preemption| {
        let facts = KernelFacts { preemption, version, ..KernelFacts::of_types(layout) };
        kernel::features(layout, Leg::Raw, &facts, true).run_queue == 1
    };
    use Preemption::{Never, Possible};
    // Without bpf_rdonly_cast (Linux 6.2) what a run queue holds can't be loaded.
    assert!(!run_queue(&kernel!("5.10-amd64"), (5, 10), Never) && !run_queue(&kernel!("6.1-amd64"), (6, 1), Never));
    let newest = kernel!("newest-amd64");
    assert!(run_queue(&kernel!("6.12-amd64"), (6, 12), Possible) && run_queue(&newest, (7, 3), Never));
    // This one can forbid preemption.
    assert!(run_queue(&newest, (7, 3), Possible));
}

#[test]
fn a_type_or_member_that_is_missing_is_named() {
    let whole = include_bytes!("fixtures/6.1-amd64.btf");
    for (text, named) in [("fdtable", "fdtable.max_fds"), ("i_generation", "inode.i_generation")] {
        // Another name of the same length: what was there is gone.
        let at = memchr::memmem::find(whole, format!("\0{text}\0").as_bytes()).unwrap() + 1;
        let mut bytes = whole.to_vec();
        bytes[at] = b'?';
        let error = Layout::parse(&bytes).unwrap().offsets().unwrap_err().to_string();
        assert!(error.contains(&format!("`{named}`")), "{error}");
    }
}

#[test]
fn what_a_kernel_can_do_is_told_by_its_types() {
    let legs = |layout: &Layout, version| {
        let facts = KernelFacts {
            syscall_tracepoints: true,
            preemption: Preemption::Never,
            version,
            ..KernelFacts::of_types(layout)
        };
        candidates(LegChoice::Auto, &facts).unwrap().into_iter().map(|it| it.leg).collect::<Vec<_>>()
    };
    // Linux 5.15 brought the helper that `tracepoint` needs.
    assert_eq!(legs(&kernel!("5.10-amd64"), (5, 10)), [Leg::Fexit, Leg::Raw]);
    let newer = [
        (kernel!("6.1-amd64"), (6, 1)),
        (kernel!("6.12-amd64"), (6, 12)),
        (kernel!("6.1-arm64"), (6, 1)),
        (kernel!("6.12-arm64"), (6, 12)),
    ];
    for (newer, version) in newer {
        assert_eq!(legs(&newer, version), [Leg::Fexit, Leg::Raw, Leg::Tracepoint]);
    }
    for newest in [kernel!("newest-amd64"), kernel!("newest-arm64")] {
        assert_eq!(legs(&newest, (7, 3)), Leg::ALL);
    }
}
