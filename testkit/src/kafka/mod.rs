//! A real Apache Kafka broker and clients that say exactly what they moved.
//!
//! ```no_run
//! use testkit::kafka::{Broker, BrokerOptions, Clients, Kafka, Produce};
//!
//! # fn main() -> Result<(), testkit::kafka::KafkaError> {
//! let kafka = Kafka::install(&|step| eprintln!("{step}"))?;
//! let broker = Broker::start(&kafka, &BrokerOptions::default())?;
//! let clients = Clients::new(&kafka, &broker);
//! clients.create_topic("orders", 3)?;
//! clients.produce(&Produce::new("orders", "SSL", 100_000_000))?;
//! let moved = clients.consume("orders", "PLAINTEXT")?;
//! assert_eq!(moved.bytes, 100_000_000);
//! # Ok(()) }
//! ```

mod broker;
mod clients;
mod config;
mod fetcher;
mod install;
mod keys;
mod ready;
mod run;

use std::io;
use std::path::PathBuf;

pub use broker::Broker;
pub use clients::{Clients, Moved, Produce};
pub use config::{BrokerOptions, Listener};
pub use fetcher::Fetcher;
pub use install::{KAFKA_VERSION, KAFKA_VERSION_THAT_CONVERTS, Kafka};
pub use keys::KEY_PASSWORD;

use crate::cache::CacheError;
use crate::tools::Missing;

/// Why a broker or a client cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// Programs of the machine are not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The machine's Java cannot run Kafka 4.
    #[error(
        "Kafka {KAFKA_VERSION} needs Java 17 or later, and `java -version` says: {found}. On Debian or Ubuntu: apt-get install openjdk-17-jdk-headless"
    )]
    OldJava {
        /// The first line of its answer.
        found: String,
    },
    /// A program ran and failed.
    #[error("{what} failed ({status}). The end of its output:\n{tail}")]
    Failed {
        /// Which step it was.
        what: String,
        /// How the program ended.
        status: String,
        /// The last lines that it wrote.
        tail: String,
    },
    /// The broker took too long.
    #[error("the broker was not ready after {seconds} s: {waiting_for}. The end of its log:\n{tail}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// What had not happened.
        waiting_for: String,
        /// The last lines of its log.
        tail: String,
    },
    /// A client's result could not be read.
    #[error("{what} ended well but its result cannot be read: {answer:?}")]
    Answer {
        /// Which client it was.
        what: String,
        /// What it wrote.
        answer: String,
    },
    /// A name that the broker does not have.
    #[error("the broker has no listener {name}; it has {known}")]
    NoListener {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, and on which path.
        what: String,
        /// What the system answered.
        source: io::Error,
    },
}

impl KafkaError {
    /// For `map_err`: an error of the system while doing `what`.
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Writes a file of the broker's folder.
fn write(path: PathBuf, content: &str) -> Result<PathBuf, KafkaError> {
    std::fs::write(&path, content).map_err(KafkaError::io(format!("cannot write {}", path.display())))?;
    Ok(path)
}
