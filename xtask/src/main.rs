//! `cargo xtask`: everything a contributor runs.

// What these commands print is their output.
#![allow(clippy::print_stdout)]

mod bpf;
mod command;
mod demo;
#[allow(dead_code)] // until `bench` uses it
mod stats;
mod test;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Everything a contributor to zctrace runs")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the eBPF object from source into agent-ebpf/prebuilt
    Bpf(bpf::Options),
    /// Put a real broker under load, and watch it with zctrace
    Demo(demo::Options),
    /// Run every test, the privileged and the real-broker ones included
    Test(test::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Bpf(options) => bpf::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
    }
}
