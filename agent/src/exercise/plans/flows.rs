//! A broker's ways to send, one a listener, with two topics and another file behind them.
//!
//! | listener sends by | what it does |
//! |---|---|
//! | `writev`, `sendfile` | plaintext: headers from memory, the log by zero copy |
//! | `write` | TLS: the log is read, records are written |
//! | `sendto` | plaintext from files read by calls: conversion, copies of remote segments |
//! | `sendmsg` | the kernel refuses `sendfile`, and memory is sent instead |

use std::path::Path;

use agent_ebpf::Syscall::{Pread64, Read, Sendfile, Sendmsg, Sendto, Writev};

use crate::exercise::{
    ExerciseError, Recorder,
    objects::{Object, connection, eventfd, file, listener},
    plans::Calls,
    recorder::moved,
};

/// A log of Kafka's shape: `orders-0/00000000000000000000.log`.
pub(super) fn log(dir: &Path, partition: &str) -> Result<Object, ExerciseError> {
    let dir = dir.join(partition);
    std::fs::create_dir_all(&dir).map_err(ExerciseError::call("make a folder"))?;
    file(&dir, "00000000000000000000.log", 100_000)
}

/// A TLS record of application data with so many bytes in it.
pub(super) fn record(bytes: u16) -> Vec<u8> {
    let mut record = vec![23, 3, 3];
    record.extend(bytes.to_be_bytes());
    record.resize(usize::from(bytes) + 5, b'r');
    record
}

pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    let (orders, payments) = (log(dir, "orders-0")?, log(dir, "payments-3")?);
    let remote = file(dir, "remote", 100_000)?;
    let refusing = eventfd()?;
    let listeners = [listener(false)?, listener(true)?, listener(false)?, listener(false)?];
    let [plain, tls, converting, refused] = listeners.each_ref().map(connection);
    let (plain, tls, converting, refused) = (plain?, tls?, converting?, refused?);
    Ok(Box::new(move |recorder| {
        let _listeners = listeners;
        for (header, log) in [(100, 60_000), (40, 30_000)] {
            send(recorder, Writev, &plain, header)?;
            let sent = moved("sendfile", recorder.between(Sendfile, &orders, &plain.0, log))?;
            recorder.drain(Read, &plain.1, sent)?;
        }
        // One read, two records; then another topic in the same answer; then an alert.
        moved("pread64", recorder.copy(Pread64, &orders, 32_768))?;
        for bytes in [16_408, 16_408] {
            write(recorder, &tls, &record(bytes))?;
        }
        moved("pread64", recorder.copy(Pread64, &payments, 10_000))?;
        write(recorder, &tls, &record(10_024))?;
        write(recorder, &tls, &record(35))?;
        // A conversion gives less than it read, and what follows is taken for the same until as much has left.
        moved("pread64", recorder.copy(Pread64, &payments, 20_000))?;
        send(recorder, Sendto, &converting, 18_000)?;
        send(recorder, Sendto, &converting, 5_000)?;
        send(recorder, Sendto, &converting, 300)?;
        moved("pread64", recorder.copy(Pread64, &remote, 8_000))?;
        send(recorder, Sendto, &converting, 8_000)?;
        recorder.between(Sendfile, &refusing, &refused.0, 1_000);
        send(recorder, Sendmsg, &refused, 40_000)?;
        send(recorder, Sendmsg, &refused, 50)?;
        // Read, and never sent.
        moved("pread64", recorder.copy(Pread64, &orders, 5_000))?;
        moved("pread64", recorder.copy(Pread64, &payments, 7_000))?;
        Ok(())
    }))
}

pub(super) fn send(
    recorder: &mut Recorder,
    syscall: agent_ebpf::Syscall,
    (from, to): &(Object, Object),
    size: usize,
) -> Result<(), ExerciseError> {
    let sent = moved(syscall.name(), recorder.copy(syscall, from, size))?;
    recorder.drain(Read, to, sent)
}

pub(super) fn write(recorder: &mut Recorder, (from, to): &(Object, Object), bytes: &[u8]) -> Result<(), ExerciseError> {
    let sent = moved("write", recorder.write(from, bytes))?;
    recorder.drain(Read, to, sent)
}
