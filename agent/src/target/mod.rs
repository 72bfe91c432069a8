//! The watched process: who it is, and whether it can be watched. From /proc, under a root that tests can set.

mod error;
mod launcher;
mod pidfd;
mod root;
mod sockets;
mod surroundings;

use std::{ffi::OsStr, fs, io, path::Path};

pub use error::TargetError;
pub use launcher::java_main;
pub use pidfd::Pidfd;
pub(crate) use root::Root;
pub use sockets::listening_ports;
pub(crate) use surroundings::java_version;
pub use surroundings::{Surroundings, surroundings};

/// `PF_KTHREAD` of `include/linux/sched.h`, in the flags of `/proc/PID/stat`.
const PF_KTHREAD: u64 = 0x0020_0000;
/// Class of an ELF file (`e_ident[EI_CLASS]`): 32-bit.
const ELFCLASS32: u8 = 1;

/// A process that can be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// PID in this process's own namespace.
    pub pid: u32,
    /// The kernel's short name of it, at most 15 bytes.
    pub comm: String,
    /// Its command line; bytes that are not UTF-8 are replaced. It may hold secrets: it never reaches an output.
    pub command_line: CommandLine,
    /// What it runs: the main class or jar of a JVM, otherwise the executable's file name.
    pub command: String,
    /// Whether it is a 32-bit program; `None` if the executable can't be read.
    pub compat: Option<bool>,
    /// Whether it is a Java virtual machine.
    pub is_jvm: bool,
    /// The main class that the jar of `java -jar` names in its manifest.
    pub jar_main: Option<String>,
}

/// A command line, which is not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<String>);

impl CommandLine {
    /// From its arguments.
    #[must_use]
    pub const fn new(arguments: Vec<String>) -> Self {
        Self(arguments)
    }

    /// Its arguments, the program itself first.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.0
    }
}

impl std::fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CommandLine({} arguments)", self.0.len())
    }
}

/// Finds out about a process and whether it can be watched. `proc` is normally `/proc`.
///
/// # Errors
/// See [`TargetError`].
pub fn inspect(proc: &Path, pid: u32) -> Result<Process, TargetError> {
    own_namespace(proc)?;
    if pid == std::process::id() {
        return Err(TargetError::Zctrace);
    }
    let dir = proc.join(pid.to_string());
    let status = fs::read_to_string(dir.join("status")).map_err(|error| TargetError::from_io(pid, &error))?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
    };
    if let Ok(leader) = field("Tgid").parse::<u32>()
        && leader != pid
    {
        return Err(TargetError::Thread { tid: pid, pid: leader });
    }
    let comm = field("Name").to_owned();
    if is_kernel_thread(&dir) {
        return Err(TargetError::KernelThread { pid, comm });
    }
    if field("State").starts_with('Z') {
        return Err(TargetError::Zombie(pid));
    }
    let mut arguments = command_line(&dir).map_err(|error| TargetError::from_io(pid, &error))?;
    let executable = fs::read_link(dir.join("exe")).ok();
    let mut jar_main = None;
    // Only where there is something to read: it takes a privilege, and most processes are none.
    if launcher::is_java(executable.as_deref(), &arguments)
        && launcher::refers_to_files(&arguments)
        && let Ok(root) = Root::of(proc, pid)
    {
        arguments = launcher::expand(arguments, |path| root.read(path).ok());
        jar_main = launcher::jar(&arguments).and_then(|jar| launcher::manifest_main(root.file(jar).ok()?));
    }
    let (is_jvm, command) = what_runs(executable.as_deref(), &arguments, &comm);
    Ok(Process { pid, comm, command_line: CommandLine(arguments), command, compat: compat(&dir), is_jvm, jar_main })
}

/// Whether the process holds an io_uring instance; `None` where its descriptors can't be seen.
#[must_use]
pub fn io_uring_in_use(proc: &Path, pid: u32) -> Option<bool> {
    let links = fs::read_dir(proc.join(pid.to_string()).join("fd")).ok()?;
    Some(
        links
            .filter_map(Result::ok)
            .filter_map(|link| fs::read_link(link.path()).ok())
            .any(|to| to.as_os_str() == "anon_inode:[io_uring]"),
    )
}

/// Connections whose bytes the kernel encrypts (kernel TLS), in the process's network namespace: its own or another process's.
/// `None` where that can't be seen, or the kernel's module is not there (`TlsCurrTxSw` and `TlsCurrTxDevice` in
/// `/proc/PID/net/tls_stat`, `net/tls/tls_proc.c`).
#[must_use]
pub fn kernel_tls_connections(proc: &Path, pid: u32) -> Option<u64> {
    let text = fs::read_to_string(proc.join(pid.to_string()).join("net/tls_stat")).ok()?;
    let count = |line: &str| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        let counts = ["TlsCurrTxSw", "TlsCurrTxDevice"].contains(&name);
        if counts { value.trim().parse::<u64>().ok() } else { None }
    };
    Some(text.lines().filter_map(count).sum())
}

/// A PID is a number in a namespace: what `/proc` shows must be the namespace that the kernel will look it up in.
fn own_namespace(proc: &Path) -> Result<(), TargetError> {
    let own = fs::read_link(proc.join("self")).map_err(|error| TargetError::NoProc(error.to_string()))?;
    if own.as_os_str() == std::process::id().to_string().as_str() { Ok(()) } else { Err(TargetError::OtherNamespace) }
}

fn is_kernel_thread(dir: &Path) -> bool {
    // /proc/PID/stat: the command in parentheses may hold anything; the flags are the seventh field behind it.
    let stat = fs::read(dir.join("stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
}

fn command_line(dir: &Path) -> io::Result<Vec<String>> {
    let bytes = fs::read(dir.join("cmdline"))?;
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    Ok(bytes.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect())
}

fn compat(dir: &Path) -> Option<bool> {
    let mut ident = [0; 5];
    io::Read::read_exact(&mut fs::File::open(dir.join("exe")).ok()?, &mut ident).ok()?;
    ident.starts_with(b"\x7fELF").then_some(ident[4] == ELFCLASS32)
}

/// File name of what is executed.
fn program(executable: Option<&Path>, arguments: &[String]) -> Option<String> {
    let name = executable
        .and_then(Path::file_name)
        .or_else(|| arguments.first().and_then(|program| Path::new(OsStr::new(program)).file_name()))?;
    Some(name.to_string_lossy().trim_end_matches(" (deleted)").to_owned())
}

/// Whether it is a JVM, and what it runs.
fn what_runs(executable: Option<&Path>, arguments: &[String], comm: &str) -> (bool, String) {
    let program = program(executable, arguments).unwrap_or_else(|| comm.to_owned());
    if program != "java" {
        return (false, program);
    }
    let command = match java_main(arguments) {
        Some(main) => arguments[main].rsplit('/').next().unwrap_or(&program).to_owned(),
        None => program,
    };
    (true, command)
}

#[cfg(test)]
mod tests;
