//! The steps of `cargo xtask test`, in their order.

use std::{path::Path, process::Command};

use anyhow::Context;

use super::{
    dashboards,
    tally::{Tally, cargo_test},
};
use crate::{
    bench, bpf, cached,
    command::{install, quietly, root, run},
    kernels,
};

/// Debian's packages that tests use: kcat is a client of old, strace counts beside zctrace, setpriv and unshare (util-linux) make bad days,
/// Prometheus scrapes (and its promtool checks metrics), faketime sets a process's clock, file systems are made beside the
/// machine's own.
const PACKAGES: [&str; 8] =
    ["kcat", "strace", "util-linux", "prometheus", "faketime", "e2fsprogs", "xfsprogs", "btrfs-progs"];
const TRACEFS: &str = "/sys/kernel/tracing";
const CARGO_DENY: &str = "0.20.2";

/// A step; its error counts as one failed test.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) run: fn() -> anyhow::Result<Tally>,
}

pub(super) fn steps(quick: bool) -> Vec<Step> {
    let step = |name, run| Step { name, run };
    if quick {
        return vec![step("format", format), step("lints", lints), step("unit tests", unit_tests)];
    }
    vec![
        step("what the tests need", needs),
        step("format", format),
        step("lints", lints),
        step("the committed eBPF object is what its source gives", object),
        step("tests", tests),
        step("exactness inside one of Debian's kernels", inside_a_kernel),
        step("rules and alerts, by promtool", dashboards::rules),
        step("dashboards by Grafana's types, compose by its schema", dashboards::types),
        step("dashboards on bad days, by Prometheus", dashboards::bad_days),
        step("dashboards on a real broker, by Prometheus", dashboards::chain),
        step("benchmarks of a broker and of scale, in short", benchmarks),
        step("documentation", documentation),
        step("licences and sources of dependencies", licences),
    ]
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root()).args(arguments);
    command
}

fn needs() -> anyhow::Result<Tally> {
    install(&PACKAGES)?;
    if !Path::new(TRACEFS).join("events").is_dir() {
        quietly(Command::new("mount").args(["-t", "tracefs", "none", TRACEFS]))
            .context("the leg `tracepoint` needs tracefs")?;
    }
    Ok(Tally::ONE)
}

fn format() -> anyhow::Result<Tally> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    Ok(Tally::ONE)
}

fn lints() -> anyhow::Result<Tally> {
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    Ok(Tally::ONE)
}

fn object() -> anyhow::Result<Tally> {
    bpf::run(&bpf::Options { check: true })?;
    Ok(Tally::ONE)
}

fn unit_tests() -> anyhow::Result<Tally> {
    cargo_test(&mut cargo(&["test", "--workspace", "--locked", "--lib", "--bins", "--no-fail-fast"]))
}

fn tests() -> anyhow::Result<Tally> {
    cargo_test(&mut cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]))
}

fn inside_a_kernel() -> anyhow::Result<Tally> {
    let (passed, failed) = kernels::fast()?;
    Ok(Tally { passed, failed })
}

fn benchmarks() -> anyhow::Result<Tally> {
    bench::smoke()?;
    Ok(Tally::ONE)
}

fn documentation() -> anyhow::Result<Tally> {
    run(cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Tally::ONE)
}

/// Advisories are not checked: their database is a repository that can't be reached from everywhere tests run.
fn licences() -> anyhow::Result<Tally> {
    let dir = cached::ensure("cargo-deny", CARGO_DENY, |dir| {
        let mut install = cargo(&["install", "cargo-deny", "--locked", "--version", CARGO_DENY, "--root"]);
        install.arg(dir).arg("--target-dir").arg(dir.join("build"));
        quietly(&mut install)?;
        std::fs::remove_dir_all(dir.join("build")).context("the build of cargo-deny could not be removed")?;
        Ok(())
    })?;
    // Those of other platforms, too: their licences count, and cargo-deny is not to look for them itself.
    run(&mut cargo(&["fetch", "--locked"]))?;
    let mut deny = Command::new(dir.join("bin/cargo-deny"));
    run(deny.current_dir(root()).args(["--offline", "--workspace", "check", "licenses", "bans", "sources"]))?;
    println!(
        "advisories were not checked: their database is not reachable here (`cargo deny check advisories` does it)"
    );
    Ok(Tally::ONE)
}
