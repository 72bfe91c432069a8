//! `cargo xtask bpf`: from agent-ebpf to agent-ebpf/prebuilt/zctrace.bpf.o, the same bytes wherever it is built.

mod strip;
mod toolchain;

use std::{fs, path::Path, process::Command};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use toolchain::Toolchain;

use crate::command::root;

const OBJECT: &str = "agent-ebpf/prebuilt/zctrace.bpf.o";
const RECORD: &str = "agent-ebpf/prebuilt/BUILD.txt";
const TARGET: &str = "bpfel-unknown-none";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Build aside and compare with the committed object
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let toolchain = toolchain::find()?;
    let object = build(&toolchain)?;
    let record = record(&toolchain, &object);
    let (object_path, record_path) = (root().join(OBJECT), root().join(RECORD));
    if !options.check {
        fs::write(&object_path, &object).with_context(|| format!("{OBJECT} could not be written"))?;
        fs::write(&record_path, &record).with_context(|| format!("{RECORD} could not be written"))?;
        println!("{OBJECT}: {} bytes\n{record}", object.len());
        return Ok(());
    }
    let committed = fs::read(&object_path).with_context(|| format!("{OBJECT} could not be read"))?;
    if committed == object {
        println!("{OBJECT} is what the source gives: {} bytes", object.len());
        return Ok(());
    }
    let built_by = fs::read_to_string(&record_path).unwrap_or_default();
    bail!(
        "{OBJECT} is not what the source gives. Run `cargo xtask bpf` and commit what it writes.\n\
         committed:\n{built_by}\nbuilt now:\n{record}"
    )
}

/// Builds the object and removes from it what the kernel does not load.
fn build(toolchain: &Toolchain) -> anyhow::Result<Vec<u8>> {
    let target_dir = root().join("target/bpf");
    let mut command = Command::new("cargo");
    command
        .current_dir(root().join("agent-ebpf"))
        .args(["build", "--locked", "--release", "--features", "program", "--bin", "zctrace-bpf"])
        .args(["-Z", "build-std=core", "--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain)?.join("\x1f"));
    toolchain.apply(&mut command);
    crate::command::run(&mut command).context("the eBPF program could not be built")?;
    let built = target_dir.join(TARGET).join("release/zctrace-bpf");
    let built = fs::read(&built).with_context(|| format!("{} could not be read", built.display()))?;
    strip::strip(&built)
}

/// No path of this machine may be in the object, so that everybody's is the same.
fn flags(toolchain: &Toolchain) -> anyhow::Result<Vec<String>> {
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok(vec![
        "-Clink-arg=--btf".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        remap(root(), "/zctrace"),
        remap(Path::new(&cargo_home), "/cargo"),
        remap(&toolchain.sysroot()?, "/rust"),
    ])
}

fn record(toolchain: &Toolchain, object: &[u8]) -> String {
    let sum: String = Sha256::digest(object).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}sha256 {sum}\n", toolchain.description)
}
