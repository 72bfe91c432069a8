//! Names of files and directories, taken once, when a file is first seen. The agent could not do it later: by then a
//! segment may be closed and deleted.

use agent_ebpf::{Counter, FILE_NAME, FileKey, InodeKey, PORT_NONE};
use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_probe_read_kernel_str};

use super::{
    counter::count,
    globals::offset,
    maps::{DIRECTORIES, FILES, SCRATCH},
    object::{NO_DESCRIPTOR, file_of, inode_key},
    read::{cast, probe},
    task::running_task,
    values::{SCRATCHES, Scratch},
};

/// Enters a file, with its name if that can be read; false if it is there already or can't be.
#[inline(always)]
pub(crate) fn insert_file(key: &FileKey, descriptor: u32, tid: u32, index: u32) -> bool {
    let Some(scratch) = SCRATCH.get_ptr_mut(tid % SCRATCHES) else { return false };
    // SAFETY: a map's value; should another thread have it at the same time, `owner` tells.
    let scratch = unsafe { &mut *scratch };
    scratch.owner = tid as u64;
    scratch.file.index = index;
    scratch.file.padding = 0;
    scratch.file.parent = InodeKey::default();
    scratch.file.name = [0; FILE_NAME];
    if descriptor == NO_DESCRIPTOR {
        // SAFETY: a value that is never written to again.
        if let Some(same) = unsafe { FILES.get(FileKey { port: PORT_NONE, ..*key }) } {
            scratch.file.parent = same.parent;
            scratch.file.name = same.name;
        }
    } else if let Some(file) = file_of(running_task(), descriptor) {
        // A file without a name is still counted.
        let _ = name(scratch, file, key.target);
    }
    // SAFETY: volatile, since another thread may have changed it.
    if unsafe { core::ptr::read_volatile(&raw const scratch.owner) } != tid as u64 {
        return false;
    }
    FILES.insert(key, &scratch.file, BPF_NOEXIST as u64).is_ok()
}

/// Fills in the name and the directory of the file behind `file`, a `struct file *`.
#[inline(always)]
fn name(scratch: &mut Scratch, file: *const u8, target: u32) -> Option<()> {
    let dentry = probe::<u64>(file as u64, offset!(file_dentry).number())?;
    read_name(&mut scratch.file.name, dentry)?;
    let parent = probe::<u64>(dentry, offset!(dentry_parent).number())?;
    let key = dentry_key(parent)?;
    scratch.file.parent = key;
    if DIRECTORIES.get_ptr(key).is_some() {
        return Some(());
    }
    let directory = &mut scratch.directory;
    directory.name[0] = 0;
    read_name(&mut directory.name, parent)?;
    directory.parent = dentry_key(probe::<u64>(parent, offset!(dentry_parent).number())?)?;
    let inserted = DIRECTORIES.insert(key, &*directory, BPF_NOEXIST as u64);
    if inserted.is_err() && DIRECTORIES.get_ptr(key).is_none() {
        count(target, Counter::DirectoriesFull, 1);
    }
    Some(())
}

#[inline(always)]
fn dentry_key(dentry: u64) -> Option<InodeKey> {
    let inode = probe::<u64>(dentry, offset!(dentry_inode).number())?;
    inode_key(cast(inode as *const u8, offset!(id_inode)))
}

#[inline(always)]
fn read_name<const N: usize>(into: &mut [u8; N], dentry: u64) -> Option<()> {
    let name = probe::<u64>(dentry, offset!(dentry_name).number())?;
    // SAFETY: the helper checks the address and ends the string within the buffer.
    let length = unsafe { bpf_probe_read_kernel_str(into.as_mut_ptr().cast(), N as u32, name as *const _) };
    if length < 0 { None } else { Some(()) }
}
