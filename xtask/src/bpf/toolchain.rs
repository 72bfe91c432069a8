//! A Rust compiler that can build for the kernel, and its linker. Two sources:
//!
//! 1. Debian's `rustc-web` packages, unpacked into the cache (nothing is installed), and `bpf-linker` built against
//!    their LLVM. The committed object comes from this one: its versions are Debian's, so everybody gets the same.
//! 2. rustup's nightly with `rust-src`, and a `bpf-linker` in `PATH`. Its object is as good, but not the same bytes.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::{
    cached,
    command::{find as find_program, quietly},
};

const PACKAGES: [&str; 5] = ["rustc-web", "libstd-rust-web-1.96", "libstd-rust-web-dev", "rust-web-src", "libllvm22"];
const LLVM: &str = "22";
const LINKER: &str = "0.13.0";
/// Where Debian keeps libraries; the packages exist for others too, but the committed object is built on this one.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// A compiler and a linker.
pub(super) struct Toolchain {
    rustc: PathBuf,
    /// Folder of `bpf-linker`.
    bin: PathBuf,
    /// Versions, a line each.
    pub(super) description: String,
}

impl Toolchain {
    fn new(rustc: PathBuf, bin: PathBuf) -> anyhow::Result<Self> {
        let version = quietly(Command::new(&rustc).args(["--version", "--verbose"]))?;
        let llvm = version.lines().find(|line| line.starts_with("LLVM")).unwrap_or_default();
        let linker = quietly(Command::new(bin.join("bpf-linker")).arg("--version"))?;
        let rustc_version = version.lines().next().unwrap_or_default();
        let description = format!("{rustc_version}\n{llvm}\n{}\n", linker.trim());
        Ok(Self { rustc, bin, description })
    }

    /// Makes cargo use it.
    pub(super) fn apply(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(self.bin.clone()).chain(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(paths) {
            command.env("PATH", path);
        }
        // rustc-web is a stable compiler; building `core` takes unstable options.
        command.env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
    }

    pub(super) fn sysroot(&self) -> anyhow::Result<PathBuf> {
        Ok(quietly(Command::new(&self.rustc).args(["--print", "sysroot"]))?.trim().into())
    }
}

/// The first of the two sources that this machine has.
pub(super) fn find() -> anyhow::Result<Toolchain> {
    let debian = find_program("apt-get").is_some() && find_program("dpkg-deb").is_some();
    let reason = if debian {
        match from_debian() {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => format!("Debian's packages could not be had: {error:#}"),
        }
    } else {
        "this is no Debian".to_owned()
    };
    match from_rustup() {
        Ok(toolchain) => Ok(toolchain),
        Err(error) => bail!(
            "no compiler for eBPF: {reason}; and {error:#}. Either works: Debian 12 with its security archive, or \
             `rustup toolchain install nightly --component rust-src && cargo install bpf-linker`"
        ),
    }
}

fn from_rustup() -> anyhow::Result<Toolchain> {
    let rustc = quietly(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]))
        .context("rustup has no nightly")?;
    let rustc = PathBuf::from(rustc.trim());
    let sysroot = quietly(Command::new(&rustc).args(["--print", "sysroot"]))?;
    if !Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir() {
        bail!("rustup's nightly lacks the component rust-src");
    }
    let linker = find_program("bpf-linker").context("bpf-linker is not in PATH")?;
    Toolchain::new(rustc, linker.parent().unwrap_or(Path::new("/")).to_owned())
}

fn from_debian() -> anyhow::Result<Toolchain> {
    let versions = candidate_versions()?;
    let recipe = format!("{versions}bpf-linker {LINKER}");
    let dir = cached::ensure("bpf-toolchain", &recipe, unpack)?;
    Toolchain::new(dir.join("bin/rustc"), dir.join("bin"))
}

/// What apt would bring, a line for each package.
fn candidate_versions() -> anyhow::Result<String> {
    let candidates = || -> anyhow::Result<String> {
        let mut lines = String::new();
        for package in PACKAGES {
            let policy = quietly(Command::new("apt-cache").args(["policy", package]))?;
            let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
            let candidate = candidate.filter(|version| *version != "(none)");
            let version = candidate.with_context(|| format!("apt knows no package {package}"))?;
            lines.push_str(&format!("{package} {version}\n"));
        }
        Ok(lines)
    };
    candidates().or_else(|_| {
        quietly(Command::new("apt-get").arg("update"))?;
        candidates()
    })
}

/// Unpacks the packages into `dir`, without installing them, and builds the linker against their LLVM.
fn unpack(dir: &Path) -> anyhow::Result<()> {
    println!("bringing the compiler for eBPF (about a minute and a half, once)");
    let (debs, root, llvm, bin) = (dir.join("debs"), dir.join("root"), dir.join("llvm/lib"), dir.join("bin"));
    for folder in [&debs, &root, &llvm, &bin] {
        fs::create_dir_all(folder)?;
    }
    quietly(Command::new("apt-get").current_dir(&debs).arg("download").args(PACKAGES))?;
    for deb in fs::read_dir(&debs)? {
        quietly(Command::new("dpkg-deb").arg("-x").arg(deb?.path()).arg(&root))?;
    }
    fs::remove_dir_all(&debs)?;
    let libraries = root.join(LIBRARIES);
    for link in ["libLLVM.so".to_owned(), format!("libLLVM.so.{LLVM}.1")] {
        symlink(libraries.join(format!("libLLVM.so.{LLVM}.1")), llvm.join(link))?;
    }
    let usr = root.join("usr");
    let rustc = bin.join("rustc");
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={} exec {}/bin/rustc --sysroot {} \"$@\"\n",
        libraries.display(),
        usr.display(),
        usr.display()
    );
    fs::write(&rustc, script)?;
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755))?;
    let mut install = Command::new("cargo");
    install
        .args(["install", "bpf-linker", "--locked", "--version", LINKER, "--no-default-features", "--features"])
        .arg(format!("llvm-{LLVM}"))
        .arg("--root")
        .arg(dir)
        .arg("--target-dir")
        .arg(dir.join("build"))
        .env("LLVM_PREFIX", dir.join("llvm"));
    quietly(&mut install).context("bpf-linker could not be built")?;
    fs::remove_dir_all(dir.join("build"))?;
    Ok(())
}
