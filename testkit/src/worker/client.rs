//! The other end of a worker's pipes.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use super::{Order, Place};
use crate::process::Guarded;

/// A worker that waits for orders. It ends when this is dropped.
#[derive(Debug)]
pub struct Worker {
    process: Guarded,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts the program `bench-worker` at `program`, and waits until it is ready.
    ///
    /// # Errors
    /// Those of the start, and a worker that ended.
    pub fn start(program: &Path, place: &Place) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(place.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Guarded::spawn(command)?;
        let gone = || io::Error::other("a worker without pipes");
        let orders = process.child().stdin.take().ok_or_else(gone)?;
        let answers = BufReader::new(process.child().stdout.take().ok_or_else(gone)?);
        let mut worker = Self { process, orders, answers };
        worker.answer()?;
        Ok(worker)
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Nanoseconds a call, of each batch.
    ///
    /// # Errors
    /// A worker that ended: it says why on standard error.
    pub fn measure(&mut self, order: &Order) -> io::Result<Vec<f64>> {
        writeln!(self.orders, "{}", serde_json::to_string(order)?)?;
        Ok(serde_json::from_str(&self.answer()?)?)
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::other("a worker ended early"));
        }
        Ok(line)
    }
}
