//! Names of files and directories, taken once, when a file is first seen. The agent could not do it later: by then a
//! segment may be closed and deleted.

use agent_ebpf::{Counter, Directory, FileValue, InodeKey};
use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_probe_read_kernel_str};

use super::{
    counter::count,
    globals::offset,
    maps::{DIRECTORIES, NEW_DIRECTORY},
    object::inode_key,
    read::probe,
};

/// Fills in the name and the directory of the file behind `file`, a `struct file *`.
#[inline(always)]
pub(crate) fn name(value: &mut FileValue, file: u64, target: u32) -> Option<()> {
    value.name[0] = 0;
    value.parent = InodeKey::default();
    let dentry = probe::<u64>(file, offset!(file_dentry))?;
    read_name(&mut value.name, dentry)?;
    let parent = probe::<u64>(dentry, offset!(dentry_parent))?;
    let key = dentry_key(parent)?;
    value.parent = key;
    if DIRECTORIES.get_ptr(key).is_some() {
        return Some(());
    }
    // SAFETY: this CPU's own scratch value; tracing programs of one kind do not nest.
    let directory: &mut Directory = unsafe { &mut *NEW_DIRECTORY.get_ptr_mut(0)? };
    directory.name[0] = 0;
    read_name(&mut directory.name, parent)?;
    directory.parent = dentry_key(probe::<u64>(parent, offset!(dentry_parent))?)?;
    let inserted = DIRECTORIES.insert(key, &*directory, BPF_NOEXIST as u64);
    if inserted.is_err() && DIRECTORIES.get_ptr(key).is_none() {
        count(target, Counter::DirectoriesFull, 1);
    }
    Some(())
}

#[inline(always)]
fn dentry_key(dentry: u64) -> Option<InodeKey> {
    inode_key(probe::<u64>(dentry, offset!(dentry_inode))?)
}

#[inline(always)]
fn read_name<const N: usize>(into: &mut [u8; N], dentry: u64) -> Option<()> {
    let name = probe::<u64>(dentry, offset!(dentry_name))?;
    // SAFETY: the helper checks the address and ends the string within the buffer.
    let length = unsafe { bpf_probe_read_kernel_str(into.as_mut_ptr().cast(), N as u32, name as *const _) };
    if length < 0 { None } else { Some(()) }
}
