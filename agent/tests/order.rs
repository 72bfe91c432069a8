//! In what order files are read and written, and what `sendfile` does not send: known calls, made by the test itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::{TcpListener, TcpStream},
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    thread,
};

use agent_ebpf::{READ_AGAIN, Runs, ShortReason};
use support::{alone, assert_nothing_left, legs, volume::Volume};
use zctrace::{
    probe::{Capacity, Leg, LegChoice, Parts, Probe, Slot},
    snapshot::{Order, Snapshot},
};

const COUNTED: Parts = Parts { page_cache: false, latency: None, clients: None, order: true, syncs: false };
/// Bytes of a call.
const PIECE: u64 = 64 << 10;
/// Bytes of a file: sparse, so that it takes no room.
const SIZE: u64 = 64 << 20;

/// This process, watched.
struct Watched {
    probe: Probe,
    slot: Slot,
    dir: tempfile::TempDir,
}

impl Watched {
    fn new(choice: LegChoice) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("orders-0")).unwrap();
        let mut probe = Probe::attach_with(choice, Capacity::default(), COUNTED).unwrap_or_else(|e| panic!("{e}"));
        let slot = probe.watch(std::process::id(), BTreeSet::new).unwrap();
        Self { probe, slot, dir }
    }

    fn log_dir(&self) -> PathBuf {
        self.dir.path().join("orders-0")
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.log_dir().join(format!("{number:020}.log"))
    }

    /// A sparse segment.
    fn make(&self, number: u64) -> File {
        let path = self.segment(number);
        File::create(&path).unwrap().set_len(SIZE).unwrap();
        File::open(path).unwrap()
    }

    fn snapshot(&self) -> Snapshot {
        self.probe.snapshot(self.slot).unwrap()
    }

    /// How the segments were read and written.
    fn runs(&self) -> [Runs; 2] {
        of_log(self.snapshot().order.as_ref().unwrap(), &self.log_dir())
    }
}

fn of_log(order: &Order, dir: &Path) -> [Runs; 2] {
    let inode = fs::metadata(dir).unwrap().ino();
    let of = order.logs.iter().find(|of| of.log.is_some_and(|log| log.inode == inode));
    of.map(|of| [of.read, of.written]).unwrap_or_default()
}

/// Bytes in sequence, elsewhere.
fn bytes(runs: &Runs) -> (u64, u64) {
    (runs.sequential.bytes, runs.random.bytes)
}

/// A place in the file that no call has been near: more than [`READ_AGAIN`] apart from each other.
fn far_apart(number: u64) -> u64 {
    // 7 and 20 have no common divisor, so that no place comes twice and neighbours are far apart.
    (number * 7 % 20 + 1) * 3 * READ_AGAIN
}

fn pread(file: &File, at: u64, piece: u64) {
    let mut buffer = vec![0; usize::try_from(piece).unwrap()];
    file.read_exact_at(&mut buffer, at).unwrap();
}

fn sendfile(to: &TcpStream, from: &File, at: Option<u64>, length: usize) -> isize {
    let mut offset = at.map(|at| i64::try_from(at).unwrap());
    let pointer = offset.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: open descriptors; the offset lives longer than the call.
    unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), pointer, length) }
}

/// A connection, and its other end, whose peer takes everything that is sent.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, there)
}

#[test]
fn appends_are_in_sequence_and_a_reader_that_jumps_is_not_by_every_leg() {
    let _alone = alone();
    let legs = legs();
    assert!(!legs.is_empty());
    for leg in legs {
        let watched = Watched::new(leg);
        let mut log = File::create(watched.segment(0)).unwrap();
        for _ in 0..100 {
            log.write_all(&[7; 1000]).unwrap();
        }
        let [_, written] = watched.runs();
        assert_eq!((bytes(&written), written.sequential.calls), ((100_000, 0), 100), "{leg:?}");
        // Over what was written before: no append.
        log.write_all_at(&[7; 500], 10_000).unwrap();
        assert_eq!(bytes(&watched.runs()[1]), (100_000, 500), "{leg:?}");

        let file = watched.make(1);
        for piece in 0..20 {
            pread(&file, piece * PIECE, PIECE);
        }
        assert_eq!(bytes(&watched.runs()[0]), (20 * PIECE, 0), "{leg:?}");
        let file = watched.make(2);
        for number in 0..20 {
            pread(&file, far_apart(number), PIECE);
        }
        // Nothing is known of what came before the first.
        assert_eq!(bytes(&watched.runs()[0]), (20 * PIECE, 19 * PIECE), "{leg:?}");
        drop(watched);
    }
    assert_nothing_left();
}

#[test]
fn a_file_read_by_its_position_and_by_every_call_is_in_sequence() {
    let _alone = alone();
    let watched = Watched::new(LegChoice::Auto);
    let mut file = watched.make(0);
    let mut buffer = vec![0; usize::try_from(PIECE).unwrap()];
    for _ in 0..4 {
        file.read_exact(&mut buffer).unwrap();
    }
    let (here, _there) = connection();
    // From the file's own position, on which the thread's reads left off: another reader, for which nothing comes before.
    for _ in 0..4 {
        assert_eq!(sendfile(&here, &file, None, 1000), 1000);
    }
    for number in 0..4 {
        assert_eq!(sendfile(&here, &file, Some(4 * PIECE + 4000 + number * 1000), 1000), 1000);
    }
    let [read, _] = watched.runs();
    assert_eq!((bytes(&read), read.sequential.calls), ((4 * PIECE + 7 * 1000, 0), 11));
    // Elsewhere by its own position.
    file.seek(SeekFrom::Start(SIZE / 2)).unwrap();
    file.read_exact(&mut buffer).unwrap();
    let vector = [libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() }];
    // SAFETY: one buffer, as long as is said.
    let preadv = |at: u64| unsafe { libc::preadv(file.as_raw_fd(), vector.as_ptr(), 1, i64::try_from(at).unwrap()) };
    assert_eq!(preadv(SIZE / 2 + PIECE), isize::try_from(PIECE).unwrap());
    assert_eq!(bytes(&watched.runs()[0]), (5 * PIECE + 7 * 1000, PIECE));
}

#[test]
fn a_copy_inside_the_kernel_has_an_order_at_both_ends_wherever_their_places_are_told() {
    let _alone = alone();
    for leg in legs() {
        let watched = Watched::new(leg);
        let (source, sink) = (watched.make(0), File::create(watched.segment(1)).unwrap());
        let piece = usize::try_from(PIECE).unwrap();
        // From and to places that are arguments of the call, then from and to where both files are.
        let (mut from, mut to) = (0, 0);
        for _ in 0..10 {
            assert_eq!(rustix::fs::copy_file_range(&source, Some(&mut from), &sink, Some(&mut to), piece), Ok(piece));
        }
        let [read, written] = watched.runs();
        assert_eq!([bytes(&read), bytes(&written)], [(10 * PIECE, 0); 2], "{leg:?}");
        let (mut from, mut to) = (far_apart(0), far_apart(1));
        rustix::fs::copy_file_range(&source, Some(&mut from), &sink, Some(&mut to), piece).unwrap();
        let [read, written] = watched.runs();
        assert_eq!([bytes(&read), bytes(&written)], [(10 * PIECE, PIECE); 2], "{leg:?}");
        let (mut source, mut sink) = (&source, &sink);
        source.seek(SeekFrom::Start(from)).unwrap();
        sink.seek(SeekFrom::Start(to)).unwrap();
        for _ in 0..10 {
            assert_eq!(rustix::fs::copy_file_range(source, None, sink, None, piece), Ok(piece));
        }
        let [read, written] = watched.runs();
        assert_eq!([bytes(&read), bytes(&written)], [(20 * PIECE, PIECE); 2], "{leg:?}");
        drop(watched);
    }
    assert_nothing_left();
}

#[test]
fn the_first_reader_of_a_file_the_others_and_who_writes_are_told_apart() {
    let _alone = alone();
    let watched = Watched::new(LegChoice::Auto);
    let file = watched.make(0);
    let log = File::options().write(true).open(watched.segment(0)).unwrap();
    // Each of four threads reads two sequences in turn, far apart, and all of them and the appends take turns.
    let barrier = std::sync::Barrier::new(5);
    let starts = |thread: u64| [2 * thread, 2 * thread + 1].map(|number| number * 7 * READ_AGAIN);
    thread::scope(|scope| {
        for number in 0..4 {
            let (file, barrier) = (&file, &barrier);
            scope.spawn(move || {
                for step in 0..16 {
                    barrier.wait();
                    starts(number).into_iter().for_each(|start| pread(file, start + step * PIECE, PIECE));
                }
            });
        }
        for step in 0..16 {
            barrier.wait();
            log.write_all_at(&vec![7; usize::try_from(PIECE).unwrap()], step * PIECE).unwrap();
        }
    });
    let [read, written] = watched.runs();
    assert_eq!((bytes(&written), written.sequential.calls), ((16 * PIECE, 0), 16));
    // Of each thread, nothing is known of what came before its first call, but at the beginning of the file; and its first one of the
    // second sequence is elsewhere.
    assert_eq!(bytes(&read), (PIECE + 4 * 2 * 15 * PIECE, 4 * PIECE));
    drop(watched);
    assert_nothing_left();
}

#[test]
fn connections_and_threads_that_take_turns_in_one_segment_are_each_in_sequence() {
    let _alone = alone();
    let watched = Watched::new(LegChoice::Auto);
    let file = watched.make(0);
    let connections: Vec<_> = (0..8).map(|_| connection()).collect();
    let starts: Vec<u64> = (0..8u64).map(far_apart).collect();
    for piece in 0..10 {
        for ((here, there), start) in connections.iter().zip(&starts) {
            assert_eq!(sendfile(here, &file, Some(start + piece * 1000), 1000), 1000);
            let mut taken = [0; 1000];
            (&mut &*there).read_exact(&mut taken).unwrap();
        }
    }
    let [read, _] = watched.runs();
    assert_eq!((read.sequential.calls, read.random.calls), (8 * 9, 0), "the first of each has nothing before it");

    // One thread that copies for three connections in turn, as with TLS.
    let file = watched.make(1);
    for piece in 0..10 {
        for start in &starts[..3] {
            pread(&file, start + piece * 1000, 1000);
        }
    }
    let [both, _] = watched.runs();
    let (sequential, random) = (both.sequential.calls - 8 * 9, both.random.calls);
    assert_eq!((sequential, random), (3 * 9, 2), "one thread: its second and third place are elsewhere once");
}

/// The first reader of a file is told in another way than those after it, and both remember as much (docs/page-cache.md).
#[test]
fn every_thread_may_go_on_from_its_last_four_places_and_from_no_more() {
    let _alone = alone();
    let watched = Watched::new(LegChoice::Auto);
    let starts: Vec<u64> = (0..5).map(far_apart).collect();
    let mut before = (0, 0);
    for (number, places, expected) in [(0, 4, (4 * 9, 3)), (1, 5, (0, 5 * 10 - 1))] {
        let file = watched.make(number);
        for reader in ["first", "second"] {
            // In a thread of its own, which is another reader.
            thread::scope(|scope| {
                scope.spawn(|| {
                    for piece in 0..10 {
                        starts.iter().take(places).for_each(|start| pread(&file, start + piece * 1000, 1000));
                    }
                });
            });
            let [read, _] = watched.runs();
            let calls = (read.sequential.calls - before.0, read.random.calls - before.1);
            assert_eq!(calls, expected, "the {reader} reader, {places} places");
            before = (read.sequential.calls, read.random.calls);
        }
    }
    drop(watched);
    assert_nothing_left();
}

/// Where a read of the file ended last, which the kernel keeps for all who have it open, is then another's.
#[test]
fn connections_that_are_sent_one_open_file_at_the_same_time_are_each_told_apart() {
    let _alone = alone();
    const CALLS: u64 = 500;
    for leg in legs() {
        let watched = Watched::new(leg);
        let file = watched.make(0);
        thread::scope(|scope| {
            for number in 0..4u64 {
                let file = &file;
                scope.spawn(move || {
                    let (here, there) = connection();
                    let taker = thread::spawn(move || std::io::copy(&mut &there, &mut std::io::sink()).unwrap());
                    // Two go on where they were, two jump to and fro.
                    let places = [far_apart(5 * number), far_apart(5 * number + number % 2)];
                    for (call, place) in (0..CALLS).zip(places.into_iter().cycle()) {
                        assert_eq!(sendfile(&here, file, Some(place + call * 1000), 1000), 1000);
                    }
                    drop(here);
                    assert_eq!(taker.join().unwrap(), CALLS * 1000);
                });
            }
        });
        let [read, _] = watched.runs();
        // Nothing is known of what came before the first of each. What the kernel missed is not there, and says how much it is; what
        // follows such a call seems to begin elsewhere.
        let (sequential, random) = (read.sequential.calls, read.random.calls);
        match watched.snapshot().missed_calls {
            0 => assert_eq!((sequential, random), (2 * (CALLS - 1), 2 * (CALLS - 1)), "{leg:?}"),
            missed => {
                assert!(sequential + random + missed >= 4 * (CALLS - 1), "{leg:?}: {sequential} {random} {missed}")
            }
        }
        drop(watched);
    }
}

#[test]
fn a_batch_that_is_fetched_again_is_no_jump_and_more_than_that_is_one() {
    let _alone = alone();
    let watched = Watched::new(LegChoice::Auto);
    let file = watched.make(0);
    let (here, there) = connection();
    let taker = thread::spawn(move || std::io::copy(&mut &there, &mut std::io::sink()).unwrap());
    let mut at = 0;
    for again in [READ_AGAIN, 1, 0, READ_AGAIN + 1] {
        let mut left = 2 * READ_AGAIN;
        while left > 0 {
            let sent = u64::try_from(sendfile(&here, &file, Some(at), usize::try_from(left).unwrap())).unwrap();
            (at, left) = (at + sent, left - sent);
        }
        at -= again;
    }
    let before = watched.runs()[0];
    assert_eq!(before.random.calls, 0);
    assert_eq!(sendfile(&here, &file, Some(at), 10), 10);
    assert_eq!(watched.runs()[0].random.bytes, 10);
    drop(here);
    taker.join().unwrap();
}

/// Calls, bytes asked for and bytes sent by reason.
fn shorts(watched: &Watched) -> BTreeMap<ShortReason, (u64, u64, u64)> {
    let short = watched.snapshot().order.unwrap().short;
    short.iter().map(|of| (of.reason, (of.short.calls, of.short.asked, of.short.sent))).collect()
}

#[test]
fn sendfile_calls_that_send_less_than_was_asked_are_told_by_reason() {
    let _alone = alone();
    let watched = Watched::new(LegChoice::Auto);
    let file = watched.make(0);
    let (here, there) = connection();
    here.set_nonblocking(true).unwrap();
    let (mut at, mut partial, mut sent_in_all) = (0u64, 0u64, 0u64);
    let asked = SIZE / 2;
    loop {
        let sent = sendfile(&here, &file, Some(at), usize::try_from(asked).unwrap());
        let Ok(sent) = u64::try_from(sent) else { break };
        assert!(sent > 0 && sent < asked, "{sent}: no send buffer takes that much");
        (at, partial, sent_in_all) = (at + sent, partial + 1, sent_in_all + sent);
    }
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EAGAIN));
    let expected = BTreeMap::from([
        (ShortReason::SendBuffer, (partial, partial * asked, sent_in_all)),
        (ShortReason::Again, (1, asked, 0)),
    ]);
    assert_eq!(shorts(&watched), expected);
    // Everything that was asked for, and the end of the file, in part and in whole.
    let (here, there_too) = connection();
    assert_eq!(sendfile(&here, &file, Some(0), 1000), 1000);
    assert_eq!(sendfile(&here, &file, Some(SIZE - 100), 1000), 100);
    assert_eq!(sendfile(&here, &file, Some(SIZE), 1000), 0);
    let mut with_end = expected;
    with_end.insert(ShortReason::EndOfFile, (2, 2000, 100));
    assert_eq!(shorts(&watched), with_end);
    drop((there, there_too));
}

/// A `sendfile` that ends with the file, and one behind its end.
fn send_short(file: &File) {
    let (here, _there) = connection();
    assert_eq!(sendfile(&here, file, Some(SIZE - 100), 1000), 100);
    assert_eq!(sendfile(&here, file, Some(SIZE), 1000), 0);
}

const SENT_SHORT: (ShortReason, (u64, u64, u64)) = (ShortReason::EndOfFile, (2, 2000, 100));

#[test]
fn short_calls_are_counted_where_kinds_of_transfer_have_no_place_and_once_more_for_who_comes_next() {
    let _alone = alone();
    let mut watched = Watched::new(LegChoice::Auto);
    let file = watched.make(0);
    send_short(&file);
    assert_eq!(shorts(&watched), BTreeMap::from([SENT_SHORT]));
    watched.probe.release(watched.slot).unwrap();
    watched.slot = watched.probe.watch(std::process::id(), BTreeSet::new).unwrap();
    assert_eq!(watched.snapshot().order.unwrap_or_default().short, []);
    send_short(&file);
    assert_eq!(shorts(&watched), BTreeMap::from([SENT_SHORT]), "the place of its transfers is used again, from zero");

    // The one place there is becomes that of a read.
    drop(watched.probe);
    let one = Capacity { transfers: 1, ..Capacity::default() };
    watched.probe = Probe::attach_with(LegChoice::Auto, one, COUNTED).unwrap();
    watched.slot = watched.probe.watch(std::process::id(), BTreeSet::new).unwrap();
    pread(&file, 0, 1);
    send_short(&file);
    let short = watched.snapshot().order.unwrap().short;
    let ports: BTreeSet<u32> = short.iter().map(|of| of.port).collect();
    assert_eq!((shorts(&watched), ports), (BTreeMap::from([SENT_SHORT]), BTreeSet::from([u32::MAX])));
}

#[test]
fn a_time_limit_of_a_socket_that_waits_cuts_a_call_short() {
    let _alone = alone();
    let watched = Watched::new(LegChoice::Auto);
    let file = watched.make(0);
    let (here, _there) = connection();
    here.set_write_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
    let sent = u64::try_from(sendfile(&here, &file, Some(0), usize::try_from(SIZE).unwrap())).unwrap();
    assert_eq!(shorts(&watched), BTreeMap::from([(ShortReason::Interrupted, (1, SIZE, sent))]));
}

#[test]
fn logs_on_two_devices_with_equal_inode_numbers_are_told_apart() {
    let _alone = alone();
    let volumes = [Volume::new("ext4", 64), Volume::new("ext4", 64)];
    let mut probe = Probe::attach_with(LegChoice::Auto, Capacity::default(), COUNTED).unwrap();
    let slot = probe.watch(std::process::id(), BTreeSet::new).unwrap();
    for (volume, pieces) in volumes.iter().zip([3, 5]) {
        let dir = volume.path().join("orders-0");
        fs::create_dir(&dir).unwrap();
        let mut log = File::create(dir.join("00000000000000000000.log")).unwrap();
        for _ in 0..pieces {
            log.write_all(&[7; 1000]).unwrap();
        }
    }
    let inodes = volumes.each_ref().map(|volume| fs::metadata(volume.path().join("orders-0")).unwrap().ino());
    assert_eq!(inodes[0], inodes[1], "two new file systems of a kind give the same numbers");
    let order = probe.snapshot(slot).unwrap().order.unwrap();
    let mut written: Vec<_> = order
        .logs
        .iter()
        .filter(|of| of.log.is_some_and(|log| log.inode == inodes[0]))
        .map(|of| of.written.sequential.bytes)
        .collect();
    written.sort_unstable();
    assert_eq!(written, [3000, 5000]);
}

#[test]
fn what_is_left_out_is_not_counted_and_takes_no_memory() {
    let _alone = alone();
    let entries = |name: &str| {
        let maps = aya::maps::loaded_maps().filter_map(Result::ok);
        maps.filter(|map| map.name_as_str() == Some(name)).map(|map| map.max_entries()).next()
    };
    let mut probe = Probe::attach(LegChoice::Auto, Capacity::default()).unwrap();
    let slot = probe.watch(std::process::id(), BTreeSet::new).unwrap();
    assert_eq!(["READERS", "SHORTS"].map(entries), [Some(1); 2]);
    assert_eq!(probe.snapshot(slot).unwrap().order, None);
    assert!(Leg::ALL.contains(&probe.leg()));
    drop(probe);
    assert_nothing_left();
}

#[test]
fn calls_that_wait_for_the_disk_are_counted_and_those_that_fail() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let parts = Parts { syncs: true, ..Parts::default() };
    for leg in legs() {
        let mut probe = Probe::attach_with(leg, Capacity::default(), parts).unwrap();
        assert_eq!(probe.missing(), Vec::<String>::new());
        let slot = probe.watch(std::process::id(), BTreeSet::new).unwrap();
        let mut file = File::create(dir.path().join("file")).unwrap();
        for _ in 0..3 {
            file.write_all(&[7; 4096]).unwrap();
            file.sync_all().unwrap();
        }
        file.sync_data().unwrap();
        // SAFETY: an open descriptor.
        assert_eq!(unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 4096, libc::SYNC_FILE_RANGE_WRITE) }, 0);
        let (_here, there) = connection();
        // SAFETY: an open descriptor.
        assert_eq!(unsafe { libc::fsync(there.as_raw_fd()) }, -1, "a socket is on no disk");
        // SAFETY: an address that is no mapping's: nothing is touched.
        assert_eq!(unsafe { libc::msync(std::ptr::without_provenance_mut(4096), 4096, libc::MS_SYNC) }, -1);
        probe.stop(slot).unwrap();
        file.sync_all().unwrap();
        let syncs = probe.snapshot(slot).unwrap().syncs.unwrap();
        let told: Vec<_> = syncs.iter().map(|of| (of.call, of.buckets.iter().sum::<u64>(), of.errors)).collect();
        use agent_ebpf::SyncCall::{Fdatasync, Fsync, Msync, SyncFileRange};
        assert_eq!(told, [(Fsync, 4, 1), (Fdatasync, 1, 0), (SyncFileRange, 1, 0), (Msync, 1, 1)], "{leg:?}");
        assert!(syncs.iter().all(|of| of.ns > 0 && of.max_ns <= of.ns && of.max_ns > 0), "{syncs:?}");
        probe.release(slot).unwrap();
        let slot = probe.watch(std::process::id(), BTreeSet::new).unwrap();
        assert_eq!(probe.snapshot(slot).unwrap().syncs, Some(Vec::new()), "the slot begins at nothing");
    }
    assert_nothing_left();
}
