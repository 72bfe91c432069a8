//! Child processes that never outlive the one that started them.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, getpid, getppid, kill_process, set_parent_process_death_signal};

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(20);

/// A child that ends with its owner: by [`Drop`], and by the kernel (PR_SET_PDEATHSIG) where no destructor runs, as
/// after `kill -9` of a test or for a value in a `static`.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    /// Ends the keeper when dropped.
    _hold: mpsc::Sender<()>,
}

impl Guarded {
    /// Starts the command.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    // The kernel sends the parent-death signal when the *thread* that started the child ends, and a test's thread ends
    // before the test program does. So a keeper thread starts it, and waits.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let parent = getpid();
        // SAFETY: the closure runs between fork and exec and makes two system calls, both async-signal-safe; it
        // allocates nothing and touches no lock.
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::TERM))?;
                // The parent may have died before the line above.
                if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
            });
        }
        let (hold, held) = mpsc::channel::<()>();
        let (started, result) = mpsc::channel();
        std::thread::Builder::new().name("testkit-keeper".into()).spawn(move || {
            let sent = started.send(command.spawn());
            if sent.is_ok() {
                // Returns with an error when the owner drops its end: that is the signal to end.
                let _ = held.recv();
            }
        })?;
        let child = result.recv().map_err(io::Error::other)??;
        Ok(Self { child, _hold: hold })
    }

    /// Its PID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its status if it has ended.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The child as the standard library's, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until it has ended, at most `limit`: `None` when it still runs then.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn wait_for(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends it: SIGTERM, and SIGKILL if it has not ended after `patience`.
    ///
    /// # Errors
    /// Those of kill(2) and waitpid(2).
    pub fn stop(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        if let Some(status) = self.wait_for(patience)? {
            return Ok(status);
        }
        self.kill()
    }

    /// Sends it a signal; one that has ended gets none.
    ///
    /// # Errors
    /// Those of kill(2) and waitpid(2).
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            // Not reaped yet, so the number is still this child's.
            kill_process(Pid::from_child(&self.child), signal)?;
        }
        Ok(())
    }

    /// Ends it at once, by SIGKILL.
    ///
    /// # Errors
    /// Those of kill(2) and waitpid(2).
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Nothing can be done about an error here; the kernel's signal is the second line.
        let _ = self.stop(Duration::from_secs(15));
    }
}

/// Processor time that a process has taken since it started: all its threads, those that have ended included, in user space
/// and in the kernel (clock_getcpuclockid(3): the scheduler's own account, to the nanosecond). A thread that runs just now counts
/// up to the scheduler's last tick, some milliseconds ago: exact is what a process that sleeps has taken.
///
/// # Errors
/// A process that is not there, or that is not ours to look at.
pub fn processor_time(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: writes one clockid_t, which `clock` is.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec, which `time` is.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).map_err(io::Error::other)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("600");
        command
    }

    fn alive(pid: u32) -> bool {
        std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn it_outlives_the_thread_that_asked_for_it() {
        let mut child = std::thread::spawn(|| Guarded::spawn(sleeper()).unwrap()).join().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none());
        let pid = child.id();
        drop(child);
        assert!(!alive(pid));
    }

    #[test]
    fn one_that_ignores_sigterm_is_killed() {
        use std::io::Read as _;
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]);
        command.stdout(std::process::Stdio::piped());
        let mut child = Guarded::spawn(command).unwrap();
        let mut ready = [0; 5];
        child.child().stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        let status = child.stop(Duration::from_millis(200)).unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    #[test]
    fn processor_time_of_ended_threads_counts_and_sleeping_costs_none() {
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo; exec sleep 600"]);
        command.stdout(std::process::Stdio::piped());
        let mut child = Guarded::spawn(command).unwrap();
        io::Read::read_exact(child.child().stdout.as_mut().unwrap(), &mut [0]).unwrap();
        assert!(processor_time(child.id()).unwrap() > Duration::from_micros(500));
        let before = processor_time(std::process::id()).unwrap();
        std::thread::spawn(|| (0..5_000_000u64).fold(0, |sum, it| std::hint::black_box(sum + it))).join().unwrap();
        assert!(processor_time(std::process::id()).unwrap() > before + Duration::from_micros(500));
        let pid = child.id();
        drop(child);
        assert!(processor_time(pid).is_err());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = Guarded::spawn(Command::new("/nonexistent/program")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
