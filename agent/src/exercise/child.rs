//! The parent's side of an exercise.

use std::{
    path::Path,
    process::{Child as Process, Command, Stdio},
    time::Duration,
};

use super::{Control, ExerciseError, Ledger, Plan, State};

/// A process that is ready to make known calls.
pub struct Child {
    process: Process,
    control: Control,
}

impl Child {
    /// Starts `exe` (a zctrace) with `plan`, and waits until it is ready.
    ///
    /// # Errors
    /// [`ExerciseError`], the child's own included.
    pub fn spawn(exe: &Path, plan: &Plan) -> Result<Self, ExerciseError> {
        Self::spawn_in(exe, plan, &std::env::temp_dir())
    }

    /// The same, with its files in a folder in `dir`.
    ///
    /// # Errors
    /// As [`Self::spawn`].
    pub fn spawn_in(exe: &Path, plan: &Plan, dir: &Path) -> Result<Self, ExerciseError> {
        let control = Control::create()?;
        let process = Command::new(exe)
            .env("TMPDIR", dir)
            .args(["exercise", "--plan", &plan.to_string(), "--control-fd", &control.fd().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(ExerciseError::call("start its process"))?;
        let mut child = Self { process, control };
        child.wait_for(State::Ready)?;
        Ok(child)
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Lets it make its calls.
    pub fn go(&self) {
        self.control.set(State::Go);
    }

    /// Waits until they are made. The process lives on, idle, until this value is dropped.
    ///
    /// # Errors
    /// [`ExerciseError`], the child's own included.
    pub fn wait_done(&mut self) -> Result<Ledger, ExerciseError> {
        self.wait_for(State::Done)?;
        let text = self.control.read_answer().map_err(ExerciseError::Impossible)?;
        serde_json::from_str(&text).map_err(|error| ExerciseError::Ledger(error.to_string()))
    }

    fn wait_for(&mut self, state: State) -> Result<(), ExerciseError> {
        while !self.control.wait_a_while(state, Duration::from_millis(50)) {
            let ended = self.process.try_wait().map_err(ExerciseError::call("look after its process"))?;
            if let Some(status) = ended {
                let mut said = String::new();
                if let Some(stderr) = self.process.stderr.as_mut() {
                    let _ = std::io::Read::read_to_string(stderr, &mut said);
                }
                return Err(ExerciseError::Ended(format!("{status}. {}", said.trim())));
            }
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.control.set(State::End);
        // It has a folder to remove; but it does not keep us waiting.
        for _ in 0..100 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
