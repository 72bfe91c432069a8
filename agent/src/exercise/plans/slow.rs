//! Calls that take a known time at least: their peer waits before it takes what they send, or sends what they wait for.

use std::{path::Path, thread, time::Duration};

use agent_ebpf::Syscall::{Read, Sendfile, Write};

use crate::exercise::{
    ExerciseError, Recorder,
    objects::{connection, file, listener, pipe},
    plans::Calls,
    recorder::moved,
};

/// How long the peer waits.
const WAIT: Duration = Duration::from_millis(60);
/// More than any socket's buffers hold.
const MUCH: usize = 32 << 20;

pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    let much = file(dir, "much", MUCH)?;
    let listener = listener(false)?;
    let (accepted, opened) = connection(&listener)?;
    let (out, inlet) = pipe()?;
    Ok(Box::new(move |recorder| {
        let _listener = listener;
        for size in [1, 1000, 10_000] {
            moved("write", recorder.copy(Write, &accepted, size))?;
            recorder.drain(Read, &opened, size)?;
        }
        let peer = thread::spawn(move || {
            let mut recorder = Recorder::default();
            thread::sleep(WAIT);
            let drained = recorder.drain(Read, &opened, MUCH);
            thread::sleep(WAIT);
            let written = moved("write", recorder.copy(Write, &inlet, 8));
            drained.and(written).map(|_| recorder)
        });
        let sent = moved("sendfile", recorder.between(Sendfile, &much, &accepted, MUCH))?;
        if sent != MUCH {
            return Err(ExerciseError::Impossible(format!("sendfile returned {sent}")));
        }
        moved("read", recorder.copy(Read, &out, 8))?;
        let peer = peer.join().map_err(|_| ExerciseError::Impossible("a thread ended early".to_owned()))?;
        recorder.merge(peer?);
        Ok(())
    }))
}
