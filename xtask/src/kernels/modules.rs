//! Modules of a kernel that tests need, out of its package.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::command::quietly;

/// Loop devices, which stand for disks (ext4 is in the image), and kernel TLS with AES-GCM, all in software. What a kernel has
/// built in, or under another name, is no module of it.
pub(super) const WANTED: [&str; 6] = ["loop", "aes_generic", "ctr", "ghash_generic", "gcm", "tls"];

/// Copies the wanted modules and those that they need into the folder `into`, unpacked, each behind what it needs.
pub(super) fn pick(package: &Path, into: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(into)?;
    let found = quietly(Command::new("find").arg(package).args(["-type", "f", "-name", "*.ko*"]))?;
    let all: BTreeMap<String, PathBuf> =
        found.lines().map(PathBuf::from).filter_map(|path| Some((name(&path)?, path))).collect();
    let mut order = Vec::new();
    for module in WANTED {
        add(module, &all, &mut order)?;
    }
    for (number, (module, content)) in order.iter().enumerate() {
        fs::write(into.join(format!("{number:02}-{module}.ko")), content)?;
    }
    Ok(())
}

/// Adds a module, if there is such a one, behind those that it needs.
fn add(module: &str, all: &BTreeMap<String, PathBuf>, order: &mut Vec<(String, Vec<u8>)>) -> anyhow::Result<()> {
    let Some(path) = all.get(module).filter(|_| order.iter().all(|(known, _)| known != module)) else { return Ok(()) };
    let content = read(path)?;
    for needed in needs(&content) {
        add(&needed, all, order)?;
    }
    order.push((module.to_owned(), content));
    Ok(())
}

/// `crypto/ghash-generic.ko.xz` is the module `ghash_generic`.
fn name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.split_once(".ko")?.0.replace('-', "_"))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    match path.extension().and_then(|kind| kind.to_str()) {
        Some("ko") => fs::read(path).with_context(|| format!("{} can't be read", path.display())),
        Some("xz") => {
            let output = Command::new("xz").arg("-dc").arg(path).output().context("xz could not be run")?;
            if !output.status.success() {
                bail!("{} can't be unpacked: {}", path.display(), String::from_utf8_lossy(&output.stderr).trim());
            }
            Ok(output.stdout)
        }
        _ => bail!("{} is packed in a way that is not known here", path.display()),
    }
}

/// The modules that this one needs: `depends=gf128mul,aead` between zeros in its section `.modinfo`.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|part| part == KEY) else { return Vec::new() };
    let list = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(list);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn modules_come_behind_those_that_they_need() {
        let (package, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let module = |name: &str, needs: &str| {
            fs::write(package.path().join(name), format!("ELF\0license=GPL\0depends={needs}\0name=x\0")).unwrap();
        };
        module("ghash-generic.ko", "gf128mul");
        module("gf128mul.ko", "");
        module("gcm.ko", "crypto-null,gf128mul");
        module("crypto_null.ko", "");
        module("tls.ko", "");
        module("loop.ko", "");
        module("bnxt.ko", "tls");
        pick(package.path(), into.path()).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(into.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let expected =
            ["00-loop.ko", "01-gf128mul.ko", "02-ghash_generic.ko", "03-crypto_null.ko", "04-gcm.ko", "05-tls.ko"];
        assert_eq!(names, expected);
    }

    #[test]
    fn packed_modules_are_unpacked() {
        let package = tempfile::tempdir().unwrap();
        let path = package.path().join("tls.ko");
        fs::write(&path, "\0depends=\0").unwrap();
        quietly(Command::new("xz").arg(&path)).unwrap();
        assert_eq!(read(&package.path().join("tls.ko.xz")).unwrap(), b"\0depends=\0");
    }
}
