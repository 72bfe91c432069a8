use super::*;

fn transfer(bytes: u64, calls: u64) -> Transfer {
    let mut sizes = [0; SIZE_BUCKETS];
    sizes[10] = calls;
    Transfer {
        id: TransferId {
            syscall: Syscall::Sendfile,
            source: Endpoint::File,
            sink: Endpoint::Socket,
            port: 9092,
            msg_zerocopy: false,
            tls: false,
            of_file: false,
        },
        bytes,
        carried_file_bytes: 0,
        sizes,
    }
}

#[test]
fn the_difference_of_two_snapshots_is_what_came_between() {
    let earlier = Snapshot { transfers: vec![transfer(1000, 1)], ..Snapshot::default() };
    let mut later = Snapshot { transfers: vec![transfer(5000, 3)], ..Snapshot::default() };
    later.counters.insert(Counter::FilesFull, 2);
    let delta = later.since(&earlier);
    assert_eq!(delta.transfers, [transfer(4000, 2)]);
    assert_eq!(delta.counter(Counter::FilesFull), 2);
    assert_eq!(later.since(&Snapshot::default()), later);
    assert_eq!(later.since(&later), Snapshot { directories: vec![], ..Snapshot::default() });
}

#[test]
fn calls_that_the_host_missed_are_counted_once() {
    let earlier = Snapshot { missed_calls: 5, ..Snapshot::default() };
    let later = Snapshot { missed_calls: 8, ..Snapshot::default() };
    assert_eq!(later.since(&earlier).missed_calls, 3);
    assert_eq!(later.plus(&earlier).missed_calls, 8, "two lives on one host");
}

#[test]
fn a_sum_and_its_difference_give_each_part_back() {
    let mut one = Snapshot { transfers: vec![transfer(1000, 1)], ..Snapshot::default() };
    one.counters.insert(Counter::FilesFull, 2);
    one.results = vec![CallResult { syscall: Syscall::Read, result: 11, calls: 3 }];
    one.files_other.bytes[1] = 5;
    one.files_other.calls[1] = 1;
    let mut two = Snapshot { transfers: vec![transfer(5000, 3)], ..Snapshot::default() };
    two.results = vec![CallResult { syscall: Syscall::Read, result: 11, calls: 4 }];
    let tally = Tally { calls: 1, bytes: 7 };
    let (syscall, source, sink) = (Syscall::Write, Endpoint::Memory, Endpoint::File);
    two.other = vec![OtherTransfer { syscall, source, sink, tally }];
    let sum = one.clone().plus(&two);
    assert_eq!(sum.transfers, [transfer(6000, 4)]);
    assert_eq!(sum.since(&one), two);
    assert_eq!(sum.since(&two), one);
}
