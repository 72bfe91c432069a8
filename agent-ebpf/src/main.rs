//! The program in the kernel: entry points of each leg, and nothing else.
//!
//! Hooks are at the exit of a system call, where its number and arguments are still in the saved registers, so no state is kept
//! between entry and exit. Those at the entry are for durations, and attached only where they are asked for.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)] // the atomic add
#![allow(missing_docs)] // nothing here is a crate's face

mod program;

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, fentry, fexit, tracepoint},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, TracePointContext},
};
use program::{
    call::Call,
    context,
    exit::on_exit,
    fills, latency,
    maps::{OTHER_PROGRAMS, PROGRAMS},
    preempt, resolve, sync, task,
};

/// Leg `raw`: the BTF-typed raw tracepoint at the exit of every system call.
#[btf_tracepoint(function = "sys_exit")]
#[inline(always)] // or the linker makes it a function that is called
fn raw_sys_exit(ctx: BtfTracePointContext) -> i32 {
    let regs: *const u8 = ctx.arg(0);
    let ret: i64 = ctx.arg(1);
    on_exit(ret, || regs);
    0
}

/// Legs `tracepoint`, one program on each `syscalls:sys_exit_<name>`, and `kprobe-multi`, at the returns of the functions that
/// are the calls. Neither context holds the call's arguments.
#[tracepoint]
#[inline(always)]
fn tracepoint_sys_exit(ctx: TracePointContext) -> u32 {
    on_exit(context::result(ctx.as_ptr().cast()), task::saved_registers);
    0
}

/// Leg `raw`, durations: the entry of every system call.
#[btf_tracepoint(function = "sys_enter")]
#[inline(always)]
fn raw_sys_enter(ctx: BtfTracePointContext) -> i32 {
    let regs: *const u8 = ctx.arg(0);
    latency::on_enter(|task| Call::decode(task, regs).code);
    0
}

/// Legs `tracepoint` and `kprobe-multi`, durations: one program on each `syscalls:sys_enter_<name>`, or at the beginning of the
/// functions that are the calls.
#[tracepoint]
#[inline(always)]
fn tracepoint_sys_enter(ctx: TracePointContext) -> u32 {
    latency::on_enter(|task| match context::number(ctx.as_ptr().cast()) {
        Some(number) => latency::native(number),
        None => Call::decode(task, task::saved_registers()).code,
    });
    0
}

/// Calls that wait for the disk: one program on each `syscalls:sys_enter_<name>`, attached only where that is asked for.
#[tracepoint]
#[inline(always)]
fn sync_enter(ctx: TracePointContext) -> u32 {
    // SAFETY: the verifier checks the read of the tracepoint's record, which holds the call's number at offset 8.
    sync::on_enter(unsafe { *ctx.as_ptr().cast::<u8>().add(8).cast::<u32>() });
    0
}

/// The same at their end: `syscalls:sys_exit_<name>`, whose record holds the result at offset 16.
#[tracepoint]
#[inline(always)]
fn sync_exit(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr().cast::<u8>();
    // SAFETY: as above.
    let (number, result) = unsafe { (*record.add(8).cast::<u32>(), *record.add(16).cast::<i64>()) };
    sync::on_exit(number, result);
    0
}

macro_rules! fentry {
    ($($name:ident = $code:literal)*) => { $(
        /// Leg `fexit`, durations: the beginning of the function that is the call of this number in [`agent_ebpf::Syscall`].
        #[fentry(function = "__x64_sys_read")]
        fn $name(_ctx: FEntryContext) -> i32 {
            latency::enter($code + 1);
            0
        }
    )* };
}
fentry! {
    fentry_00 = 0 fentry_01 = 1 fentry_02 = 2 fentry_03 = 3 fentry_04 = 4 fentry_05 = 5 fentry_06 = 6 fentry_07 = 7
    fentry_08 = 8 fentry_09 = 9 fentry_10 = 10 fentry_11 = 11 fentry_12 = 12 fentry_13 = 13 fentry_14 = 14 fentry_15 = 15
    fentry_16 = 16 fentry_17 = 17 fentry_18 = 18 fentry_19 = 19 fentry_20 = 20
}

macro_rules! fexit_whole {
    ($($name:ident)*) => { $(
        /// Leg `fexit`: the end of one of the kernel's functions that are system calls, such as `__x64_sys_read(const struct
        /// pt_regs *regs)`.
        #[fexit(function = "__x64_sys_read")]
        #[inline(always)]
        fn $name(ctx: FExitContext) -> i32 {
            let regs: *const u8 = ctx.arg(0);
            let ret: i64 = ctx.arg(1);
            preempt::begin();
            on_exit(ret, || regs);
            preempt::end();
            0
        }
    )* };
}
// Loaded once, each for the first of those functions; the others jump there. Newer kernels allow that only between functions of
// one prototype, to the name of the argument (`__bpf_prog_map_compatible`, kernel/bpf/core.c), and of those there are two:
// `(regs)` and `(__unused)`, in one and the same kernel.
fexit_whole! { fexit_main fexit_other }

macro_rules! fexit_stubs {
    ($programs:ident: $($name:ident)*) => { $(
        /// One of the functions that the leg `fexit` hooks: the agent says which.
        #[fexit(function = "__x64_sys_read")]
        fn $name(ctx: FExitContext) -> i32 {
            // SAFETY: the agent has put `fexit_main` or `fexit_other`, programs of the same kind, there.
            let _ = unsafe { $programs.tail_call(&ctx, 0) };
            0
        }
    )* };
}
// agent_ebpf::features::FEXIT_STUBS of them to each of the two.
fexit_stubs! {
    PROGRAMS:
    fexit_main_00 fexit_main_01 fexit_main_02 fexit_main_03 fexit_main_04 fexit_main_05 fexit_main_06 fexit_main_07
    fexit_main_08 fexit_main_09 fexit_main_10 fexit_main_11 fexit_main_12 fexit_main_13 fexit_main_14 fexit_main_15
    fexit_main_16 fexit_main_17 fexit_main_18 fexit_main_19 fexit_main_20 fexit_main_21 fexit_main_22 fexit_main_23
}
fexit_stubs! {
    OTHER_PROGRAMS:
    fexit_other_00 fexit_other_01 fexit_other_02 fexit_other_03 fexit_other_04 fexit_other_05 fexit_other_06 fexit_other_07
    fexit_other_08 fexit_other_09 fexit_other_10 fexit_other_11 fexit_other_12 fexit_other_13 fexit_other_14 fexit_other_15
    fexit_other_16 fexit_other_17 fexit_other_18 fexit_other_19 fexit_other_20 fexit_other_21 fexit_other_22 fexit_other_23
}

/// A folio was added to the page cache (`mm/filemap.c`, `__filemap_add_folio`). Loaded only where that is asked for.
#[btf_tracepoint(function = "mm_filemap_add_to_page_cache")]
#[inline(always)]
fn folio_added(ctx: BtfTracePointContext) -> i32 {
    fills::on_folio(ctx.arg(0));
    0
}

/// Finds what the kernel calls a PID: runs once for each task when the agent reads its iterator.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn resolve_target(ctx: *mut core::ffi::c_void) -> i32 {
    resolve::on_task(ctx);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
