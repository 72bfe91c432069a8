//! Threads that make it hard to tell whose data they send, one after the other.
//!
//! | thread | what it does |
//! |---|---|
//! | idle | reads a log and never sends |
//! | late | reads a log, sends other things by zero copy, and only then what it had read, by `writev` |
//! | two listeners | serves two in turn, by `sendto` and `sendmsg`; at last it reads two topics and sends both at once |
//! | TLS | `write`s records: on a connection that was in the middle of one when the watch began, and on one that begins later |
//! | reopened | sends by `sendmmsg` from a listener, and then from another port |

use std::{net::TcpListener, path::Path, thread, time::Duration};

use agent_ebpf::Syscall::{Pread64, Read, Sendfile, Sendmmsg, Sendmsg, Sendto, Writev};

use super::flows::{log, record, send, write};
use crate::exercise::{
    ExerciseError, Recorder,
    objects::{Object, connection, listener},
    plans::Calls,
    recorder::moved,
};

type Connection = (Object, Object);

struct Objects {
    orders: Object,
    payments: Object,
    late: Connection,
    two: [Connection; 2],
    tls: (TcpListener, Connection),
    first: (TcpListener, Connection),
    _listeners: [TcpListener; 3],
}

pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    let listeners = [listener(false)?, listener(false)?, listener(true)?];
    let [late, one, other] = listeners.each_ref().map(connection);
    let (tls, first) = (listener(false)?, listener(false)?);
    let (tls_connection, first_connection) = (connection(&tls)?, connection(&first)?);
    let objects = Objects {
        orders: log(dir, "orders-0")?,
        payments: log(dir, "payments-3")?,
        late: late?,
        two: [one?, other?],
        tls: (tls, tls_connection),
        first: (first, first_connection),
        _listeners: listeners,
    };
    Ok(Box::new(move |recorder| {
        let Objects { orders, payments, late, two, tls, first, _listeners } = objects;
        let of = (&orders, &payments);
        in_a_thread(recorder, |recorder| idle(recorder, &orders))?;
        in_a_thread(recorder, |recorder| send_late(recorder, of, &late))?;
        in_a_thread(recorder, |recorder| two_listeners(recorder, of, &two))?;
        in_a_thread(recorder, |recorder| sessions(recorder, &payments, &tls))?;
        in_a_thread(recorder, |recorder| reopened(recorder, first))
    }))
}

/// A thread that has done nothing before.
pub(super) fn in_a_thread(
    recorder: &mut Recorder,
    day: impl FnOnce(&mut Recorder) -> Result<(), ExerciseError> + Send,
) -> Result<(), ExerciseError> {
    let account = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut recorder = Recorder::default();
            day(&mut recorder).map(|()| recorder)
        });
        thread.join().map_err(|_| ExerciseError::Impossible("a thread ended early".to_owned()))?
    })?;
    recorder.merge(account);
    Ok(())
}

fn read(recorder: &mut Recorder, log: &Object, size: usize) -> Result<usize, ExerciseError> {
    moved("pread64", recorder.copy(Pread64, log, size))
}

fn idle(recorder: &mut Recorder, log: &Object) -> Result<(), ExerciseError> {
    read(recorder, log, 4_000)?;
    read(recorder, log, 6_000).map(drop)
}

fn send_late(
    recorder: &mut Recorder,
    (orders, payments): (&Object, &Object),
    to: &Connection,
) -> Result<(), ExerciseError> {
    read(recorder, orders, 10_000)?;
    let sent = moved("sendfile", recorder.between(Sendfile, payments, &to.0, 3_000))?;
    recorder.drain(Read, &to.1, sent)?;
    thread::sleep(Duration::from_millis(50));
    send(recorder, Writev, to, 10_000)?;
    send(recorder, Writev, to, 200)
}

fn two_listeners(
    recorder: &mut Recorder,
    (orders, payments): (&Object, &Object),
    [one, other]: &[Connection; 2],
) -> Result<(), ExerciseError> {
    for _ in 0..3 {
        read(recorder, orders, 1_000)?;
        send(recorder, Sendto, one, 1_000)?;
        read(recorder, payments, 2_000)?;
        send(recorder, Sendmsg, other, 2_000)?;
    }
    read(recorder, orders, 300)?;
    read(recorder, payments, 400)?;
    send(recorder, Sendto, one, 700)
}

fn sessions(
    recorder: &mut Recorder,
    payments: &Object,
    (listener, before): &(TcpListener, Connection),
) -> Result<(), ExerciseError> {
    // The rest of a record of which the beginning left before the watch.
    write(recorder, before, &[b'r'; 1_000])?;
    write(recorder, before, &record(10_000))?;
    let later = connection(listener)?;
    let handshake = [&[22, 3, 3, 1, 0][..], &[b'h'; 256]].concat();
    write(recorder, &later, &handshake)?;
    read(recorder, payments, 8_000)?;
    write(recorder, &later, &record(8_024))
}

fn reopened(
    recorder: &mut Recorder,
    (listener_before, before): (TcpListener, Connection),
) -> Result<(), ExerciseError> {
    messages(recorder, &before, 40_000, 1)?;
    drop((listener_before, before));
    let again = listener(false)?;
    messages(recorder, &connection(&again)?, 50, 1)
}

fn messages(recorder: &mut Recorder, (from, to): &Connection, size: usize, count: usize) -> Result<(), ExerciseError> {
    moved("sendmmsg", recorder.messages(Sendmmsg, from, size, count))?;
    recorder.drain(Read, to, size * count)
}
