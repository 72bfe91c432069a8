//! What the privileged tests share: the built `zctrace`, processes to watch, and a look at what is loaded in the
//! kernel.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // each test file uses a part

pub mod service;
pub mod volume;

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use zctrace::probe::{Capacity, Leg, LegChoice, Probe};

/// The built binary.
pub const ZCTRACE: &str = env!("CARGO_BIN_EXE_zctrace");

/// The binary to run: `ZCTRACE_EXE` where a test program runs on another machine than the one that built it, as in the
/// kernels that `cargo xtask kernels` boots.
pub fn executable() -> PathBuf {
    std::env::var_os("ZCTRACE_EXE").map_or_else(|| ZCTRACE.into(), Into::into)
}

/// The legs that `ZCTRACE_TEST_LEGS` names (`raw,fexit`), if it is set.
pub fn named_legs() -> Option<Vec<LegChoice>> {
    let names = std::env::var("ZCTRACE_TEST_LEGS").ok()?;
    let find = |name: &str| Leg::ALL.into_iter().find(|leg| leg.name() == name);
    Some(names.split(',').map(|name| find(name).unwrap_or_else(|| panic!("no leg {name}")).choice()).collect())
}

/// Those, or else the ones that this kernel allows.
pub fn legs() -> Vec<LegChoice> {
    let allowed = |leg: &LegChoice| Probe::attach(*leg, Capacity::default()).is_ok();
    named_legs().unwrap_or_else(|| Leg::ALL.into_iter().map(Leg::choice).filter(allowed).collect())
}

/// Longest time that anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// From here on a call fails with `errno` for this thread and for what it starts: by a seccomp filter.
pub fn refuse(call: libc::c_long, errno: i32) -> std::io::Result<()> {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k };
    let number = u32::try_from(call).unwrap_or(u32::MAX);
    let errno = errno.unsigned_abs();
    let mut filter = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: the filter outlives the call, which copies it.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// A process that is killed when it goes out of scope.
pub struct Running(pub Child);

impl Running {
    /// Starts it without input and output.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} could not be started: {error}"));
        Self(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(i32::try_from(self.pid()).unwrap(), signal) };
    }

    /// Waits for its end; fails the test after [`PATIENCE`].
    pub fn end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "process {} does not end", self.pid());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that copies zeros to nowhere as fast as it can: `read` from and `write` to devices.
pub fn busy() -> Running {
    Running::start("dd", &["if=/dev/zero", "of=/dev/null", "bs=4096"])
}

/// Runs `zctrace` to its end.
pub fn zctrace(arguments: &[&str]) -> Output {
    Command::new(ZCTRACE).args(arguments).stdin(Stdio::null()).output().expect("zctrace starts")
}

/// `zctrace`, attached and watching.
pub struct Watching {
    pub process: Running,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Watching {
    /// Starts it and waits until it says that it watches.
    pub fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("zctrace starts");
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut watching = Self { process: Running(child), stderr };
        let mut line = String::new();
        let mut said = String::new();
        while !line.to_lowercase().contains("watching") {
            line.clear();
            let read = watching.stderr.read_line(&mut line).unwrap();
            said.push_str(&line);
            assert!(read > 0, "zctrace ended before it watched: {said}");
        }
        watching
    }

    /// Waits for its end: exit status, standard output, the rest of standard error.
    pub fn finish(mut self) -> (Option<i32>, String, String) {
        let mut out = String::new();
        self.process.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let mut err = String::new();
        self.stderr.read_to_string(&mut err).unwrap();
        (self.process.end().code(), out, err)
    }
}

/// Names of zctrace's programs that are loaded in the kernel now.
pub fn loaded_programs() -> Vec<String> {
    aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .filter_map(|program| program.name_as_str().map(str::to_owned))
        .filter(|name| {
            ["raw_sys_", "tracepoint_sys_", "fexit_", "fentry_", "folio_added", "resolve_target"]
                .iter()
                .any(|ours| name.starts_with(ours))
        })
        .collect()
}

/// Waits until none of zctrace's programs is loaded: the kernel frees them a moment after their last user has gone.
pub fn assert_nothing_left() {
    let started = Instant::now();
    loop {
        let left = loaded_programs();
        if left.is_empty() {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "still loaded in the kernel: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tests that load programs run one at a time, so that [`loaded_programs`] means the test's own.
pub fn alone() -> std::fs::File {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests load programs into the kernel: run them by `cargo xtask test` as root (or only the others: \
         `cargo xtask test --quick`)"
    );
    let path = std::env::temp_dir().join("zctrace-tests.lock");
    let file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    file.lock().unwrap();
    file
}

/// Whether a tool that a test needs is there; fails the test otherwise.
pub fn need(tool: &str) {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| Path::new(&dir).join(tool).exists()));
    assert!(found, "the test needs `{tool}`: `cargo xtask test` installs it");
}
