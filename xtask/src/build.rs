//! Building programs of this workspace.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::command::root;

/// Builds programs, each named by its package and its name, with these features; returns their paths by name. Cargo
/// shows its own progress.
pub(crate) fn release(programs: &[(&str, &str)], features: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    build(&["--release"], programs, features)
}

/// The same as tests build them: they are there already, where speed is not the question.
pub(crate) fn debug(programs: &[(&str, &str)]) -> Result<BTreeMap<String, PathBuf>> {
    build(&[], programs, &[])
}

fn build(profile: &[&str], programs: &[(&str, &str)], features: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg("build").args(profile);
    for (package, name) in programs {
        command.args(["--package", package, "--bin", name]);
    }
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    // Cargo alone knows where it puts a program (target directory, profile); its messages say it.
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    command.current_dir(root());
    let mut child = command.spawn().context("cannot run cargo")?;
    let mut paths = BTreeMap::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            paths.extend(program(&line.context("cannot read cargo's messages")?));
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("the programs cannot be built: cargo ended with {status}; what it says above tells why");
    }
    for (_, name) in programs {
        if !paths.contains_key(*name) {
            bail!("cargo built no program named {name}");
        }
    }
    Ok(paths)
}

/// Builds an example program of a package for release; returns its path.
pub(crate) fn example(package: &str, name: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--package", package, "--example", name]);
    command.arg("--message-format=json-render-diagnostics").current_dir(root()).stderr(Stdio::inherit());
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the example {name} cannot be built: cargo ended with {}", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let built = messages.lines().filter_map(program).find(|(built, _)| built == name);
    built.map(|(_, path)| path).with_context(|| format!("cargo built no example named {name}"))
}

/// Name and path of the program that one of cargo's messages announces.
fn program(message: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    Some((message.pointer("/target/name")?.as_str()?.to_owned(), path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_program() {
        let message =
            r#"{"reason":"compiler-artifact","target":{"name":"zctrace","kind":["bin"]},"executable":"/t/zctrace"}"#;
        assert_eq!(program(message), Some(("zctrace".to_owned(), "/t/zctrace".into())));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"zctrace"},"executable":null}"#;
        assert_eq!(program(library), None);
        assert_eq!(program("no JSON"), None);
    }
}
