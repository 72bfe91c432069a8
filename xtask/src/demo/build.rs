//! Building the programs of the demo.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::steps::Steps;

/// The programs of the demo, built for release.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub(super) zctrace: PathBuf,
    /// Only where it was asked for.
    pub(super) sendfile_server: Option<PathBuf>,
}

/// Builds zctrace, and the built-in server if it is needed. Cargo shows its own progress.
pub(super) fn release(steps: &Steps, with_server: bool) -> Result<Programs> {
    steps.say("Building zctrace (cargo build --release)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--package", "zctrace", "--bin", "zctrace"]);
    if with_server {
        command.args(["--package", "testkit", "--bin", "sendfile-server"]);
    }
    // Cargo alone knows where it puts a program (target directory, profile); its messages say it.
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let mut child = command.spawn().context("cannot run cargo")?;
    let mut programs = Programs::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            match program(&line.context("cannot read cargo's messages")?) {
                Some((name, path)) if name == "zctrace" => programs.zctrace = path,
                Some((name, path)) if name == "sendfile-server" => programs.sendfile_server = Some(path),
                _ => (),
            }
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("zctrace cannot be built: cargo ended with {status}; what it says above tells why");
    }
    if programs.zctrace.as_os_str().is_empty() {
        bail!("cargo built no program named zctrace");
    }
    Ok(programs)
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
