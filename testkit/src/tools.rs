//! Programs of the machine that a real broker needs.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A program that is looked up in `PATH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its file name.
    pub name: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
    /// Debian's package that brings it.
    pub package: &'static str,
}

/// Runs the broker and its clients.
pub const JAVA: Tool = Tool { name: "java", purpose: "runs the broker", package: "openjdk-17-jdk-headless" };
/// Compiles the load client.
pub const JAVAC: Tool = Tool { name: "javac", purpose: "compiles the load client", package: "openjdk-17-jdk-headless" };
/// Makes the keys of the SSL listener.
pub const KEYTOOL: Tool =
    Tool { name: "keytool", purpose: "makes the keys of the SSL listener", package: "openjdk-17-jdk-headless" };
/// Brings Kafka from Maven Central.
pub const MVN: Tool = Tool { name: "mvn", purpose: "brings Kafka from Maven Central", package: "maven" };

/// Programs that are not there, in one sentence with the command that brings them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub Vec<Tool>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut packages = Vec::new();
        for (index, tool) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}`{}` ({})", tool.name, tool.purpose)?;
            if !packages.contains(&tool.package) {
                packages.push(tool.package);
            }
        }
        let verb = if self.0.len() == 1 { "is" } else { "are" };
        write!(f, " {verb} not in PATH. On Debian or Ubuntu: apt-get install {}", packages.join(" "))
    }
}

impl std::error::Error for Missing {}

impl Tool {
    /// The program's path, or `None` where no folder of `PATH` has it.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        self.find_in(&std::env::var_os("PATH")?)
    }

    fn find_in(self, path: &OsStr) -> Option<PathBuf> {
        std::env::split_paths(path).map(|folder| folder.join(self.name)).find(|file| is_program(file))
    }
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Says which of the tools are missing.
///
/// # Errors
/// [`Missing`], with all of them at once.
pub fn require(tools: &[Tool]) -> Result<(), Missing> {
    let missing: Vec<Tool> = tools.iter().copied().filter(|tool| tool.find().is_none()).collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_a_file_that_can_run_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("java");
        assert_eq!(JAVA.find_in(folder.path().as_os_str()), None);
        std::fs::write(&file, "").unwrap();
        assert_eq!(JAVA.find_in(folder.path().as_os_str()), None, "not executable");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(JAVA.find_in(folder.path().as_os_str()), Some(file));
    }

    #[test]
    fn the_sentence_names_each_package_once() {
        assert_eq!(
            Missing(vec![JAVA, JAVAC, MVN]).to_string(),
            "`java` (runs the broker), `javac` (compiles the load client), `mvn` (brings Kafka from Maven Central) \
             are not in PATH. On Debian or Ubuntu: apt-get install openjdk-17-jdk-headless maven"
        );
    }
}
