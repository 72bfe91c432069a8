//! What can be attached.

use std::{
    fmt, fs,
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use testkit::process::{Guarded, Signal};

use super::programs::{Link, Programs};

/// A tool that does not end after so long is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that looks at system calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// The empty program.
    Empty,
    /// The barest counter.
    Bare,
    /// The same with a helper's read.
    BareUntyped,
    /// `zctrace --pid` by a leg.
    Zctrace(String),
    /// bpftrace: exit, filter by PID, count and sum.
    Bpftrace,
    /// bpftrace: enter and exit, by file descriptor.
    BpftracePair,
    /// `strace -c -f`.
    Strace,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty program"),
            Self::Bare => f.write_str("bare counter in C"),
            Self::BareUntyped => f.write_str("bare counter in C, untyped"),
            Self::Zctrace(leg) => write!(f, "zctrace, {leg}"),
            Self::Bpftrace => f.write_str("bpftrace, exit"),
            Self::BpftracePair => f.write_str("bpftrace, enter and exit"),
            Self::Strace => f.write_str("strace -c -f"),
        }
    }
}

impl Hook {
    /// Those of a whole run, for the legs that zctrace knows.
    pub(super) fn all(legs: &[String]) -> Vec<Self> {
        [Self::Empty, Self::Bare, Self::BareUntyped]
            .into_iter()
            .chain(legs.iter().cloned().map(Self::Zctrace))
            .chain([Self::Bpftrace, Self::BpftracePair, Self::Strace])
            .collect()
    }

    /// What `--only` calls it.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Empty => "empty".to_owned(),
            Self::Bare => "bare".to_owned(),
            Self::BareUntyped => "bare-untyped".to_owned(),
            Self::Zctrace(leg) => leg.clone(),
            Self::Bpftrace => "bpftrace".to_owned(),
            Self::BpftracePair => "bpftrace-pair".to_owned(),
            Self::Strace => "strace".to_owned(),
        }
    }

    /// Whether a call takes tens of microseconds.
    pub(super) const fn is_slow(&self) -> bool {
        matches!(self, Self::Strace)
    }
}

/// What hooks are made of.
pub(super) struct Tools {
    pub(super) zctrace: PathBuf,
    pub(super) programs: Programs,
    /// The traced process.
    pub(super) pid: u32,
    /// The processor that it runs on.
    pub(super) cpu: usize,
}

/// A hook at work, until this is dropped.
pub(super) enum Attached {
    Link { name: &'static str, _link: Link },
    Process(Tool),
}

/// A program that hooks from outside.
pub(super) struct Tool(Guarded);

impl Drop for Tool {
    fn drop(&mut self) {
        // As people end them; what it prints then goes nowhere. One that does not end is killed by its guard.
        let _ = self.0.signal(Signal::INT);
        let _ = self.0.wait_for(PATIENCE);
    }
}

impl Tools {
    pub(super) fn attach(&mut self, hook: &Hook) -> anyhow::Result<Attached> {
        let pid = self.pid.to_string();
        match hook {
            Hook::Empty => self.link("empty"),
            Hook::Bare => self.link("bare"),
            Hook::BareUntyped => self.link("bare_untyped"),
            Hook::Zctrace(leg) => {
                let mut command = Command::new(&self.zctrace);
                command.args(["--pid", &pid, "--attach", leg, "--duration", "10m"]);
                tool(command, Says::OnStderr("Watching "))
            }
            Hook::Bpftrace => tool(bpftrace(&count_and_sum(&pid)), Says::OnStdout("ready")),
            Hook::BpftracePair => tool(bpftrace(&by_descriptor(&pid)), Says::OnStdout("ready")),
            Hook::Strace => {
                // On the processor of what it traces: across processors it costs five times as much.
                let mut command = Command::new("taskset");
                command.args(["-c", &self.cpu.to_string(), "strace", "-c", "-f", "-p", &pid]);
                tool(command, Says::OnStderr("strace: Process "))
            }
        }
    }

    fn link(&mut self, name: &'static str) -> anyhow::Result<Attached> {
        Ok(Attached::Link { name, _link: self.programs.attach(name)? })
    }

    /// Ids of the programs in the kernel that are at work.
    pub(super) fn program_ids(&self, attached: &Attached) -> anyhow::Result<Vec<u32>> {
        match attached {
            Attached::Link { name, .. } => Ok(vec![self.programs.info(name)?.id()]),
            Attached::Process(tool) => programs_of(tool.0.id()),
        }
    }
}

fn bpftrace(script: &str) -> Command {
    let mut command = Command::new("bpftrace");
    // Its loop begins, and the interval prints, only when every probe is attached.
    command.args(["-B", "line", "-e", &format!("{script} interval:ms:100 {{ printf(\"ready\\n\"); }}")]);
    command
}

/// The plain way to count one system call of one process, for each of those that are timed.
fn count_and_sum(pid: &str) -> String {
    ["pread64", "write", "sendfile64"]
        .map(|call| {
            format!(
                "tracepoint:syscalls:sys_exit_{call} /pid == {pid}/ {{ @calls = count(); @bytes = sum(args->ret); }}"
            )
        })
        .join(" ")
}

/// What it takes to tell descriptors apart.
fn by_descriptor(pid: &str) -> String {
    [("pread64", "fd"), ("write", "fd"), ("sendfile64", "out_fd")]
        .map(|(call, fd)| {
            format!(
                "tracepoint:syscalls:sys_enter_{call} /pid == {pid}/ {{ @fd[tid] = args->{fd} + 1; }} \
                 tracepoint:syscalls:sys_exit_{call} /pid == {pid} && @fd[tid]/ {{ @calls[pid, @fd[tid]] = count(); \
                 @bytes[pid, @fd[tid]] = sum(args->ret); delete(@fd[tid]); }}"
            )
        })
        .join(" ")
}

/// How a tool tells that it is attached: by the beginning of a line.
enum Says {
    OnStdout(&'static str),
    OnStderr(&'static str),
}

fn tool(mut command: Command, says: Says) -> anyhow::Result<Attached> {
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
    Ok(Attached::Process(Tool(process)))
}

/// The programs that a process holds descriptors of (`prog_id` in /proc/PID/fdinfo; Documentation/bpf).
fn programs_of(pid: u32) -> anyhow::Result<Vec<u32>> {
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
