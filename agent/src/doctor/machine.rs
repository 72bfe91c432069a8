//! What can be known of a machine and of this process's place in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Facts, none of them judged. Files are read below a root, so that other machines can be looked at in tests.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `uname -m` in Rust's words.
    pub architecture: String,
    /// `/proc/sys/kernel/osrelease`.
    pub release: String,
    /// [`crate::probe::VMLINUX`].
    pub btf: Found,
    /// `events/syscalls` of tracefs, at the first place that has it.
    pub tracefs: Found,
    /// `/sys/kernel/security/lockdown`, if it is there.
    pub lockdown: Option<String>,
    /// `CapEff` in `/proc/self/status`, a bit for each capability.
    pub capabilities: Option<u64>,
    /// `Seccomp` in `/proc/self/status`: 0 none, 2 a filter.
    pub seccomp: Option<u32>,
    /// Soft limit `Max locked memory` in `/proc/self/limits`; `None` inside: unlimited.
    pub locked_memory: Option<Option<u64>>,
    /// `/proc/sys/kernel/unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<u32>,
    /// `/proc/sys/net/core/bpf_jit_enable`.
    pub jit: Option<u32>,
    /// Inode of `/proc/self/ns/pid`.
    pub pid_namespace: Option<u64>,
    /// Where `/proc/self` leads.
    pub proc_self: Option<u32>,
    /// This process's PID, as the kernel tells it.
    pub own_pid: u32,
    /// What the `bpf` system call did when it was tried.
    pub bpf_call: BpfCall,
    /// This program's file, for the commands that mend.
    pub executable: PathBuf,
}

/// Whether a file can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there and can be read.
    Readable,
    /// It is there, or hidden, and this process may not read it.
    Denied,
    /// It is not there.
    Absent,
}

/// What a `bpf` call that makes a tiny map did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BpfCall {
    /// It worked.
    Works,
    /// It failed with this errno.
    Fails(i32),
}

impl Machine {
    /// Looks at the files below `root` (normally `/`) and at this process.
    #[must_use]
    pub fn gather(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let number = |path: &str| text(path)?.trim().parse().ok();
        let status = text("proc/self/status").unwrap_or_default();
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        Self {
            architecture: std::env::consts::ARCH.to_owned(),
            release: text("proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            btf: found(&root.join("sys/kernel/btf/vmlinux")),
            tracefs: tracefs(root),
            lockdown: text("sys/kernel/security/lockdown"),
            capabilities: field("CapEff").and_then(|bits| u64::from_str_radix(bits, 16).ok()),
            seccomp: field("Seccomp").and_then(|mode| mode.parse().ok()),
            locked_memory: text("proc/self/limits").as_deref().and_then(locked_memory),
            unprivileged_bpf_disabled: number("proc/sys/kernel/unprivileged_bpf_disabled"),
            jit: number("proc/sys/net/core/bpf_jit_enable"),
            pid_namespace: pid_namespace(root),
            proc_self: fs::read_link(root.join("proc/self")).ok().and_then(|to| to.to_str()?.parse().ok()),
            own_pid: std::process::id(),
            bpf_call: try_bpf(),
            executable: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("zctrace")),
        }
    }
}

fn found(path: &Path) -> Found {
    let result = if path.is_dir() { fs::read_dir(path).map(drop) } else { fs::File::open(path).map(drop) };
    match result {
        Ok(()) => Found::Readable,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Found::Denied,
        Err(_) => Found::Absent,
    }
}

fn tracefs(root: &Path) -> Found {
    let places = ["sys/kernel/tracing/events/syscalls", "sys/kernel/debug/tracing/events/syscalls"];
    let [first, second] = places.map(|place| found(&root.join(place)));
    // debugfs is closed to most users whether or not tracefs lies below it: only the first place's refusal says something.
    if first == Found::Readable || second == Found::Readable { Found::Readable } else { first }
}

/// `Max locked memory         8388608              8388608              bytes`
fn locked_memory(limits: &str) -> Option<Option<u64>> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(None),
        bytes => bytes.parse().ok().map(Some),
    }
}

/// `pid:[4026531836]`
fn pid_namespace(root: &Path) -> Option<u64> {
    let link = fs::read_link(root.join("proc/self/ns/pid")).ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

/// Makes an array map of one word, and lets it go again.
fn try_bpf() -> BpfCall {
    // union bpf_attr for BPF_MAP_CREATE: map_type (2: array), key_size, value_size, max_entries.
    const BPF_MAP_CREATE: libc::c_long = 0;
    let attributes: [u32; 32] = std::array::from_fn(|word| [2, 4, 8, 1].get(word).copied().unwrap_or(0));
    // SAFETY: the attributes are plain memory that outlives the call, and their size is given.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, attributes.as_ptr(), size_of_val(&attributes) as libc::c_long)
    };
    let Ok(fd) = i32::try_from(result) else { return BpfCall::Fails(libc::EIO) };
    if fd < 0 {
        return BpfCall::Fails(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
    }
    // SAFETY: a descriptor that was just made and that nothing else knows.
    unsafe { libc::close(fd) };
    BpfCall::Works
}
