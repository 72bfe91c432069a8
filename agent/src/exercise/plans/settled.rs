//! Many sends, so that it is settled whether they are TLS: a thread for each port.
//!
//! | port | what is written |
//! |---|---|
//! | cut | records of which each leaves in two pieces |
//! | becomes TLS | plaintext, and then records |
//! | becomes plaintext | records, and then plaintext |

use std::{net::TcpListener, path::Path};

use super::{
    days::in_a_thread,
    flows::{record, write},
};
use crate::exercise::{
    ExerciseError, Recorder,
    objects::{Object, connection, listener},
    plans::Calls,
};

/// Sends of a kind.
const SENDS: usize = 200;

pub(in crate::exercise) fn prepare(_dir: &Path) -> Result<Calls, ExerciseError> {
    let listeners: [TcpListener; 3] = [listener(false)?, listener(true)?, listener(false)?];
    let [cut, to_tls, to_plain] = listeners.each_ref().map(connection);
    let (cut, to_tls, to_plain) = (cut?, to_tls?, to_plain?);
    Ok(Box::new(move |recorder| {
        let _listeners = listeners;
        let record = record(100);
        let (head, rest) = record.split_at(60);
        in_a_thread(recorder, |recorder| pieces(recorder, &cut, &[head, rest]))?;
        in_a_thread(recorder, |recorder| {
            pieces(recorder, &to_tls, &[&[b'p'; 50]])?;
            pieces(recorder, &to_tls, &[&record])
        })?;
        in_a_thread(recorder, |recorder| {
            pieces(recorder, &to_plain, &[&record])?;
            pieces(recorder, &to_plain, &[&[b'p'; 70]])
        })
    }))
}

fn pieces(recorder: &mut Recorder, to: &(Object, Object), pieces: &[&[u8]]) -> Result<(), ExerciseError> {
    (0..SENDS).try_for_each(|_| pieces.iter().try_for_each(|piece| write(recorder, to, piece)))
}
