//! Debian's kernels, without changing the machine's own configuration of apt: a source list, lists and a status file of
//! our own, and the mirrors that the machine already uses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::{Architecture, modules};
use crate::{cached, command::quietly};

/// A series of kernels, and where Debian has it.
pub(super) struct Series {
    /// `5.10`, or `newest`.
    pub(super) name: &'static str,
    /// What its packages' versions begin with, as a regular expression.
    version: &'static str,
    /// Suites, the security archive's end in `-security`.
    suites: &'static [&'static str],
}

/// Those that brokers run on. `newest` is whatever the backports of the stable release have.
pub(super) const SERIES: [Series; 4] = [
    Series { name: "5.10", version: r"5\.10\.", suites: &["bullseye-security"] },
    Series { name: "6.1", version: r"6\.1\.0-", suites: &["bookworm-security"] },
    Series { name: "6.12", version: r"6\.12\.", suites: &["trixie", "trixie-security"] },
    Series { name: "newest", version: "[0-9]", suites: &["trixie-backports"] },
];

/// A kernel that can be booted.
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    /// A folder with [`modules::WANTED`] and what they need, in the order of their names.
    pub(super) modules: PathBuf,
}

/// The newest kernel of a series that can be had, from the cache if one is there.
pub(super) fn kernel(series: &Series, architecture: Architecture) -> anyhow::Result<Kernel> {
    let recipe = format!("{} for {}, with {}", series.name, architecture.debian(), modules::WANTED.join(" "));
    let name = format!("kernel-{}-{}", series.name, architecture.debian());
    let dir = cached::ensure(&name, &recipe, |dir| {
        println!("bringing Debian's kernel {} ({})", series.name, architecture.debian());
        download(series, architecture, dir)
    })
    .with_context(|| format!("no kernel of the series {} could be had", series.name))?;
    Ok(Kernel { image: dir.join("vmlinuz"), modules: dir.join("modules") })
}

fn download(series: &Series, architecture: Architecture, dir: &Path) -> anyhow::Result<()> {
    let apt = Apt::new(&dir.join("apt"), series.suites, architecture)?;
    let candidates = apt.candidates(series, architecture)?;
    for package in &candidates {
        let unpacked = dir.join("unpacked");
        // An index may name a package that is gone, and from 6.19 on `linux-image` is empty: then the next one.
        if apt.unpack(package, &unpacked).is_err() {
            continue;
        }
        let image = find(&unpacked, "vmlinuz*")?;
        if let Some(image) = &image {
            fs::copy(image, dir.join("vmlinuz"))?;
            fs::write(dir.join("package"), package)?;
            take_modules(&apt, package, &unpacked, &dir.join("modules"))?;
        }
        fs::remove_dir_all(&unpacked)?;
        if image.is_some() {
            fs::remove_dir_all(dir.join("apt"))?;
            return Ok(());
        }
    }
    bail!("of Debian's packages {candidates:?} none could be brought")
}

/// Takes the modules of this package, or of the one that has the modules of a kernel from 6.19 on.
fn take_modules(apt: &Apt, package: &str, unpacked: &Path, into: &Path) -> anyhow::Result<()> {
    if find(unpacked, "loop.ko*")?.is_none() {
        apt.unpack(&package.replace("linux-binary-", "linux-modules-"), unpacked)?;
        find(unpacked, "loop.ko*")?.with_context(|| format!("{package} has no module loop"))?;
    }
    modules::pick(unpacked, into)
}

/// A static busybox for this architecture.
pub(super) fn busybox(architecture: Architecture) -> anyhow::Result<PathBuf> {
    let name = format!("busybox-{}", architecture.debian());
    let dir = cached::ensure(&name, "bookworm", |dir| {
        let apt = Apt::new(&dir.join("apt"), &["bookworm"], architecture)?;
        apt.unpack("busybox-static", &dir.join("unpacked"))?;
        let file = find(&dir.join("unpacked"), "busybox")?.context("the package has no busybox")?;
        fs::copy(file, dir.join("busybox")).context("busybox can't be copied")?;
        fs::remove_dir_all(dir.join("apt")).context("apt's folder can't be removed")?;
        Ok(())
    })
    .context("Debian's package busybox-static could not be had")?;
    Ok(dir.join("busybox"))
}

/// A file somewhere in a folder: kernels lie in `boot/vmlinuz-VERSION` or `usr/lib/modules/VERSION/vmlinuz`.
fn find(folder: &Path, name: &str) -> anyhow::Result<Option<PathBuf>> {
    let found = quietly(Command::new("find").arg(folder).args(["-type", "f", "-name", name, "-size", "+8k"]))?;
    Ok(found.lines().next().map(PathBuf::from))
}

/// apt with folders of its own.
struct Apt {
    options: Vec<String>,
    downloads: PathBuf,
}

impl Apt {
    fn new(dir: &Path, suites: &[&str], architecture: Architecture) -> anyhow::Result<Self> {
        for folder in ["lists/partial", "cache/archives/partial", "downloads"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let sites =
            quietly(Command::new("apt-get").args(["indextargets", "--format", "$(SITE)", "Created-By: Packages"]))?;
        let list: String = suites
            .iter()
            .map(|suite| Ok(format!("deb [arch={}] {} {suite} main\n", architecture.debian(), site(&sites, suite)?)))
            .collect::<anyhow::Result<_>>()?;
        fs::write(dir.join("sources.list"), list)?;
        fs::write(dir.join("status"), "")?;
        let path = |name: &str| dir.join(name).display().to_string();
        let options = [
            format!("Dir::Etc::sourcelist={}", path("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={}", path("lists")),
            format!("Dir::State::status={}", path("status")),
            format!("Dir::Cache={}", path("cache")),
            format!("APT::Architecture={}", architecture.debian()),
            format!("APT::Architectures={}", architecture.debian()),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ];
        let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect();
        let apt = Self { options, downloads: dir.join("downloads") };
        quietly(&mut apt.command("apt-get", &["update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).args(arguments).current_dir(&self.downloads);
        command
    }

    /// Names of packages, newest first.
    fn candidates(&self, series: &Series, architecture: Architecture) -> anyhow::Result<Vec<String>> {
        let pattern = format!("^linux-(image|binary)-{}.*-cloud-{}$", series.version, architecture.debian());
        let found = quietly(&mut self.command("apt-cache", &["search", "--names-only", &pattern]))?;
        let mut names: Vec<String> =
            found.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        names.sort_by_key(|name| (numbers(name), name.starts_with("linux-binary")));
        names.reverse();
        Ok(names)
    }

    fn unpack(&self, package: &str, into: &Path) -> anyhow::Result<()> {
        quietly(&mut self.command("apt-get", &["download", package]))?;
        for deb in fs::read_dir(&self.downloads)? {
            let deb = deb?.path();
            quietly(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(into))?;
            fs::remove_file(&deb)?;
        }
        Ok(())
    }
}

/// The mirror that the machine uses for such a suite.
fn site(sites: &str, suite: &str) -> anyhow::Result<String> {
    let wanted = if suite.ends_with("-security") { "/debian-security" } else { "/debian" };
    let site = sites.lines().map(|line| line.trim_end_matches('/')).find(|line| line.ends_with(wanted));
    site.map(str::to_owned).with_context(|| format!("apt has no mirror of Debian for the suite {suite}"))
}

/// The numbers in a package's name, which order kernels as their versions do.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kernels_are_ordered_by_their_numbers() {
        let (old, new) = ("linux-image-6.12.96+deb13-cloud-amd64", "linux-image-6.12.118+deb13-cloud-amd64");
        assert!(numbers(old) < numbers(new));
        assert!(numbers("linux-image-5.10.0-9-cloud-amd64") < numbers("linux-image-5.10.0-46-cloud-amd64"));
    }

    #[test]
    fn suites_come_from_the_mirrors_in_use() {
        let sites = "http://mirror/debian\nhttp://mirror/debian\nhttp://other/debian-security/\n";
        assert_eq!(site(sites, "trixie-backports").unwrap(), "http://mirror/debian");
        assert_eq!(site(sites, "bullseye-security").unwrap(), "http://other/debian-security");
        assert!(site("", "trixie").is_err());
    }
}
