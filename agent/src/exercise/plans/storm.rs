//! As many calls as fast as possible, by several threads.

use std::{path::Path, sync::Arc};

use agent_ebpf::{
    Endpoint,
    Syscall::{Pread64, Write},
};

use crate::exercise::{
    ExerciseError, Recorder,
    objects::{Object, Side, file, open},
    plans::Calls,
};

const THREADS: u64 = 4;
const SIZE: usize = 16;

pub(in crate::exercise) fn prepare(dir: &Path, calls: u64) -> Result<Calls, ExerciseError> {
    let source = Arc::new(file(dir, "source", SIZE)?);
    let null = Arc::new(open(Path::new("/dev/null"), libc::O_WRONLY)?);
    Ok(Box::new(move |recorder| {
        let accounts: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..THREADS).map(|_| scope.spawn(|| thread(&source, &null, calls / THREADS / 2))).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        for account in accounts {
            let account = account.map_err(|_| ExerciseError::Impossible("a thread panicked".to_owned()))?;
            recorder.merge(account?);
        }
        Ok(())
    }))
}

/// The calls themselves are not slowed down by book-keeping: all return the same, and are written down at the end.
fn thread(source: &Object, null: &Object, rounds: u64) -> Result<Recorder, ExerciseError> {
    let mut buffer = [0u8; SIZE];
    let data = buffer.as_mut_ptr().cast::<libc::c_void>();
    let whole = SIZE.cast_signed();
    for _ in 0..rounds {
        // SAFETY: the kernel stays within the buffer.
        let (read, written) =
            unsafe { (libc::pread64(source.raw(), data, SIZE, 0), libc::write(null.raw(), data, SIZE)) };
        if read != whole || written != whole {
            return Err(ExerciseError::last("read or write sixteen bytes"));
        }
    }
    let mut recorder = Recorder::default();
    for _ in 0..rounds {
        recorder.note(Pread64, &source.side, &Side::MEMORY, SIZE as i64, SIZE as u64);
        recorder.note(Write, &Side::MEMORY, &Side::new(Endpoint::Other), SIZE as i64, SIZE as u64);
    }
    Ok(recorder)
}
