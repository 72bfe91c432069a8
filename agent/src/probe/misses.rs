//! Calls that the kernel did not run the program for.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use aya::Ebpf;

use super::{ProbeError, kprobe_multi::KprobeMulti};

/// `enum bpf_cmd` in include/uapi/linux/bpf.h.
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
/// Words of eight bytes of `struct bpf_prog_info` (include/uapi/linux/bpf.h) up to `recursion_misses` (Linux 5.12).
const INFO_WORDS: usize = 27;

/// `struct { ... } info` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// System calls of the host at whose end the kernel did not run the program, since another thread was in it on the same CPU.
/// 0 on kernels that do not count them, which are older than those where it happens.
pub(super) fn missed_calls(ebpf: &Ebpf, links: &[KprobeMulti]) -> Result<u64, ProbeError> {
    let failed = |error: io::Error| ProbeError::from_bpf("ask for the program's missed runs", &error);
    let mut sum = 0;
    for link in links {
        sum += link.missed().map_err(failed)?;
    }
    for (_, program) in ebpf.programs() {
        // Programs of the other legs are not loaded.
        if let Ok(fd) = program.fd() {
            sum += recursion_misses(fd.as_fd()).map_err(failed)?;
        }
    }
    Ok(sum)
}

/// Runs of a program that the kernel left out, since it, or another one of its kind, was under way on the CPU.
pub(super) fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    let info: [u64; INFO_WORDS] = object_info(program)?;
    Ok(info[INFO_WORDS - 1])
}

/// The beginning of what the kernel tells of a program or a link.
pub(super) fn object_info<const WORDS: usize>(object: BorrowedFd<'_>) -> io::Result<[u64; WORDS]> {
    // Zero, so that the kernel is asked for none of what the pointers in it would take.
    let mut info = [0u64; WORDS];
    let mut attr = InfoAttr {
        bpf_fd: object.as_raw_fd().cast_unsigned(),
        info_len: u32::try_from(size_of_val(&info)).unwrap_or(0),
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the attribute lives through the call, and so does what it points to, which is as long as it says.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw mut attr, size_of::<InfoAttr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(info) }
}
