//! Listeners that open while the process is watched.

use agent_ebpf::Syscall::{Read, Write};

use crate::exercise::{
    ExerciseError,
    objects::{connection, listener},
    plans::Calls,
    recorder::moved,
};

pub(in crate::exercise) fn prepare() -> Result<Calls, ExerciseError> {
    Ok(Box::new(|recorder| {
        for ipv6 in [false, true, false] {
            let listener = listener(ipv6)?;
            let (accepted, opened) = connection(&listener)?;
            for (from, to, size) in [(&accepted, &opened, 12_345), (&opened, &accepted, 321)] {
                moved("write", recorder.copy(Write, from, size))?;
                recorder.drain(Read, to, size)?;
            }
            // The connection outlives its listener, and stays the listener's.
            drop(listener);
            moved("write", recorder.copy(Write, &accepted, 99))?;
            recorder.drain(Read, &opened, 99)?;
        }
        Ok(())
    }))
}
