//! The kernel's own functions that the program calls (kfuncs), which aya does not link, and instructions that not every
//! kernel has.

use std::io;

use agent_ebpf::features::{KFUNCS, Kfunc};

use super::{Layout, instructions::Instructions};

/// `r0 = 0`, in place of a call of what the kernel lacks. No path leads there: see [`agent_ebpf::Features`].
const NOTHING: [u8; 8] = [0xb7, 0, 0, 0, 0, 0, 0, 0];

/// `r2 = fetch_add(*(u64 *)r1, r2)` and `r0 = cmpxchg(*(u32 *)r1, r0, r2)`, as the program's `take_next` and `claim` have them.
/// Kernels without `BPF_FETCH` refuse a program with them, also where no path leads to them.
const FETCHES: [[u8; 8]; 2] = [[0xdb, 0x21, 0, 0, 0x01, 0, 0, 0], [0xc3, 0x21, 0, 0, 0xf1, 0, 0, 0]];

/// Writes the numbers that this kernel knows the functions by, and takes out what it does not have; `fetch`: whether those are not
/// [`FETCHES`].
pub(super) fn link(object: &mut Instructions, layout: &Layout, fetch: bool) {
    for kfunc in KFUNCS {
        rewrite(object.each(), kfunc, layout.function(kfunc.name));
    }
    if !fetch {
        object.each().filter(|instruction| FETCHES.contains(instruction)).for_each(|fetch| *fetch = NOTHING);
    }
}

fn rewrite<'a>(instructions: impl Iterator<Item = &'a mut [u8; 8]>, kfunc: Kfunc, id: Option<u32>) {
    for instruction in instructions.filter(|instruction| **instruction == kfunc.call()) {
        match id {
            Some(id) => instruction[4..].copy_from_slice(&id.to_le_bytes()),
            None => *instruction = NOTHING,
        }
    }
}

/// Whether the kernel has `BPF_FETCH` (Linux 5.12): it is asked to load a program of five instructions.
pub(super) fn has_fetch() -> bool {
    const BPF_PROG_LOAD: libc::c_long = 5;
    const SOCKET_FILTER: u32 = 1;
    const PROGRAM: [[u8; 8]; 5] = [
        [0xb7, 2, 0, 0, 1, 0, 0, 0],             // r2 = 1
        [0x7b, 0x2a, 0xf8, 0xff, 0, 0, 0, 0],    // *(u64 *)(r10 - 8) = r2
        [0xdb, 0x2a, 0xf8, 0xff, 0x01, 0, 0, 0], // r2 = fetch_add(*(r10 - 8), r2)
        [0xb7, 0, 0, 0, 0, 0, 0, 0],             // r0 = 0
        [0x95, 0, 0, 0, 0, 0, 0, 0],             // exit
    ];
    /// The beginning of `union bpf_attr` for this command.
    #[repr(C)]
    struct Attr {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        rest: [u64; 6],
    }
    let license = c"GPL";
    let attr = Attr {
        kind: SOCKET_FILTER,
        count: 5,
        instructions: PROGRAM.as_ptr() as u64,
        license: license.as_ptr() as u64,
        rest: [0; 6],
    };
    // SAFETY: the attributes name a program and a string that outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of::<Attr>()) };
    let Ok(descriptor) = i32::try_from(result) else { return false };
    if descriptor < 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "no BPF_FETCH");
        return false;
    }
    // SAFETY: the kernel has just made it for this process.
    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(descriptor) });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_a_function_is_rewritten_and_nothing_else() {
        let [first, second, _] = KFUNCS;
        let other = [0x85, 0, 0, 0, 1, 0, 0, 0];
        let mut object = [first.call(), other, second.call(), first.call()];
        rewrite(object.iter_mut(), first, Some(0x0102_0304));
        let linked = [0x85, 0x20, 0, 0, 4, 3, 2, 1];
        assert_eq!(object, [linked, other, second.call(), linked]);
        rewrite(object.iter_mut(), second, None);
        assert_eq!(object, [linked, other, NOTHING, linked]);
    }
}
