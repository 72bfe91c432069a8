//! Thousands of threads that live at the same time, each of which serves one of two listeners.

use std::{
    path::Path,
    sync::{Arc, Barrier},
    thread,
};

use agent_ebpf::Syscall::{Pread64, Read, Sendmsg, Sendto};

use super::flows::log;
use crate::exercise::{
    ExerciseError, Recorder,
    objects::{Object, connection, listener},
    plans::Calls,
    recorder::moved,
};

/// Connections of each listener: threads share them.
const CONNECTIONS: usize = 16;
const STACK: usize = 128 << 10;
/// What each of them reads and sends.
const BYTES: usize = 100;

pub(in crate::exercise) fn prepare(dir: &Path, threads: usize) -> Result<Calls, ExerciseError> {
    let listeners = [listener(false)?, listener(false)?];
    let mut connections = Vec::new();
    for number in 0..2 * CONNECTIONS {
        connections.push(connection(&listeners[number % 2])?);
    }
    let orders = log(dir, "orders-0")?;
    Ok(Box::new(move |recorder| {
        let _listeners = listeners;
        let together = Arc::new(Barrier::new(threads));
        let accounts: Vec<_> = thread::scope(|scope| {
            let spawned: Vec<_> = (0..threads)
                .map(|number| {
                    let (orders, together) = (&orders, Arc::clone(&together));
                    let connection = &connections[number % connections.len()];
                    thread::Builder::new()
                        .stack_size(STACK)
                        .spawn_scoped(scope, move || serve(number % 2 == 0, orders, connection, &together))
                })
                .collect();
            spawned.into_iter().map(|thread| thread.map(thread::ScopedJoinHandle::join)).collect()
        });
        for account in accounts {
            let account = account.map_err(ExerciseError::call("start a thread"))?;
            let account = account.map_err(|_| ExerciseError::Impossible("a thread ended early".to_owned()))?;
            recorder.merge(account?);
        }
        Ok(())
    }))
}

/// Reads while all others have read and nobody has sent, so that each thread must be known by itself.
fn serve(
    even: bool,
    orders: &Object,
    (from, to): &(Object, Object),
    together: &Barrier,
) -> Result<Recorder, ExerciseError> {
    let mut recorder = Recorder::default();
    let read = moved("pread64", recorder.copy(Pread64, orders, BYTES));
    together.wait();
    let sent = moved("send", recorder.copy(if even { Sendto } else { Sendmsg }, from, read?))?;
    recorder.drain(Read, to, sent)?;
    Ok(recorder)
}
