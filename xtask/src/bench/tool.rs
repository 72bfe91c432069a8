//! Programs that hook from outside, as people start them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use testkit::process::{Guarded, Signal, processor_time};

/// A tool that does not end after so long is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a tool tells that it is attached: by the beginning of a line.
pub(super) enum Says {
    OnStdout(&'static str),
    OnStderr(&'static str),
}

/// A program at work, until this is dropped.
pub(super) struct Tool(Guarded);

impl Drop for Tool {
    fn drop(&mut self) {
        // As people end them; what it prints then goes nowhere. One that does not end is killed by its guard.
        let _ = self.0.signal(Signal::INT);
        let _ = self.0.wait_for(PATIENCE);
    }
}

/// `zctrace --pid`, until it is ended.
pub(super) fn zctrace(program: &Path, pid: u32, arguments: &[&str]) -> anyhow::Result<Tool> {
    let mut command = Command::new(program);
    command.args(["--pid", &pid.to_string(), "--duration", "30m"]).args(arguments);
    Tool::start(command, Says::OnStderr("Watching "))
}

/// bpftrace with a script.
pub(super) fn bpftrace(script: &str) -> anyhow::Result<Tool> {
    let mut command = Command::new("bpftrace");
    // Its loop begins, and the interval prints, only when every probe is attached.
    command.args(["-B", "line", "-e", &format!("{script} interval:ms:100 {{ printf(\"ready\\n\"); }}")]);
    Tool::start(command, Says::OnStdout("ready"))
}

/// strace of all threads of a process, on this processor: that of what it traces, since across processors it costs five
/// times as much.
pub(super) fn strace(pid: u32, cpu: usize, arguments: &[&str]) -> anyhow::Result<Tool> {
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string(), "strace", "-f"]).args(arguments).args(["-p", &pid.to_string()]);
    Tool::start(command, Says::OnStderr("strace: Process "))
}

/// bpftrace's plain way to count these system calls of one process and to add up what they returned.
pub(super) fn count_and_sum(pid: u32, calls: &[&str]) -> String {
    let count = |call: &&str| {
        format!("tracepoint:syscalls:sys_exit_{call} /pid == {pid}/ {{ @calls = count(); @bytes = sum(args->ret); }}")
    };
    calls.iter().map(count).collect::<Vec<_>>().join(" ")
}

impl Tool {
    /// Starts a program, and waits until it says that it is attached.
    pub(super) fn start(mut command: Command, says: Says) -> anyhow::Result<Self> {
        let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program()).to_string_lossy();
        let name = format!("`{program}`");
        let (line, on_stdout) = match says {
            Says::OnStdout(line) => (line, true),
            Says::OnStderr(line) => (line, false),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Guarded::spawn(command).with_context(|| format!("{name} can't be started"))?;
        let child = process.child();
        let stdout: Option<Box<dyn Read + Send>> = child.stdout.take().map(|pipe| Box::new(pipe) as _);
        let stderr: Option<Box<dyn Read + Send>> = child.stderr.take().map(|pipe| Box::new(pipe) as _);
        let (waited_for, other) = if on_stdout { (stdout, stderr) } else { (stderr, stdout) };
        let mut other = other.context("a tool without pipes")?;
        let other = std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = other.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        let mut lines = BufReader::new(waited_for.context("a tool without pipes")?);
        let mut said = String::new();
        loop {
            let before = said.len();
            if lines.read_line(&mut said)? == 0 {
                drop(process);
                bail!("{name} did not attach: {}{}", said.trim(), other.join().unwrap_or_default().trim());
            }
            if said.get(before..).is_some_and(|new| new.starts_with(line)) {
                break;
            }
        }
        // What it says later must go somewhere.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(Self(process))
    }

    /// Ids of its programs in the kernel.
    pub(super) fn programs(&self) -> anyhow::Result<Vec<u32>> {
        programs_of(self.0.id())
    }

    /// Seconds of a processor that it has taken so far.
    pub(super) fn processor_time(&self) -> anyhow::Result<f64> {
        Ok(processor_time(self.0.id()).context("a tool has ended early")?.as_secs_f64())
    }
}

/// Ids of the programs that a process holds descriptors of (`prog_id` in /proc/PID/fdinfo; Documentation/bpf).
pub(super) fn programs_of(pid: u32) -> anyhow::Result<Vec<u32>> {
    let dir = Path::new("/proc").join(pid.to_string()).join("fdinfo");
    let mut ids = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("{} can't be read", dir.display()))? {
        // One that is closed meanwhile is none.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        ids.extend(text.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok()));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
