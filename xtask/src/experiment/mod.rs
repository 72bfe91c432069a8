//! `cargo xtask experiment`: what TLS costs a broker, and what of it is the lost zero copy.
//!
//! One real broker has a listener for each set-up. All of them serve the same topic to the same client, in turn; what the broker
//! uses is read from the kernel's account of the process. One set-up copies as TLS does, and encrypts nothing, so the two prices
//! come apart without a word of zctrace; zctrace watches at the same time, and its own split stands beside.

mod result;
mod run;

use anyhow::{Context as _, Result, ensure};
use testkit::kafka::{Broker, BrokerOptions, Clients, Kafka, Listener, Produce};

use self::run::Run;
use crate::{bench::save::Keep, build, stats::order};

/// What can be said about the experiment.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds: each has every set-up once
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(2..=200))]
    rounds: u64,
    /// Megabytes that are read each time
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = clap::value_parser!(u64).range(50..=20_000))]
    megabytes: u64,
    #[command(flatten)]
    keep: Keep,
}

/// A way to send. Its name is its listener's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    /// By `sendfile`.
    Plaintext,
    /// By read and write, through an engine that encrypts nothing.
    Copy,
    /// TLS 1.3 with AES-256-GCM, the JDK's first choice.
    Aes,
    /// TLS 1.3 with ChaCha20-Poly1305, for which processors have no instructions.
    Chacha,
}

impl Setup {
    const ALL: [Self; 4] = [Self::Plaintext, Self::Copy, Self::Aes, Self::Chacha];

    const fn listener_name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Copy => "COPY",
            Self::Aes => "AES",
            Self::Chacha => "CHACHA",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext, zero copy",
            Self::Copy => "copied, not encrypted",
            Self::Aes => "TLS, AES-256-GCM",
            Self::Chacha => "TLS, ChaCha20-Poly1305",
        }
    }

    fn listener(self) -> Listener {
        let name = self.listener_name();
        match self {
            Self::Plaintext => Listener::plain(name),
            Self::Copy => Listener::copying(name),
            Self::Aes => Listener::tls_with(name, "TLS_AES_256_GCM_SHA384"),
            Self::Chacha => Listener::tls_with(name, "TLS_CHACHA20_POLY1305_SHA256"),
        }
    }
}

const TOPIC: &str = "orders";
const PARTITIONS: u32 = 4;
/// Rounds before those that count: the JVM compiles what is used much.
const WARM_UP: u64 = 3;

/// Runs the experiment, prints its result, and keeps it in `docs/experiment`.
///
/// # Errors
/// Missing programs and privileges; a broker, client or zctrace that fails; a client that did not get every byte.
pub(crate) fn run(options: &Options) -> Result<()> {
    let built = build::release(&[("zctrace", "zctrace")], &[])?;
    let zctrace = built.get("zctrace").context("zctrace was not built")?;
    let kafka = Kafka::install(&|step| eprintln!("{step}"))?;
    let listeners = Setup::ALL.map(Setup::listener).to_vec();
    let broker = Broker::start(&kafka, &BrokerOptions { listeners, ..BrokerOptions::default() })?;
    let clients = Clients::new(&kafka, &broker);
    clients.create_topic(TOPIC, PARTITIONS)?;
    let bytes = options.megabytes * 1_000_000;
    let load = Produce { batch_bytes: 262_144, ..Produce::new(TOPIC, Setup::Plaintext.listener_name(), bytes) };
    ensure!(clients.produce(&load)?.bytes == bytes, "not everything was produced");
    let mut rounds: Vec<[Run; 4]> = Vec::new();
    for round in 0..WARM_UP + options.rounds {
        let mut runs = [Run::default(); 4];
        for place in order(Setup::ALL.len(), round) {
            runs[place] = run::once(Setup::ALL[place], &broker, &clients, zctrace, bytes)?;
        }
        let told = runs.map(|run| format!("{:.2}", run.broker.both() / run.gigabytes)).join(", ");
        eprintln!("round {} of {}: {told} s for each GB", round + 1, WARM_UP + options.rounds);
        if round >= WARM_UP {
            rounds.push(runs);
        }
    }
    result::finish(&rounds, options.megabytes, options.keep)
}
