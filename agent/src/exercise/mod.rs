//! Known system calls: a child process makes data-moving calls of every kind and writes down exactly what it did, so
//! that what was counted can be compared with it to the byte and to the call. Used by `zctrace doctor` and the tests.

mod child;
mod control;
mod ledger;
mod objects;
mod plan;
mod plans;
mod recorder;

use std::io;

pub use child::Child;
use control::{Control, State};
pub use ledger::{Known, KnownFile, KnownPort, Ledger};
pub use objects::drop_from_cache;
pub use plan::Plan;
use recorder::Recorder;

use crate::{
    cli,
    error::{Error, Status},
};

/// Why an exercise could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ExerciseError {
    /// A system call outside the counted ones failed.
    #[error("the exercise could not {what}: {error}")]
    Call {
        /// What it wanted to do.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The child process ended.
    #[error("the process that makes the known calls ended before it was done: {0}")]
    Ended(String),
    /// This kernel or machine does not have what the plan is about.
    #[error("this machine can't do the exercise: {0}")]
    Impossible(String),
    /// The child's account of itself can't be read.
    #[error("the account of the known calls can't be read: {0}")]
    Ledger(String),
}

impl ExerciseError {
    pub(crate) fn last(what: &'static str) -> Self {
        Self::Call { what, error: io::Error::last_os_error() }
    }

    pub(crate) fn call(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Call { what, error }
    }
}

/// `zctrace exercise`: the child's side.
///
/// # Errors
/// [`ExerciseError`], as text.
pub fn run(options: &cli::Exercise) -> Result<Status, Error> {
    let plan: Plan = options.plan.parse().map_err(Error::Usage)?;
    serve(&plan, options.control_fd).map_err(|error| Error::Other(error.to_string()))?;
    Ok(Status::Done)
}

/// Prepares, says that it is ready, waits for the word, makes the calls, tells what it did, waits for the end.
///
/// Between "ready" and "done" no counted call is made but those in the ledger: the parent is spoken to through shared
/// memory.
fn serve(plan: &Plan, control_fd: i32) -> Result<(), ExerciseError> {
    // A second arena of the allocator would read /proc in the middle of the calls.
    #[cfg(target_env = "gnu")]
    // SAFETY: a setting of the C library, before any thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
    let control = Control::open(control_fd)?;
    let dir = tempdir()?;
    let calls = plan.prepare(&dir.0)?;
    control.set(State::Ready);
    control.wait_for(State::Go);
    let mut recorder = Recorder::default();
    let result = calls(&mut recorder);
    let text = match result {
        Ok(()) => serde_json::to_string(&recorder.into_ledger()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    control.answer(&text);
    control.set(State::Done);
    control.wait_for(State::End);
    Ok(())
}

/// A folder that goes with its owner.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempdir() -> Result<Folder, ExerciseError> {
    let path = std::env::temp_dir().join(format!("zctrace-exercise-{}", std::process::id()));
    std::fs::create_dir_all(&path).map_err(ExerciseError::call("make a folder"))?;
    Ok(Folder(path))
}
