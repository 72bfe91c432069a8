//! One reading of the topic, and what the broker used for it.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use testkit::{
    kafka::{Broker, BrokerOptions, Clients, Kafka, Produce, Reader},
    process::processor_time,
};

use super::{LISTENERS, Setup};
use crate::bench::{
    account::{Account, Ran},
    options,
    pin::Pinned,
    serve::service::{Service, get},
    tool::{self, Tool},
};

const TOPIC: &str = "orders";
/// For strace, which takes so long.
const SHORT_TOPIC: &str = "few-orders";
/// Part of the topic that the short one has.
const SHORT: u64 = 10;
const PARTITIONS: u32 = 4;
/// How often a service is scraped meanwhile.
const SCRAPE: Duration = Duration::from_secs(1);
/// Readings for the kernel's account.
const ACCOUNTED: u32 = 4;

/// A reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// Bytes that the client got, in units of 10^9: Kafka's protocol, which is what the broker sent, without TLS's frames.
    pub(super) gigabytes: f64,
    /// Processor time of the broker, all threads, in seconds.
    pub(super) broker: f64,
    /// The tool's own.
    pub(super) tool: f64,
    /// Time that passed, in seconds.
    pub(super) seconds: f64,
}

impl Reading {
    /// Processor seconds of the broker for each GB.
    pub(super) fn per_gb(&self) -> f64 {
        self.broker / self.gigabytes
    }
}

/// What the kernel says that programs took while the broker served so much.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Accounted {
    pub(super) gigabytes: f64,
    /// Processor time of the broker, in seconds, the kernel's clock readings in it.
    pub(super) broker: f64,
    pub(super) programs: Vec<Ran>,
}

/// The broker with its consumers.
pub(super) struct Stand {
    zctrace: PathBuf,
    cpu: usize,
    bytes: u64,
    readers: Vec<[Reader; 2]>,
    // After its consumers: it ends last.
    broker: Broker,
}

/// A tool beside a reading.
enum Attached {
    Nothing,
    Tool(Tool),
    Service(Scraped),
}

/// A service that is scraped until this is dropped.
struct Scraped {
    service: Service,
    stop: Option<mpsc::Sender<()>>,
    scrapes: Option<thread::JoinHandle<()>>,
}

impl Drop for Scraped {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.scrapes.take().map(thread::JoinHandle::join);
    }
}

impl Stand {
    /// Starts a broker on this processor, with a topic that is read from the page cache from then on.
    pub(super) fn start(zctrace: &Path, cpu: usize, megabytes: u64) -> anyhow::Result<Self> {
        let kafka = Kafka::install(&|step| eprintln!("{step}"))?;
        let broker = {
            let _there = Pinned::to(cpu)?;
            // As many threads for its own work as on a machine that it has for itself.
            let jvm_flags = vec!["-XX:ActiveProcessorCount=2".to_owned()];
            Broker::start(&kafka, &BrokerOptions { jvm_flags, ..BrokerOptions::default() })?
        };
        let _here = Pinned::to(0)?;
        let clients = Clients::new(&kafka, &broker);
        let bytes = megabytes * 1_000_000;
        for (topic, bytes) in [(TOPIC, bytes), (SHORT_TOPIC, bytes / SHORT)] {
            clients.create_topic(topic, PARTITIONS)?;
            let load = Produce { batch_bytes: 262_144, ..Produce::new(topic, LISTENERS[0].0, bytes) };
            ensure!(clients.produce(&load)?.bytes == bytes, "not everything was produced");
        }
        let reader = |listener| -> anyhow::Result<_> {
            Ok([clients.reader(TOPIC, listener)?, clients.reader(SHORT_TOPIC, listener)?])
        };
        let readers = LISTENERS.iter().map(|(listener, _)| reader(listener)).collect::<anyhow::Result<_>>()?;
        Ok(Self { zctrace: zctrace.to_owned(), cpu, bytes, readers, broker })
    }

    /// Attaches, reads, detaches.
    pub(super) fn read(&mut self, listener: usize, setup: Setup) -> anyhow::Result<Reading> {
        let attached = self.attach(setup)?;
        self.beside(&attached, listener, setup)
    }

    fn beside(&mut self, attached: &Attached, listener: usize, setup: Setup) -> anyhow::Result<Reading> {
        let [long, short] = self.readers.get_mut(listener).context("there is no such listener")?;
        let (reader, bytes) = if setup.is_slow() { (short, self.bytes / SHORT) } else { (long, self.bytes) };
        let tool = |attached: &Attached| match attached {
            Attached::Nothing => Ok(0.0),
            Attached::Tool(tool) => tool.processor_time(),
            Attached::Service(scraped) => Ok(processor_time(scraped.service.pid())?.as_secs_f64()),
        };
        let broker = || processor_time(self.broker.pid()).context("the broker has ended");
        let (before, tool_before) = (broker()?, tool(attached)?);
        let moved = reader.read()?;
        let (after, tool_after) = (broker()?, tool(attached)?);
        ensure!(moved.bytes == bytes, "a client got {} bytes of {bytes}", moved.bytes);
        #[allow(clippy::cast_precision_loss)] // bytes of a few gigabytes
        Ok(Reading {
            gigabytes: moved.incoming_bytes as f64 / 1e9,
            broker: (after - before).as_secs_f64(),
            tool: tool_after - tool_before,
            seconds: moved.seconds,
        })
    }

    fn attach(&self, setup: Setup) -> anyhow::Result<Attached> {
        let pid = self.broker.pid();
        let tool = match setup {
            Setup::Nothing | Setup::NothingAgain => return Ok(Attached::Nothing),
            Setup::Zctrace => tool::zctrace(&self.zctrace, pid, &[])?,
            Setup::Bare => {
                let arguments = options::without_parts();
                tool::zctrace(&self.zctrace, pid, &arguments.iter().map(String::as_str).collect::<Vec<_>>())?
            }
            Setup::Serve => return self.serve(),
            Setup::Bpftrace => {
                tool::bpftrace(&tool::count_and_sum(pid, &["sendfile64", "pread64", "read", "write", "writev"]))?
            }
            Setup::Strace => tool::strace(pid, self.cpu, &["-e", "trace=sendfile,write,read", "-o", "/dev/null"])?,
        };
        Ok(Attached::Tool(tool))
    }

    fn serve(&self) -> anyhow::Result<Attached> {
        let service = Service::start(&self.zctrace, 1, &["--pid", &self.broker.pid().to_string()])?;
        let address = service.address;
        let (stop, stopped) = mpsc::channel::<()>();
        let scrapes = thread::spawn(move || {
            while stopped.recv_timeout(SCRAPE) == Err(mpsc::RecvTimeoutError::Timeout) {
                // One that fails costs the broker nothing; the service's own tests look at answers.
                let _ = get(address, "/metrics");
            }
        });
        Ok(Attached::Service(Scraped { service, stop: Some(stop), scrapes: Some(scrapes) }))
    }

    /// Some readings under the kernel's own account of the programs.
    pub(super) fn account(&mut self, listener: usize, setup: Setup) -> anyhow::Result<Accounted> {
        let attached = self.attach(setup)?;
        let Attached::Tool(tool) = &attached else { anyhow::bail!("{} has no programs", setup.title()) };
        let account = Account::open(tool.programs()?)?;
        let mut all = Accounted { gigabytes: 0.0, broker: 0.0, programs: Vec::new() };
        for _ in 0..ACCOUNTED {
            let reading = self.beside(&attached, listener, setup)?;
            all.gigabytes += reading.gigabytes;
            all.broker += reading.broker;
        }
        all.programs = account.close()?;
        Ok(all)
    }
}
