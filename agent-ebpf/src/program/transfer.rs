//! A call that moved bytes: what it adds to, at both of its ends.

use agent_ebpf::{ClientPath, Counter, Endpoint, FLAG_MSG_ZEROCOPY, FileKey, FilePath, PORT_NONE, TransferKey};

use super::{
    account::{NOWHERE, file, transfer},
    clients::note_client,
    counter::count,
    globals::has,
    latency,
    object::Object,
    read::forget,
    thread::{self, Carried, Memory},
};

/// Both ends of a transfer.
pub(crate) struct Ends {
    /// The source, unless `to_first`.
    pub(crate) first: Object,
    /// The sink, unless `to_first`.
    pub(crate) second: Object,
    /// The bytes went the other way: from `second`, which is user memory, to `first`.
    pub(crate) to_first: bool,
    /// Of [`TransferKey::flags`].
    pub(crate) flags: u8,
    /// The user memory, where it is of interest what it begins with.
    pub(crate) memory: Memory,
}

/// Where the files at both ends of a transfer are counted: [`NOWHERE`] for what is no file.
pub(crate) struct Places {
    /// Of [`Ends::first`].
    pub(crate) first: u32,
    /// Of [`Ends::second`].
    pub(crate) second: u32,
    /// Of [`TransferKey::port`].
    pub(crate) port: u32,
}

/// Counts a transfer: itself, the files at its ends, what the thread carries. `ids` is what the kernel calls the thread.
#[inline(always)]
pub(crate) fn moved(target: u32, ids: u64, syscall: u8, ends: &Ends, bytes: u64) -> Places {
    let tid = ids as u32;
    // The ways that lead here differ in what the verifier knows of them; from here on they are one.
    let (first, second) = (ends.first.kind, forget(ends.second.kind as u64, ids) as u8);
    let to_first = forget(ends.to_first as u64, ids) != 0;
    if forget((ends.first.unknown | ends.second.unknown) as u64, ids) != 0 {
        count(target, Counter::EndpointUnknown, 1);
        count(target, Counter::EndpointUnknownBytes, bytes);
    }
    let port = if second == Endpoint::Socket as u8 { ends.second.port } else { ends.first.port };
    let mut carried = Carried { bytes: 0, flags: 0, place: NOWHERE };
    let mut place = NOWHERE;
    let mut places = Places { first: NOWHERE, second: NOWHERE, port };
    if to_first && first == Endpoint::Socket as u8 {
        carried = thread::sends(target, tid, port, bytes, ends.memory);
        place = carried.place;
    }
    if first == Endpoint::File as u8 {
        let path = if to_first {
            FilePath::Written
        } else if second == Endpoint::Memory as u8 {
            thread::reads(target, tid, &ends.first.inode, bytes);
            FilePath::CopiedRead
        } else {
            FilePath::ZeroCopyRead
        };
        place = file(&FileKey { inode: ends.first.inode, target, port }, ends.first.descriptor, tid, path, 1, bytes);
        places.first = place;
    }
    if second == Endpoint::File as u8 {
        let key = FileKey { inode: ends.second.inode, target, port: PORT_NONE };
        places.second = file(&key, ends.second.descriptor, tid, FilePath::Written, 1, bytes);
    }
    let key = TransferKey {
        target: target as u16,
        syscall,
        source: if to_first { second } else { first },
        sink: if to_first { first } else { second },
        flags: ends.flags | carried.flags,
        padding: 0,
        port,
    };
    let kind = transfer(&key, bytes, carried.bytes);
    // What was counted is behind: the verifier need not tell apart where.
    places.first = forget(places.first as u64, ids) as u32;
    places.second = forget(places.second as u64, ids) as u32;
    if has(|features| &features.clients) {
        client(&key, ends, second, bytes, ids);
    }
    if has(|features| &features.latency) {
        // What a file's bytes are in memory for, they leave it by the other way.
        let (kind, place) = (forget(kind as u64, ids), forget(place as u64, ids));
        latency::note_duration(tid as u64, syscall as u64, kind, place, to_first as u64);
    }
    places
}

/// Counts a transfer for the client at the other end of a listener's connection.
#[inline(always)]
fn client(key: &TransferKey, ends: &Ends, second: u8, bytes: u64, ids: u64) {
    if key.port >= PORT_NONE {
        return;
    }
    let path = if key.sink != Endpoint::Socket as u8 {
        ClientPath::Received
    } else if key.flags & FLAG_MSG_ZEROCOPY != 0 {
        ClientPath::Undetermined
    } else if key.source == Endpoint::Memory as u8 {
        ClientPath::Copied
    } else {
        ClientPath::ZeroCopy
    };
    // As the port was chosen.
    let descriptor = if second == Endpoint::Socket as u8 { ends.second.descriptor } else { ends.first.descriptor };
    let (descriptor, path) = (forget(descriptor as u64, ids), forget(path as u64, ids));
    note_client(key.target as u64, descriptor, key.port as u64, path, bytes);
}
