//! Programs for Node.js that lie in `xtask/grafana`, with packages from npm that are kept between runs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    cached,
    command::{find, install, quietly, root},
};

/// A folder with programs and the packages that they name; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Programs {
    folder: TempDir,
}

impl Programs {
    /// Those of `xtask/grafana/NAME`. Packages are installed where they are not in the cache.
    pub(crate) fn of(name: &str) -> Result<Self> {
        let source = root().join("xtask/grafana").join(name);
        let packages = packages(name, &source.join("package.json"))?;
        let folder = tempfile::tempdir()?;
        for file in std::fs::read_dir(&source)? {
            let file = file?;
            std::fs::copy(file.path(), folder.path().join(file.file_name()))?;
        }
        std::os::unix::fs::symlink(packages.join("node_modules"), folder.path().join("node_modules"))?;
        Ok(Self { folder })
    }

    /// A command that runs one of them.
    pub(crate) fn node(&self, program: &str) -> Command {
        let mut command = Command::new("node");
        command.current_dir(self.folder.path()).arg(program);
        command
    }
}

fn packages(name: &str, list: &Path) -> Result<PathBuf> {
    for (program, package) in [("node", "nodejs"), ("npm", "npm")] {
        if find(program).is_none() {
            install(&[package])?;
        }
    }
    let wanted = std::fs::read_to_string(list).with_context(|| format!("{} can't be read", list.display()))?;
    cached::ensure(&format!("npm-{name}"), &wanted, |dir| {
        std::fs::write(dir.join("package.json"), &wanted).context("the list of packages can't be written")?;
        let mut npm = Command::new("npm");
        // Packages that need a peer of another version are asked for as they are; scripts of packages are not run.
        npm.args(["install", "--no-audit", "--no-fund", "--legacy-peer-deps", "--ignore-scripts"]).current_dir(dir);
        quietly(&mut npm)?;
        Ok(())
    })
}
