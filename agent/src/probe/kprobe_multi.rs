//! The leg `kprobe-multi`: the return of each counted call's own function, with preemption disabled.
//!
//! aya has no such link, and loads no program for one: both calls of the kernel are made here, for programs of the leg
//! `tracepoint`, which tell the two contexts apart.

use std::{
    collections::HashSet,
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use aya::{Ebpf, maps::Map};
use aya_obj::{Function, Object};

use super::{
    ProbeError,
    error::missing,
    load::rejected,
    misses::{object_info, recursion_misses},
};

/// The verifier's log of a program that it accepts half-way takes so much.
const LOG_SIZE: usize = 1 << 20;

// include/uapi/linux/bpf.h
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_BTF_LOAD: libc::c_long = 18;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_KPROBE: u32 = 2;
const BPF_TRACE_KPROBE_MULTI: u32 = 42;
const BPF_F_KPROBE_MULTI_RETURN: u32 = 1;

/// `union bpf_attr` for `BPF_PROG_LOAD`, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    rest: u32,
}

/// The same for `BPF_BTF_LOAD`.
#[repr(C)]
#[derive(Default)]
struct BtfAttr {
    btf: u64,
    log: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
    rest: u32,
}

/// The same for `BPF_LINK_CREATE` of this kind.
#[repr(C)]
#[derive(Default)]
struct LinkAttr {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    multi_flags: u32,
    count: u32,
    symbols: u64,
    addresses: u64,
    cookies: u64,
}

/// Words of eight bytes of `struct bpf_link_info` up to `kprobe_multi.missed`.
const LINK_INFO_WORDS: usize = 5;

/// When in a function's run the program is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// At its beginning.
    Entry,
    /// At its end.
    Return,
}

/// The program and its hooks, for as long as this value lives.
pub(super) struct KprobeMulti {
    program: OwnedFd,
    link: OwnedFd,
}

impl KprobeMulti {
    /// Loads a program of `object` on the maps of `ebpf`, and hooks these functions, all of them or none.
    pub(super) fn attach(
        object: &[u8],
        ebpf: &Ebpf,
        program: &str,
        functions: &[String],
        moment: Moment,
    ) -> Result<Self, ProbeError> {
        let program = load(object, ebpf, program)?;
        let link = hook(program.as_fd(), functions, moment).map_err(|error| match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => ProbeError::NoLeg("kprobe-multi: this kernel has no such links".to_owned()),
            _ => ProbeError::from_bpf("attach to the functions of the kernel's calls", &error),
        })?;
        Ok(Self { program, link })
    }

    /// Runs that were left out, since another program was under way on the CPU.
    pub(super) fn missed(&self) -> io::Result<u64> {
        let info: [u64; LINK_INFO_WORDS] = object_info(self.link.as_fd())?;
        Ok(recursion_misses(self.program.as_fd())? + info[LINK_INFO_WORDS - 1])
    }
}

fn load(object: &[u8], ebpf: &Ebpf, name: &str) -> Result<OwnedFd, ProbeError> {
    let what = format!("prepare the program {name}");
    let failed = |error: &(dyn std::error::Error + 'static)| ProbeError::failed(what.clone(), error);
    let mut object = Object::parse(object).map_err(|error| failed(&error))?;
    let types = types(&mut object).map_err(|error| failed(&error))?;
    let maps: Vec<(String, aya_obj::Map)> = object.maps.drain().collect();
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let known = maps.iter().filter_map(|(name, map)| Some((name.as_str(), descriptor(ebpf.map(name)?)?, map)));
    object.relocate_maps(known, &sections).map_err(|error| failed(&error))?;
    object.relocate_calls(&sections).map_err(|error| failed(&error))?;
    let program = object.programs.get(name).ok_or_else(|| missing(name))?;
    let function = object.functions.get(&program.function_key()).ok_or_else(|| missing(name))?;
    let mut log = Vec::new();
    load_function(function, &program.license, types.as_fd(), &mut log)
        .or_else(|_| {
            // The kernel is only asked for its reasons once it has some: writing them takes time.
            log.resize(LOG_SIZE, 0);
            load_function(function, &program.license, types.as_fd(), &mut log)
        })
        .map_err(|error| {
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            rejected(name, &error, &String::from_utf8_lossy(&log[..end]))
        })
}

/// The object's own types. Without them the kernel knows of no global functions, and looks at each of those again for every way
/// that leads there, which are too many.
fn types(object: &mut Object) -> io::Result<OwnedFd> {
    let none = || io::Error::other("it has no types that this kernel reads");
    let features = aya::features().btf().ok_or_else(none)?;
    let types = object.fixup_and_sanitize_btf(features).map_err(io::Error::other)?.ok_or_else(none)?.to_bytes();
    let attr = BtfAttr {
        btf: types.as_ptr() as u64,
        size: u32::try_from(types.len()).map_err(io::Error::other)?,
        ..BtfAttr::default()
    };
    // SAFETY: the attributes name bytes that outlive the call, and how many they are.
    unsafe { bpf(BPF_BTF_LOAD, &attr) }
}

fn load_function(function: &Function, license: &CString, types: BorrowedFd<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    let (instructions, info) = (&function.instructions, function.func_info.func_info_bytes());
    // The kernel's names have at most 15 bytes.
    let mut name = [0; 16];
    name.iter_mut().take(15).zip(function.name.bytes()).for_each(|(place, byte)| *place = byte);
    let length = |length: usize| u32::try_from(length).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG));
    let attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_KPROBE,
        insn_cnt: length(instructions.len())?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: length(log.len())?,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        prog_name: name,
        expected_attach_type: BPF_TRACE_KPROBE_MULTI,
        prog_btf_fd: types.as_raw_fd().cast_unsigned(),
        func_info_rec_size: length(function.func_info_rec_size)?,
        func_info: info.as_ptr() as u64,
        func_info_cnt: length(function.func_info.len())?,
        ..LoadAttr::default()
    };
    // SAFETY: the attributes name instructions, what belongs to them, a string and a buffer that outlive the call, by their
    // lengths.
    unsafe { bpf(BPF_PROG_LOAD, &attr) }
}

fn hook(program: BorrowedFd<'_>, functions: &[String], moment: Moment) -> io::Result<OwnedFd> {
    let names: Vec<CString> =
        functions.iter().map(|name| CString::new(name.as_str())).collect::<Result<_, _>>().map_err(io::Error::other)?;
    let pointers: Vec<*const libc::c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let attr = LinkAttr {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_TRACE_KPROBE_MULTI,
        multi_flags: if moment == Moment::Return { BPF_F_KPROBE_MULTI_RETURN } else { 0 },
        count: u32::try_from(pointers.len()).map_err(io::Error::other)?,
        symbols: pointers.as_ptr() as u64,
        ..LinkAttr::default()
    };
    // SAFETY: the attributes name strings that outlive the call, and how many they are.
    unsafe { bpf(BPF_LINK_CREATE, &attr) }
}

/// A call of bpf(2) that returns a descriptor.
///
/// # Safety
/// Whatever the attributes point to must outlive the call, and be as long as they say.
unsafe fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes live through the call; for what they point to see above.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    match RawFd::try_from(result) {
        // SAFETY: the kernel has just made it for this process.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The map's descriptor, of the kinds that the object has.
fn descriptor(map: &Map) -> Option<RawFd> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuLruHashMap(data)
        | Map::ProgramArray(data)
        | Map::Queue(data)
        | Map::Stack(data) => Some(data.fd().as_fd().as_raw_fd()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::mem::offset_of;

    use super::*;

    /// include/uapi/linux/bpf.h, `union bpf_attr` and `struct bpf_link_info`.
    #[test]
    fn attributes_lie_where_the_kernel_reads_them() {
        assert_eq!(offset_of!(LoadAttr, log_buf), 32);
        assert_eq!(offset_of!(LoadAttr, expected_attach_type), 68);
        assert_eq!(offset_of!(LoadAttr, func_info), 80);
        assert_eq!(offset_of!(BtfAttr, size), 16);
        assert_eq!(offset_of!(LinkAttr, multi_flags), 16);
        assert_eq!(offset_of!(LinkAttr, symbols), 24);
        assert_eq!(size_of::<LinkAttr>(), 48);
    }
}
