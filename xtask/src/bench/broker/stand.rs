//! The broker, its clients, and what is attached to it.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use testkit::{
    kafka::{Broker, BrokerOptions, Clients, Fetcher, Kafka, Produce},
    process::processor_time,
};

use super::{
    LISTENERS, Setup,
    load::Load,
    window::{Visit, WINDOW, Window},
};
use crate::bench::{
    account::{Account, Ran},
    hooks::{self, Link, Programs},
    options,
    pin::Pinned,
    serve::service::{Service, get},
    tool::{self, Tool},
};

const TOPIC: &str = "orders";
const PARTITIONS: u32 = 4;
/// How often a service is scraped meanwhile.
const SCRAPE: Duration = Duration::from_secs(1);
/// What attaching and detaching leave behind, such as code that was changed, is over then.
const SETTLE: Duration = Duration::from_millis(50);
/// How long the kernel's account is kept.
const ACCOUNTED: Duration = Duration::from_secs(3);

/// What the kernel says that programs took while the broker served so much.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Accounted {
    pub(super) gigabytes: f64,
    /// Processor time of the broker, in seconds, the kernel's clock readings in it.
    pub(super) broker: f64,
    pub(super) programs: Vec<Ran>,
}

/// The broker with its clients.
pub(super) struct Stand {
    zctrace: PathBuf,
    cpu: usize,
    /// The programs in C, where one of them is wanted.
    programs: Option<Programs>,
    /// One for each listener, while it does not work.
    fetchers: Vec<Option<Fetcher>>,
    // After its clients: it ends last.
    broker: Broker,
}

/// A tool beside the load.
enum Attached {
    Nothing,
    Link { id: u32, _link: Link },
    Tool(Tool),
    Service(Scraped),
}

impl Attached {
    /// Processor time that it has taken itself, in seconds.
    fn time(&self) -> anyhow::Result<f64> {
        match self {
            Self::Nothing | Self::Link { .. } => Ok(0.0),
            Self::Tool(tool) => tool.processor_time(),
            Self::Service(scraped) => Ok(processor_time(scraped.service.pid())?.as_secs_f64()),
        }
    }
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
    pub(super) fn start(zctrace: &Path, cpu: usize, megabytes: u64, with_programs: bool) -> anyhow::Result<Self> {
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
        clients.create_topic(TOPIC, PARTITIONS)?;
        let load = Produce { batch_bytes: 262_144, ..Produce::new(TOPIC, LISTENERS[0].0, bytes) };
        ensure!(clients.produce(&load)?.bytes == bytes, "not everything was produced");
        let fetcher = |(listener, _): &(&str, f64)| Fetcher::connect(&broker, listener, TOPIC, PARTITIONS as usize);
        let fetchers = LISTENERS.iter().map(|it| Ok(Some(fetcher(it)?))).collect::<anyhow::Result<_>>()?;
        let programs = with_programs.then(|| hooks::programs_for(broker.pid())).transpose()?;
        Ok(Self { zctrace: zctrace.to_owned(), cpu, programs, fetchers, broker })
    }

    /// Lets a client work at a listener while something is done.
    pub(super) fn under_load<T>(
        &mut self,
        listener: usize,
        work: impl FnOnce(&mut Self, &Load) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let fetcher = self.fetchers.get_mut(listener).and_then(Option::take).context("there is no such listener")?;
        let load = Load::start(fetcher, self.broker.pid());
        let done = work(self, &load);
        // Where the work failed since the client did, the client's error says more.
        self.fetchers[listener] = Some(load.stop()?);
        done
    }

    /// A window, attaches, a window, detaches, a window. Attaching and detaching are in none of them.
    pub(super) fn visit(&mut self, load: &Load, setup: Setup) -> anyhow::Result<Visit> {
        let window = |time| Window::of(&load.window(time)?).context("nothing was served");
        let before = window(WINDOW)?;
        let attached = self.attach(setup)?;
        thread::sleep(SETTLE);
        let time = attached.time()?;
        let with = window(setup.window().unwrap_or(WINDOW))?;
        let tool = attached.time()? - time;
        drop(attached);
        thread::sleep(SETTLE);
        Ok(Visit { before, with, after: window(WINDOW)?, tool })
    }

    fn attach(&mut self, setup: Setup) -> anyhow::Result<Attached> {
        let pid = self.broker.pid();
        let tool = match setup {
            Setup::Nothing | Setup::NothingAgain => return Ok(Attached::Nothing),
            Setup::Empty => {
                let programs = self.programs.as_mut().context("the programs in C were not loaded")?;
                return Ok(Attached::Link { _link: programs.attach("empty")?, id: programs.info("empty")?.id() });
            }
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

    /// A longer window under the kernel's own account of the programs.
    pub(super) fn account(&mut self, load: &Load, setup: Setup) -> anyhow::Result<Accounted> {
        let attached = self.attach(setup)?;
        let ids = match &attached {
            Attached::Link { id, .. } => vec![*id],
            Attached::Tool(tool) => tool.programs()?,
            Attached::Nothing | Attached::Service(_) => anyhow::bail!("{} has no programs", setup.title()),
        };
        let account = Account::open(ids)?;
        let window = Window::of(&load.window(ACCOUNTED)?).context("nothing was served")?;
        Ok(Accounted { gigabytes: window.gigabytes, broker: window.broker, programs: account.close()? })
    }
}
