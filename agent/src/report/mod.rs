//! The Report: what every output shows, computed once.
//!
//! Serialised as it stands, it is the document of `--output json`; `docs/report.schema.json` describes it. Byte and
//! call counts are exact integers. A number that could not be measured is `None` (`null`), and a [`Note`] says why.

mod advice;
mod build;
mod cache;
mod clients;
mod cost;
mod errno;
mod files;
mod latency;
mod listeners;
mod notes;
mod order;
mod sync;
mod why;

use std::{collections::BTreeSet, sync::Arc};

pub use crate::kafka::Setting;
pub use advice::Advice;
use agent_ebpf::{PORT_DATAGRAM, PORT_NONE, PORT_OUTBOUND};
pub use build::{Builder, build};
pub use cache::{CacheUse, ListenerCache, PageCache};
pub use clients::ClientTraffic;
pub use cost::{Cost, Estimate, ProcessCost};
pub use latency::{CallLatency, DurationBucket, Latency, Took, TopicLatency};
pub(crate) use latency::{ENDS_NS, seconds};
pub use listeners::total_egress;
pub use order::{LogUse, Order, SendfileUse, Sequence, ShortCalls};
use serde::Serialize;
pub use sync::SyncUse;
pub(crate) use why::{REASONS, Seen, reasons};

use crate::{
    kafka::{REMOTE_STORAGE, UsedBy},
    machine::{Machine, Subject},
    residency::Residency,
};

/// Version of the document. It grows when a field changes its meaning or goes away, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

/// Name of the entry of connections that the target opened itself.
pub const OUTBOUND: &str = "outbound";
/// Name of the entry of sockets that know no connection (UDP).
pub const DATAGRAM: &str = "datagram";
/// Name of the entry that takes what found its map full.
pub const OTHER: &str = "(other)";

pub mod sizes;
#[cfg(test)]
pub(crate) mod tests;

/// What one target did in one window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Who was watched.
    pub target: Target,
    /// When.
    pub window: Window,
    /// How the kernel was hooked.
    pub attach: Attach,
    /// Every way bytes moved, largest first.
    pub transfers: Vec<Transfer>,
    /// Calls that failed, by errno.
    pub errors: Vec<ErrorCount>,
    /// Calls that succeeded and moved nothing (end of a file, closed connection).
    pub empty: Vec<EmptyCount>,
    /// Socket traffic by listener, in the order of their ports, then `outbound` and the like.
    pub listeners: Vec<Listener>,
    /// All listeners together.
    pub total: Egress,
    /// Log traffic by topic-partition, largest first. Empty for a process that is no Kafka broker.
    pub topics: Vec<Topic>,
    /// File traffic outside the topics, largest first.
    pub files: Vec<FileTraffic>,
    /// How much of what was read was in the page cache; `None` where that was not counted.
    pub page_cache: Option<PageCache>,
    /// Calls that wait until what was written is on disk, those that took longest in all first; `None` where they were not
    /// counted.
    pub syncs: Option<Vec<SyncUse>>,
    /// In what order logs were read and written, and what `sendfile` did not send; `None` where that was not counted.
    pub order: Option<Sequence>,
    /// How much of its logs is in memory; `None` where that was not looked at.
    pub residency: Option<Arc<Residency>>,
    /// What the process runs on; `None` where that was not looked at.
    pub machine: Option<Machine>,
    /// What could be better, with the evidence.
    pub advice: Vec<Advice>,
    /// How long calls took; `None` where that was not asked for.
    pub latency: Option<Latency>,
    /// What sending cost, all together; `None` where processor time was not looked at.
    pub cost: Option<ProcessCost>,
    /// File bytes that a thread read into memory and sent nothing after: it read on in another file, or has not sent since. They
    /// are in no listener's numbers. What cleans the log or reads it when the broker starts does that.
    pub unsent_read_bytes: u64,
    /// What could not be kept apart.
    pub lost: Lost,
    /// What the reader must know to read the numbers rightly.
    pub notes: Vec<Note>,
}

/// The watched process.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Target {
    /// PID as zctrace's own /proc shows it.
    pub pid: u32,
    /// Short name: `kafka broker 1` for a broker whose node id is known, otherwise the command's name.
    pub name: String,
    /// Name of the executable or, for a JVM, its main class.
    pub command: String,
    /// What is known about a Kafka broker.
    pub kafka: Option<KafkaTarget>,
}

/// What is known about a Kafka broker from its command line and configuration. No value of a secret key is in here.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KafkaTarget {
    /// `node.id` or `broker.id`.
    pub node_id: Option<i64>,
    /// `cluster.id` of a log directory's meta.properties.
    pub cluster_id: Option<String>,
    /// Version, as in the name of the `kafka-server` or `kafka_2.13` jar on the class path.
    pub version: Option<String>,
    /// Path of the configuration file, as the broker sees it.
    pub config: Option<String>,
    /// Log directories, as the broker sees them.
    pub log_dirs: Vec<String>,
    /// Settings that bear on how it moves bytes, as its configuration sets them. What is not set is Kafka's default.
    pub settings: Vec<Setting>,
}

/// The watched time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Window {
    /// When counting began: RFC 3339, UTC.
    pub start: String,
    /// How long it lasted, in seconds of the monotonic clock.
    pub seconds: f64,
    /// Why it ended.
    pub ended_by: EndedBy,
}

/// Why a window ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The asked duration was over.
    Duration,
    /// Ctrl-C or SIGTERM.
    Signal,
    /// The target ended.
    TargetExit,
    /// It has not: the document of a service that still watches.
    StillRunning,
}

/// How the kernel was hooked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attach {
    /// `fexit`, `raw` or `tracepoint`.
    pub leg: String,
    /// Why this leg.
    pub reason: String,
    /// Seconds that it took to load the program and attach it.
    pub seconds: f64,
    /// Seconds that it took to detach it; `null` while it is attached.
    pub detach_seconds: Option<f64>,
}

/// One way bytes moved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transfer {
    /// Kernel name of the call.
    pub syscall: &'static str,
    /// Kind of endpoint the bytes came from: `file`, `socket`, `unix`, `pipe`, `memory`, `other`.
    pub source: &'static str,
    /// Kind of endpoint they went to.
    pub sink: &'static str,
    /// Whose socket it was; `null` where neither endpoint is an inet socket.
    pub local_port: Option<LocalPort>,
    /// The call asked for MSG_ZEROCOPY: whether the kernel copied is not known.
    pub msg_zerocopy: bool,
    /// Calls that returned more than 0.
    pub calls: u64,
    /// Bytes they returned.
    pub bytes: u64,
    /// Of these, bytes of calls that sent the header of a TLS record first, or are taken for such by the thread's others (one
    /// in 16 is looked at once these agree): encrypted in user space.
    pub tls_bytes: u64,
    /// Calls by size; `None` where only sums could be kept (the `(other)` entry).
    pub size_histogram: Option<Vec<SizeBucket>>,
}

impl Transfer {
    /// Adds another of the same kind.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.bytes += other.bytes;
        self.tls_bytes += other.tls_bytes;
        self.size_histogram = match (self.size_histogram.take(), &other.size_histogram) {
            (Some(ours), Some(theirs)) => Some(sizes::sum(&ours, theirs)),
            // Of one of them only sums are known.
            _ => None,
        };
    }
}

/// A listener's port or what stands for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum LocalPort {
    /// A listener's port.
    Port(u16),
    /// [`OUTBOUND`], [`DATAGRAM`] or [`OTHER`].
    Entry(&'static str),
}

impl LocalPort {
    /// From a port of the contract; `None` where neither end is an inet socket.
    #[must_use]
    pub fn from_code(port: u32) -> Option<Self> {
        match port {
            PORT_NONE => None,
            PORT_OUTBOUND => Some(Self::Entry(OUTBOUND)),
            PORT_DATAGRAM => Some(Self::Entry(DATAGRAM)),
            port => Some(u16::try_from(port).map_or(Self::Entry(OTHER), Self::Port)),
        }
    }
}

/// One bucket of a log2 histogram of bytes a call. Empty buckets are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeBucket {
    /// Smallest size in it, in bytes: a power of two.
    pub min: u64,
    /// Largest size in it, in bytes; `None` in the last, open bucket.
    pub max: Option<u64>,
    /// Calls.
    pub calls: u64,
}

/// Failed calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// Kernel name of the call.
    pub syscall: &'static str,
    /// Name of the errno (`EAGAIN`), `restarted` for calls that a signal interrupted and the kernel restarts.
    pub errno: String,
    /// Calls.
    pub calls: u64,
}

/// Calls that succeeded and moved nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EmptyCount {
    /// Kernel name of the call.
    pub syscall: &'static str,
    /// Calls.
    pub calls: u64,
}

/// Socket traffic of one listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Listener {
    /// Local port; `None` for `outbound` and the like.
    pub port: Option<u16>,
    /// The listener's name in the broker's configuration (`SSL`, `INTERNAL`), or [`OUTBOUND`], [`DATAGRAM`], [`OTHER`];
    /// `None` for a port that no configuration names.
    pub name: Option<String>,
    /// Security protocol: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT`, `SASL_SSL`.
    pub protocol: Option<String>,
    /// Who connects to it, as far as the configuration tells: `clients`, `brokers` (followers replicate through
    /// it, clients have another), `brokers_and_clients`, `controllers`; `None` for a port that no configuration names.
    pub used_by: Option<&'static str>,
    /// Bytes that came in.
    pub ingress_bytes: u64,
    /// What left.
    #[serde(flatten)]
    pub egress: Egress,
    /// The verdict, one sentence.
    pub verdict: String,
    /// Why the copied bytes were copied, in a sentence; `None` where none were.
    pub why: Option<String>,
    /// The copied bytes by reason, largest first. Their sum is `copied_bytes`.
    pub reasons: Vec<Reason>,
    /// What left, by whose data it was, largest first. The sums are `zero_copy_bytes` and what came from memory.
    pub flows: Vec<Flow>,
    /// What it cost; `None` where no thread was seen to send through it, or processor time was not looked at.
    pub cost: Option<Cost>,
    /// What each remote address sent and was sent, largest first, then `(other)`; `None` where that was not counted, and for
    /// what is no listener.
    pub clients: Option<Vec<ClientTraffic>>,
    /// What the reasons follow from.
    #[serde(skip)]
    pub(crate) seen: Seen,
}

/// A part of a listener's copied egress, and why it was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Stable word for programs: `tls`, `headers`, `log_read`, `file_read`, `sendfile_refused`, `remote_segments`, `unknown`.
    pub code: &'static str,
    /// Bytes.
    pub bytes: u64,
    /// What it means and what shows it.
    pub text: String,
}

/// What of one topic left through a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// `topic`: a topic's log; `files`: other files; `none`: no file's data, or none that could be tied to one.
    pub from: &'static str,
    /// The topic; `None` unless it is one.
    pub topic: Option<Arc<str>>,
    /// Bytes that left inside the kernel.
    pub zero_copy_bytes: u64,
    /// Bytes that left from memory after the thread had read this: with TLS, more than it had read.
    pub copied_bytes: u64,
    /// Bytes that the threads had read before they sent.
    pub read_bytes: u64,
    /// Why they were copied: the `code` of a reason; `None` where nothing was.
    pub reason: Option<&'static str>,
}

/// Egress by path, and the ratios over it. Ratios are `None` where there was no egress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Egress {
    /// Bytes that left through sockets.
    pub egress_bytes: u64,
    /// Of these, by `sendfile` and `splice`.
    pub zero_copy_bytes: u64,
    /// Of these, from user memory.
    pub copied_bytes: u64,
    /// Of these, from user memory with MSG_ZEROCOPY: in neither of the two above.
    pub undetermined_bytes: u64,
    /// `zero_copy_bytes / egress_bytes`.
    pub zero_copy_ratio: Option<f64>,
    /// `copied_bytes / egress_bytes`.
    pub copy_ratio: Option<f64>,
    /// File bytes that the sending threads had read into memory since their last send: the read half of read + write.
    pub carried_file_bytes: u64,
    /// `(copied_bytes + carried_file_bytes) / egress_bytes`: 0 for sendfile, about 2 for read + write of file data, 1 for
    /// data that no file read preceded.
    pub copy_amplification: Option<f64>,
}

/// Log traffic of one topic-partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Topic {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: u32,
    /// Bytes out of its log inside the kernel.
    pub zero_copy_read_bytes: u64,
    /// Bytes out of its log into user memory.
    pub copied_read_bytes: u64,
    /// Bytes into its log.
    pub written_bytes: u64,
    /// How much of what was read of its log was in the page cache; `None` where that was not counted.
    pub cache: Option<CacheUse>,
    /// In what order it was read and written; `None` where that was not counted.
    pub order: Option<LogUse>,
}

/// File traffic outside the topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileTraffic {
    /// Name of its directory; `None` where it could not be kept.
    pub directory: Option<String>,
    /// Its name; [`OTHER`] for the files that found the map full.
    pub name: String,
    /// Device, `major:minor`; `None` for [`OTHER`].
    pub device: Option<String>,
    /// Inode number; `None` for [`OTHER`].
    pub inode: Option<u64>,
    /// Bytes out of it inside the kernel.
    pub zero_copy_read_bytes: u64,
    /// Bytes out of it into user memory.
    pub copied_read_bytes: u64,
    /// Bytes into it.
    pub written_bytes: u64,
}

/// What could not be kept apart. All zero: every byte is in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Updates that found a map full.
    pub updates: u64,
    /// Bytes that are therefore in an `(other)` entry, in the totals but not in a listener or file.
    pub other_bytes: u64,
    /// Calls whose descriptor was closed before they returned: their endpoint is shown as `other`.
    pub unknown_endpoint_calls: u64,
    /// Bytes of those calls.
    pub unknown_endpoint_bytes: u64,
    /// `sendmmsg` and `recvmmsg` calls some of whose message lengths could not be read: their bytes are missing.
    pub unknown_length_calls: u64,
    /// System calls of the host for which the kernel did not run the hook: at most so many of the target's are in no number.
    pub missed_calls: u64,
}

/// Something the reader must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Stable word for programs: `io_uring`, `msg_zerocopy`, `lost`, ...
    pub code: &'static str,
    /// The sentence for people.
    pub text: String,
}

/// What is known of a target from outside the counts: input to [`build`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Who it is.
    pub target: Target,
    /// Listeners that its configuration names.
    pub listeners: Vec<KnownListener>,
    /// Inode numbers of its log directories, as far as they could be read.
    pub log_dir_inodes: BTreeSet<u64>,
    /// Whose machine to look at, and where.
    pub subject: Subject,
    /// What it runs on; `None` where that was not looked at.
    pub machine: Option<Machine>,
    /// How much of its logs is in memory; `None` where that was not looked at.
    pub residency: Option<Arc<Residency>>,
    /// Bytes that it has read from disks since it is watched; `None` if that could not be seen.
    pub disk_read_bytes: Option<u64>,
    /// From which duration on a call is slow, where durations are measured.
    pub slow: std::time::Duration,
    /// Whether it has io_uring instances; `None` if that could not be seen.
    pub io_uring: Option<bool>,
    /// Connections of its network namespace that the kernel encrypts; `None` if that could not be seen.
    pub kernel_tls: Option<u64>,
    /// Whether it is a 32-bit program; `None` if that could not be seen.
    pub compat: Option<bool>,
    /// What could not be found out, in sentences.
    pub problems: Vec<String>,
}

impl Facts {
    /// Whether its configuration says that logs may have segments in remote (tiered) storage.
    #[must_use]
    pub fn has_remote_storage(&self) -> bool {
        let mut settings = self.target.kafka.iter().flat_map(|kafka| &kafka.settings);
        settings.any(|of| of.key == REMOTE_STORAGE && of.value.eq_ignore_ascii_case("true"))
    }

    /// The name of a listener, or what stands for one.
    fn listener_name(&self, port: &LocalPort) -> Option<String> {
        match port {
            LocalPort::Port(port) => {
                self.listeners.iter().find(|listener| listener.port == *port).map(|listener| listener.name.clone())
            }
            LocalPort::Entry(entry) => Some((*entry).to_owned()),
        }
    }
}

/// A listener that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownListener {
    /// Local port.
    pub port: u16,
    /// Its name.
    pub name: String,
    /// Its security protocol.
    pub protocol: Option<String>,
    /// Who connects to it.
    pub used_by: UsedBy,
}

impl KnownListener {
    /// Whether its protocol encrypts: `SSL` or `SASL_SSL`.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.protocol.as_deref().is_some_and(|protocol| protocol.ends_with("SSL"))
    }
}
