//! Maps read many entries at a call (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6), which aya does not offer: a scrape would
//! otherwise make two calls for each of ten thousand files.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use aya::{
    Ebpf, Pod,
    maps::{Map, MapData},
};

use super::{ProbeError, error::missing};

/// `enum bpf_cmd` in include/uapi/linux/bpf.h.
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// include/linux/errno.h: what a kind of map answers that has no batches, as per-CPU arrays before Linux 5.13.
const ENOTSUPP: i32 = 524;
/// Bytes of values at a call, at first: few calls, and little memory on hosts with many CPUs.
const BATCH_BYTES: usize = 64 << 10;
/// Entries at a call, at least, at first. A hash table's bucket must fit into one.
const FEWEST_ENTRIES: usize = 16;
/// The kernel's batches are no larger than this, whatever is asked: a bucket with more entries would be a broken hash.
const MOST_ENTRIES: usize = 1 << 16;

/// The buffers of the last reading, for the next: a scrape reads eight maps.
static SPARE: Mutex<(Vec<u8>, Vec<u8>)> = Mutex::new((Vec::new(), Vec::new()));
/// Larger ones are given back to the system.
const LARGEST_SPARE: usize = 2 * BATCH_BYTES;

fn spare() -> MutexGuard<'static, (Vec<u8>, Vec<u8>)> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `struct { ... } batch` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// `struct` of `union bpf_attr` for one element.
#[repr(C)]
#[derive(Default)]
struct ElementAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Calls `visit` with each entry of a map: its key, and its value, or its value on each CPU. What changes meanwhile may
/// be seen before or after; what stays in the map is seen once.
pub(super) fn for_each<K: Pod, V: Pod>(
    ebpf: &Ebpf,
    name: &'static str,
    visit: impl FnMut(&K, &[V]),
) -> Result<(), ProbeError> {
    let (map, per_cpu, cpus) = shape(ebpf, name)?;
    Batches::<K, V>::new(map, per_cpu, cpus, u32::MAX).run(visit).map_err(|error| failed(name, &error))
}

/// A map, whether it has a value for each CPU, and for how many.
fn shape<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<(&'a MapData, bool, usize), ProbeError> {
    let (map, per_cpu) = match ebpf.map(name).ok_or_else(|| missing(name))? {
        Map::HashMap(map) | Map::Array(map) => (map, false),
        Map::PerCpuHashMap(map) | Map::PerCpuArray(map) => (map, true),
        _ => return Err(missing(name)),
    };
    let cpus = if per_cpu { aya::util::nr_cpus().map_err(|(_, error)| failed(name, &error))? } else { 1 };
    Ok((map, per_cpu, cpus))
}

fn failed(name: &str, error: &io::Error) -> ProbeError {
    ProbeError::from_bpf(format!("read the map {name}"), error)
}

/// Calls `visit` with some entries of an array: those from `first` on, `count` of them at least.
pub(super) fn for_each_from<V: Pod>(
    ebpf: &Ebpf,
    name: &'static str,
    first: u32,
    count: u32,
    mut visit: impl FnMut(u32, &[V]),
) -> Result<(), ProbeError> {
    if count == 0 {
        return Ok(());
    }
    let (map, per_cpu, cpus) = shape(ebpf, name)?;
    let mut batches = Batches::<u32, V>::new(map, per_cpu, cpus, count);
    batches.first = first;
    let read = match batches.run(|index, values| visit(*index, values)) {
        Err(error) if error.raw_os_error() == Some(ENOTSUPP) => {
            Batches::<u32, V>::new(map, per_cpu, cpus, 1).one_by_one(first..first.saturating_add(count), visit)
        }
        read => read,
    };
    read.map_err(|error| failed(name, &error))
}

struct Batches<'a, K, V> {
    map: &'a MapData,
    cpus: usize,
    /// From one CPU's value to the next: the kernel rounds them up to 8 bytes.
    stride: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
    entries: usize,
    /// Of an array: where to begin, and after how many entries to end.
    first: u32,
    most: u32,
    kinds: std::marker::PhantomData<(K, V)>,
}

impl<K, V> Drop for Batches<'_, K, V> {
    fn drop(&mut self) {
        if self.keys.capacity() + self.values.capacity() <= LARGEST_SPARE {
            *spare() = (std::mem::take(&mut self.keys), std::mem::take(&mut self.values));
        }
    }
}

impl<'a, K: Pod, V: Pod> Batches<'a, K, V> {
    fn new(map: &'a MapData, per_cpu: bool, cpus: usize, most: u32) -> Self {
        let stride = if per_cpu { size_of::<V>().next_multiple_of(8) } else { size_of::<V>() };
        let (keys, values) = std::mem::take(&mut *spare());
        let mut batches =
            Self { map, cpus, stride, keys, values, entries: 0, first: 0, most, kinds: std::marker::PhantomData };
        // Of an array no more than was asked for: each element is a copy from every CPU.
        let most = usize::try_from(most).unwrap_or(usize::MAX).clamp(1, MOST_ENTRIES);
        let entries = (BATCH_BYTES / (stride * cpus + size_of::<K>())).max(FEWEST_ENTRIES);
        batches.grow(entries.min(most));
        batches
    }

    fn grow(&mut self, entries: usize) {
        self.entries = entries;
        for (bytes, size) in [(&mut self.keys, size_of::<K>()), (&mut self.values, self.stride * self.cpus)] {
            let length = entries * size;
            // No larger than it must be: it is kept.
            bytes.reserve_exact(length.saturating_sub(bytes.len()));
            bytes.resize(length, 0);
        }
    }

    fn run(mut self, mut visit: impl FnMut(&K, &[V])) -> io::Result<()> {
        // Where the next batch begins: a bucket's number or a key, whichever the kind of map wants.
        let mut position = vec![0u8; size_of::<K>().max(8)];
        let mut next = position.clone();
        // The kernel goes on behind the key that it is given.
        let mut first = self.first == 0;
        if let Some(before) = self.first.checked_sub(1) {
            position[..4].copy_from_slice(&before.to_ne_bytes());
        }
        let mut seen = 0;
        let mut values = Vec::with_capacity(self.cpus);
        loop {
            let (count, result) = self.lookup((!first).then_some(&position), &mut next);
            let at_end = match result {
                Ok(()) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && self.entries < MOST_ENTRIES => {
                    self.grow(self.entries * 4);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for entry in 0..count {
                self.visit(entry, &mut values, &mut visit);
            }
            seen += count;
            if at_end || seen >= usize::try_from(self.most).unwrap_or(usize::MAX) {
                return Ok(());
            }
            std::mem::swap(&mut position, &mut next);
            first = false;
        }
    }

    fn lookup(&mut self, position: Option<&Vec<u8>>, next: &mut [u8]) -> (usize, io::Result<()>) {
        let mut attributes = BatchAttr {
            in_batch: position.map_or(0, |position| position.as_ptr() as u64),
            out_batch: next.as_mut_ptr() as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: u32::try_from(self.entries).unwrap_or(u32::MAX),
            map_fd: self.map.fd().as_fd().as_raw_fd().unsigned_abs(),
            ..BatchAttr::default()
        };
        let size = size_of::<BatchAttr>() as libc::c_long;
        // SAFETY: the buffers are as large as `count` entries of this map's sizes take, and outlive the call.
        let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_BATCH, &raw mut attributes, size) };
        let result = if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // With ENOENT, the end, the count says what came before it; with ENOSPC nothing did.
        let is_whole = result.as_ref().err().is_none_or(|error| error.raw_os_error() == Some(libc::ENOENT));
        let count = if is_whole { usize::try_from(attributes.count).unwrap_or(0).min(self.entries) } else { 0 };
        (count, result)
    }

    /// Reads elements of an array that has no batches.
    fn one_by_one(mut self, indices: std::ops::Range<u32>, mut visit: impl FnMut(u32, &[V])) -> io::Result<()> {
        let mut values = Vec::with_capacity(self.cpus);
        for index in indices {
            let attributes = ElementAttr {
                map_fd: self.map.fd().as_fd().as_raw_fd().unsigned_abs(),
                key: (&raw const index) as u64,
                value: self.values.as_mut_ptr() as u64,
                ..ElementAttr::default()
            };
            let size = size_of::<ElementAttr>() as libc::c_long;
            // SAFETY: the key is an index; the buffer holds this element on every CPU, and outlives the call.
            let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_ELEM, &raw const attributes, size) };
            match (result, io::Error::last_os_error()) {
                (0, _) => self.visit(0, &mut values, &mut |_: &K, values: &[V]| visit(index, values)),
                // Behind the end of the array.
                (_, error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
                (_, error) => return Err(error),
            }
        }
        Ok(())
    }

    fn visit(&self, entry: usize, values: &mut Vec<V>, visit: &mut impl FnMut(&K, &[V])) {
        // SAFETY: the kernel has filled this entry of the buffer, any bit pattern of which is a `K` (`Pod`).
        let key = unsafe { self.keys.as_ptr().add(entry * size_of::<K>()).cast::<K>().read_unaligned() };
        values.clear();
        for cpu in 0..self.cpus {
            let offset = (entry * self.cpus + cpu) * self.stride;
            // SAFETY: as above, for a `V`.
            values.push(unsafe { self.values.as_ptr().add(offset).cast::<V>().read_unaligned() });
        }
        visit(&key, values);
    }
}
