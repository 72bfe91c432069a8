//! A call that moved bytes: what it adds to, at both of its ends.

use agent_ebpf::{
    ClientPath, Counter, Endpoint, FLAG_MSG_ZEROCOPY, FileKey, FilePath, Follows, PORT_NONE, TransferKey, tally_index,
};

use super::{
    account::{NOWHERE, add_tally, place_of_file, tally_of, transfer},
    clients::note_client,
    counter::count,
    globals::has,
    latency,
    object::Object,
    position::Began,
    read::forget,
    recent::{Kind, Known},
    run::Run,
    thread::{self, Carried, Memory},
};

/// A call that moved bytes.
pub(crate) struct Moved {
    /// The running task.
    pub(crate) task: *const u8,
    /// Its target's slot.
    pub(crate) target: u32,
    /// What the kernel calls the thread; and any number that the verifier knows nothing of, for [`forget`].
    pub(crate) ids: u64,
    /// A [`Syscall`](agent_ebpf::Syscall).
    pub(crate) syscall: u8,
    /// How many.
    pub(crate) bytes: u64,
}

/// Where a transfer inside the kernel is counted, and the files at both ends: [`NOWHERE`] for what is no file.
pub(crate) struct Places {
    /// The transfer itself.
    pub(crate) kind: u32,
    /// Of its source.
    pub(crate) source: u32,
    /// Of its sink.
    pub(crate) sink: u32,
    /// Of [`TransferKey::port`].
    pub(crate) port: u32,
}

// Three ways instead of one that knows where the bytes go: each has a third less to do.
impl Moved {
    /// Counts what came into the process's memory.
    #[inline(always)]
    pub(crate) fn into_memory(&self, source: &Object, began: &Began) {
        note_unknown(self.target, source.unknown, self.bytes);
        let mut place = NOWHERE;
        if source.kind == Endpoint::File as u8 {
            thread::reads(self.target, self.ids as u32, source, self.bytes);
            place = self.whole(source, began, FilePath::CopiedRead);
        }
        let is_of_file = source.kind == Endpoint::File as u8;
        let kind = self.transfer(source.kind, Endpoint::Memory as u8, 0, source.port, is_of_file, 0);
        self.client(source.kind, Endpoint::Memory as u8, 0, source);
        self.duration(kind, place, 0);
    }

    /// Counts what left it. `flags`: those of [`TransferKey::flags`] that the call itself tells.
    #[inline(always)]
    pub(crate) fn out_of_memory(&self, sink: &Object, flags: u8, memory: Memory, began: &Began) {
        note_unknown(self.target, sink.unknown, self.bytes);
        let mut carried = Carried { bytes: 0, flags: 0, place: NOWHERE };
        let mut place = NOWHERE;
        if sink.kind == Endpoint::Socket as u8 {
            carried = thread::sends(self.target, self.ids as u32, sink.port, self.bytes, memory);
            place = carried.place;
        } else if sink.kind == Endpoint::File as u8 {
            place = self.whole(sink, began, FilePath::Written);
        }
        let flags = flags | carried.flags;
        let is_of_file = sink.kind == Endpoint::File as u8;
        let kind = self.transfer(Endpoint::Memory as u8, sink.kind, flags, sink.port, is_of_file, carried.bytes);
        self.client(Endpoint::Memory as u8, sink.kind, flags, sink);
        // What a file's bytes are in memory for, they leave it by the other way.
        self.duration(kind, place, 1);
    }

    /// Counts what never was there.
    #[inline(always)]
    pub(crate) fn in_kernel(&self, source: &Object, sink: &Object) -> Places {
        // The ways that lead here differ in what the verifier knows of them; from here on they are one.
        let sink_kind = forget(sink.kind as u64, self.ids) as u8;
        note_unknown(self.target, forget((source.unknown | sink.unknown) as u64, self.ids) != 0, self.bytes);
        let socket = if sink_kind == Endpoint::Socket as u8 { sink } else { source };
        let mut places = Places { kind: NOWHERE, source: NOWHERE, sink: NOWHERE, port: socket.port };
        if source.kind == Endpoint::File as u8 {
            places.source = self.part(source, socket.port, FilePath::ZeroCopyRead);
        }
        if sink_kind == Endpoint::File as u8 {
            places.sink = self.part(sink, PORT_NONE, FilePath::Written);
        }
        places.kind = self.transfer(source.kind, sink_kind, 0, socket.port, false, 0);
        // What was counted is behind: the verifier need not tell apart where.
        places.source = forget(places.source as u64, self.ids) as u32;
        places.sink = forget(places.sink as u64, self.ids) as u32;
        self.client(source.kind, sink_kind, 0, socket);
        self.duration(places.kind, places.source, 0);
        places
    }

    /// Counts bytes of a file that its own end tells all about.
    #[inline(always)]
    fn whole(&self, file: &Object, began: &Began, path: FilePath) -> u32 {
        let key = FileKey { inode: file.inode, target: self.target, port: PORT_NONE };
        let found = place_of_file(&key, Known::Open(file.descriptor), self.ids as u32, path, 1, self.bytes);
        let Some((place, counts)) = found else { return NOWHERE };
        let follows = if has!(order) {
            let reader = if matches!(path, FilePath::Written) { None } else { Some(self.ids as u32) };
            let end = began.end(self.task, file.descriptor, self.bytes);
            Run { place, counts, reader }.follows(end, self.bytes)
        } else {
            Follows::Unknown as u64
        };
        add_tally(counts, tally_of(path, follows, self.ids), 1, self.bytes);
        place
    }

    /// The same for a transfer with two ends: where its order is counted, [`super::order`] does that, later.
    #[inline(always)]
    fn part(&self, file: &Object, port: u32, path: FilePath) -> u32 {
        let key = FileKey { inode: file.inode, target: self.target, port };
        let found = place_of_file(&key, Known::Open(file.descriptor), self.ids as u32, path, 1, self.bytes);
        let Some((place, counts)) = found else { return NOWHERE };
        if !has!(order) {
            add_tally(counts, tally_index(path, Follows::Unknown), 1, self.bytes);
        }
        place
    }

    #[inline(always)]
    fn transfer(&self, source: u8, sink: u8, flags: u8, port: u32, is_of_file: bool, carried: u64) -> u32 {
        let (target, syscall) = (self.target as u16, self.syscall);
        let key = TransferKey { target, syscall, source, sink, flags, padding: 0, port };
        transfer(Kind::of(&key), is_of_file, self.bytes, carried)
    }

    /// Notes how long it took.
    #[inline(always)]
    fn duration(&self, kind: u32, place: u32, way: u64) {
        if has!(latency) {
            let (kind, place) = (forget(kind as u64, self.ids), forget(place as u64, self.ids));
            latency::note_duration(self.ids as u32 as u64, self.syscall as u64, kind, place, way);
        }
    }

    /// Counts it for the client at the other end of a listener's connection.
    #[inline(always)]
    fn client(&self, source: u8, sink: u8, flags: u8, socket: &Object) {
        if !has!(clients) || socket.port >= PORT_NONE {
            return;
        }
        let path = if sink != Endpoint::Socket as u8 {
            ClientPath::Received
        } else if flags & FLAG_MSG_ZEROCOPY != 0 {
            ClientPath::Undetermined
        } else if source == Endpoint::Memory as u8 {
            ClientPath::Copied
        } else {
            ClientPath::ZeroCopy
        };
        let (descriptor, path) = (forget(socket.descriptor as u64, self.ids), forget(path as u64, self.ids));
        note_client(self.target as u64, descriptor, socket.port as u64, path, self.bytes);
    }
}

/// Counts a call one of whose ends could not be told.
#[inline(always)]
fn note_unknown(target: u32, is_unknown: bool, bytes: u64) {
    if is_unknown {
        count(target, Counter::EndpointUnknown, 1);
        count(target, Counter::EndpointUnknownBytes, bytes);
    }
}
