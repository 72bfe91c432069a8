//! What runs inside the kernels: zctrace and its exactness tests, linked so that they need nothing else.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::Architecture;
use crate::command::{quietly, root};

/// Tests that run inside: `agent/tests/NAME.rs`.
pub(super) const TESTS: [&str; 4] = ["exact", "legs", "cache", "order"];

/// Paths of the built programs.
pub(super) struct Programs {
    pub(super) zctrace: PathBuf,
    /// As [`TESTS`].
    pub(super) tests: Vec<PathBuf>,
}

/// Builds them for an architecture; the same object for the kernel is in all of them.
pub(super) fn build(architecture: Architecture) -> anyhow::Result<Programs> {
    let target = architecture.target();
    if !quietly(Command::new("rustc").args(["--print", "target-libdir", "--target", target]))
        .is_ok_and(|dir| std::path::Path::new(dir.trim()).is_dir())
    {
        quietly(Command::new("rustup").args(["target", "add", target]))
            .with_context(|| format!("Rust's library for {target} is needed"))?;
    }
    let variable = target.to_uppercase().replace('-', "_");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root())
        .args(["test", "--no-run", "--locked", "--release", "--package", "zctrace", "--bin", "zctrace"])
        .args(TESTS.iter().flat_map(|test| ["--test", test]))
        .args(["--target", target, "--message-format=json-render-diagnostics"])
        .env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), "-Cstrip=symbols")
        .env(format!("CC_{}", target.replace('-', "_")), architecture.compiler())
        .stdout(Stdio::piped());
    if let Some(linker) = architecture.linker() {
        command.env(format!("CARGO_TARGET_{variable}_LINKER"), linker);
    }
    let mut child = command.spawn().context("cannot run cargo")?;
    let mut built = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            built.extend(program(&line.context("cannot read cargo's messages")?));
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("the programs for {target} cannot be built: cargo ended with {status}");
    }
    let find = |name: &str, is_test: bool| {
        let is_it = |built: &&Built| built.name == name && built.is_test == is_test;
        built.iter().find(is_it).map(|built| built.path.clone()).with_context(|| format!("cargo built no {name}"))
    };
    Ok(Programs {
        zctrace: find("zctrace", false)?,
        tests: TESTS.iter().map(|test| find(test, true)).collect::<Result<_, _>>()?,
    })
}

struct Built {
    name: String,
    path: PathBuf,
    is_test: bool,
}

/// The program that one of cargo's messages announces.
fn program(message: &str) -> Option<Built> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    Some(Built {
        path: message.get("executable")?.as_str()?.into(),
        name: message.pointer("/target/name")?.as_str()?.to_owned(),
        is_test: message.pointer("/profile/test")?.as_bool()?,
    })
}
