//! Many threads that did not exist when the watch began.

use std::{path::Path, sync::Arc};

use agent_ebpf::Syscall::{Pread64, Read, Recvfrom, Sendfile, Sendto, Write};

use crate::exercise::{
    ExerciseError, Recorder,
    objects::{Object, connection, file, listener, pipe, unix_pair},
    plans::Calls,
    recorder::moved,
};

const THREADS: usize = 64;
const ROUNDS: usize = 40;

struct Objects {
    source: Arc<Object>,
    connection: (Object, Object),
    unix: (Object, Object),
    pipe: (Object, Object),
}

pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    let source = Arc::new(file(dir, "source", 1 << 20)?);
    let listener = listener(false)?;
    let mut objects = Vec::with_capacity(THREADS);
    for _ in 0..THREADS {
        objects.push(Objects {
            source: source.clone(),
            connection: connection(&listener)?,
            unix: unix_pair()?,
            pipe: pipe()?,
        });
    }
    Ok(Box::new(move |recorder| {
        let _listener = listener;
        let accounts: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = objects.iter().map(|objects| scope.spawn(|| thread(objects))).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        for account in accounts {
            let account = account.map_err(|_| ExerciseError::Impossible("a thread panicked".to_owned()))?;
            recorder.merge(account?);
        }
        Ok(())
    }))
}

fn thread(objects: &Objects) -> Result<Recorder, ExerciseError> {
    let mut recorder = Recorder::default();
    let (accepted, opened) = &objects.connection;
    for round in 1..=ROUNDS {
        let size = round * 317;
        let sent = moved("sendfile", recorder.between(Sendfile, &objects.source, accepted, size))?;
        recorder.drain(Read, opened, sent)?;
        moved("pread64", recorder.copy(Pread64, &objects.source, size))?;
        moved("write", recorder.copy(Write, accepted, size))?;
        recorder.drain(Recvfrom, opened, size)?;
        moved("sendto", recorder.copy(Sendto, &objects.unix.0, size))?;
        recorder.drain(Recvfrom, &objects.unix.1, size)?;
        moved("write", recorder.copy(Write, &objects.pipe.1, size))?;
        recorder.drain(Read, &objects.pipe.0, size)?;
    }
    Ok(recorder)
}
