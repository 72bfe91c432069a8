//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use regex::Regex;

use crate::probe::LegChoice;

/// How much of what a running Kafka broker sends leaves by zero copy, how much is copied, and on which listener.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Exit status: 0 done; 1 something failed; 2 wrong usage; 3 the process can't be watched (there is none, \
                  it is a kernel thread, or zctrace itself); 4 a privilege is missing; 5 the kernel lacks something; 6 \
                  the process ended before the time was over (its numbers until then are printed). `zctrace doctor` \
                  tells what is missing and how to mend it."
)]
pub struct Cli {
    /// What to do, if not watch one process.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to watch.
    #[command(flatten)]
    pub watch: Watch,
}

/// Commands beside the watch.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell what this machine allows and what is missing, and test that every byte is counted
    Doctor(Doctor),
    /// Export metrics of every Kafka broker of this host for Prometheus
    Serve(Box<Serve>),
    /// Make known system calls, for tests and for `doctor`.
    #[command(hide = true)]
    Exercise(Exercise),
}

/// `zctrace --pid`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Process to watch, as this machine's (or container's) /proc shows it
    #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// How long to watch, such as 10s or 5m; without it, until Ctrl-C
    #[arg(long, short, value_parser = duration)]
    pub duration: Option<Duration>,
    /// What to print
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
    /// Exact byte counts in the tables
    #[arg(long)]
    pub bytes: bool,
    /// Every topic-partition and file in the tables, not only the largest
    #[arg(long)]
    pub all: bool,
    /// Measure how long calls take, too, by hooks at their entry: a counted call then pays about twice what it pays without,
    /// and by the leg `raw` every system call of the host pays for the second hook
    #[arg(long)]
    pub latency: bool,
    /// With --latency: a call that takes so long is slow
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10ms", requires = "latency")]
    pub slow: Duration,
    /// Tell clients apart, too: traffic by remote address, of so many for each target (64 unless a number is given)
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "64",
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    pub clients: Option<u32>,
    /// Measure how often and how long it waits for the disk, too, by hooks of fsync and its like: every system call of the host
    /// then pays a little
    #[arg(long)]
    pub syncs: bool,
    /// How to hook the kernel
    #[arg(long, value_enum, default_value_t)]
    pub attach: LegChoice,
    /// What to leave out: it then costs nothing
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    pub without: Vec<Part>,
    /// Also write what the kernel counted, before it is made a summary: for bug reports and for tests
    #[arg(long, value_name = "FILE", hide = true)]
    pub record: Option<PathBuf>,
}

/// `zctrace doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// What to print
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
    /// Only the checks, without the self-test
    #[arg(long)]
    pub no_self_test: bool,
}

/// `zctrace serve`. Each flag is also a key of the configuration file, but for those that say where that is and what to do
/// with it ([`crate::serve::config`]).
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Configuration file (YAML): each flag's name is a key; flags go before it
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// What to find by itself; `kafka` unless --pid or --match say what to watch
    #[arg(long, value_enum)]
    pub discover: Option<Discover>,
    /// Process to watch; may be given several times
    #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,
    /// Watch processes whose command line matches this regular expression; may be given several times
    #[arg(long = "match", value_name = "REGEX")]
    pub matches: Vec<Regex>,
    /// How often to look for processes
    #[arg(long = "discover.interval", value_parser = duration, default_value = "5s")]
    pub interval: Duration,
    /// Processes watched at the same time, at most
    #[arg(long = "targets.max", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=i64::from(agent_ebpf::MAX_TARGETS)))]
    pub targets: u16,
    /// Time that the ratios are over
    #[arg(long, value_parser = duration, default_value = "60s")]
    pub window: Duration,
    /// Topic-partitions of a target that have series of their own, at most
    #[arg(long = "topics.limit", value_name = "N", default_value_t = 1000)]
    pub topics: usize,
    /// Only topics that match have series of their own
    #[arg(long = "topics.allow", value_name = "REGEX")]
    pub allow: Option<Regex>,
    /// Topics that match have none
    #[arg(long = "topics.deny", value_name = "REGEX")]
    pub deny: Option<Regex>,
    /// One series for all partitions of a topic
    #[arg(
        long = "topics.aggregate",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub aggregate: bool,
    /// Listeners of a target that have series of their own, at most
    #[arg(long = "listeners.limit", value_name = "N", default_value_t = 64)]
    pub listeners: usize,
    /// Files told apart in the kernel, of all targets; what exceeds it is counted as (other)
    #[arg(long = "maps.files", value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub files: u32,
    /// Where to listen; may be given several times
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:19092")]
    pub listen: Vec<SocketAddr>,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = path)]
    pub telemetry_path: String,
    /// TLS and users, in the format of Prometheus's exporter-toolkit; followed when it changes
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config: Option<PathBuf>,
    /// What to leave out: it then costs nothing; may be given several times
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    pub without: Vec<Part>,
    /// Measure how long calls take, too, by hooks at their entry: a counted call then pays about twice what it pays without,
    /// and by the leg `raw` every system call of the host pays for the second hook
    #[arg(
        long,
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub latency: bool,
    /// With --latency: a call that takes so long is slow
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10ms")]
    pub slow: Duration,
    /// Tell clients apart, too: traffic by remote address, of so many for each target (64 unless a number is given; 0: not)
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "64",
        value_parser = clap::value_parser!(u32).range(0..=65_536)
    )]
    pub clients: Option<u32>,
    /// Measure how often and how long targets wait for the disk, too, by hooks of fsync and its like: every system call of the
    /// host then pays a little
    #[arg(
        long,
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub syncs: bool,
    /// Only check the configuration file and the web configuration file, and say what is wrong with them
    #[arg(long)]
    pub check_config: bool,
    /// How to hook the kernel
    #[arg(long, value_enum, default_value_t)]
    pub attach: LegChoice,
    /// Form of the log
    #[arg(long = "log-format", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// What can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What the process runs on: memory, control group, Java heap, file systems and disks, and the advice from these
    Machine,
    /// How much of what is read was in the page cache
    PageCache,
    /// In what order logs are read and written, and why `sendfile` sends less than it is asked for
    Order,
    /// How much of the logs is in memory
    Residency,
}

/// What to find by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Discover {
    /// Kafka brokers and controllers
    Kafka,
    /// Nothing
    None,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// A JSON object a line
    Json,
}

/// `zctrace exercise`.
#[derive(Debug, Args)]
pub struct Exercise {
    /// Which calls
    #[arg(long)]
    pub plan: String,
    /// Descriptor of the memory shared with the parent
    #[arg(long)]
    pub control_fd: i32,
}

/// Form of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Sentences and tables for people
    #[default]
    Table,
    /// One JSON document
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(duration) }
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && text.len() > 1 {
        Ok(text.to_owned())
    } else {
        Err("it must begin with `/` and name a page".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units_and_are_not_nothing() {
        assert_eq!(duration("10s").unwrap(), Duration::from_secs(10));
        assert_eq!(duration("1m 30s").unwrap(), Duration::from_secs(90));
        assert!(duration("10").is_err());
        assert!(duration("0s").is_err());
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn pid_zero_is_no_process() {
        assert!(Cli::try_parse_from(["zctrace", "--pid", "0"]).is_err());
        assert!(Cli::try_parse_from(["zctrace", "--pid", "1"]).is_ok());
        assert!(Cli::try_parse_from(["zctrace"]).is_err());
    }
}
