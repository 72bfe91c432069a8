//! Running other programs.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

/// The root of this checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Runs a command to its end; its output goes where ours does.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{command:?} could not be started"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Runs a command quietly; what it said is part of the error.
pub(crate) fn quietly(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} could not be started"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program is in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Installs those of Debian's packages that are missing.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|package| {
            let query = ["--show", "--showformat=${db:Status-Status}", package];
            !quietly(Command::new("dpkg-query").args(query)).is_ok_and(|status| status == "installed")
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
        quietly(command.env("DEBIAN_FRONTEND", "noninteractive")).map(drop)
    };
    install()
        .or_else(|_| {
            quietly(Command::new("apt-get").arg("update"))?;
            install()
        })
        .with_context(|| format!("the packages {missing:?} are needed: install them with your package manager"))
}
