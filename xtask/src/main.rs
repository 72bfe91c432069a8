//! `cargo xtask`: everything a contributor runs.

// What these commands print is their output.
#![allow(clippy::print_stdout)]

mod bench;
mod bpf;
mod build;
mod cached;
mod command;
mod dashboards;
mod demo;
mod experiment;
mod kernels;
mod node;
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
    /// Measure what zctrace costs, and compare with the last time
    Bench(bench::Options),
    /// Build the eBPF object from source into agent-ebpf/prebuilt
    Bpf(bpf::Options),
    /// Write Grafana's dashboards, or compare them with the committed ones
    Dashboards(dashboards::Options),
    /// Put a real broker under load, and watch it with zctrace
    Demo(demo::Options),
    /// TLS or zero copy: what each costs a real broker, by experiment and by zctrace
    Experiment(experiment::Options),
    /// Draw the dashboards on a real broker, for the documentation and to be looked at
    Screenshots(dashboards::screenshots::Options),
    /// Run the exactness tests inside real kernels under QEMU
    Kernels(kernels::Options),
    /// Run every test, the privileged and the real-broker ones included
    Test(test::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Bench(options) => bench::run(&options),
        Command::Bpf(options) => bpf::run(&options),
        Command::Dashboards(options) => dashboards::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Experiment(options) => experiment::run(&options),
        Command::Screenshots(options) => dashboards::screenshots::run_screenshots(&options),
        Command::Kernels(options) => kernels::run(&options),
        Command::Test(options) => test::run(&options),
    }
}
