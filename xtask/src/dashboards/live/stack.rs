//! Broker, zctrace and Prometheus.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use testkit::{
    kafka::{Broker, BrokerOptions, Clients, Kafka, KafkaError, Produce},
    process::Guarded,
};

use super::prometheus::{self, Prometheus, wait_for};
use crate::build;

/// Topics and their partitions. A dot is a regular expression's, too.
const TOPICS: [(&str, u32); 3] = [("orders", 3), ("payments.eu-west", 2), ("audit_log", 1)];

/// All of it, running. It ends when this is dropped.
pub(crate) struct Stack {
    pub(crate) prometheus: Prometheus,
    _zctrace: Guarded,
    kafka: Kafka,
    broker: Broker,
    address: SocketAddr,
}

impl Stack {
    /// Starts everything, and restarts the broker once while it is watched: dashboards mark that.
    pub(crate) fn start() -> Result<Self> {
        let zctrace = build::debug(&[("zctrace", "zctrace")])?.remove("zctrace").unwrap_or_default();
        let kafka = Kafka::install(&|_| ())?;
        let broker = Broker::start(&kafka, &BrokerOptions::default())?;
        let address = prometheus::free_address()?;
        let mut serve = Command::new(zctrace);
        serve.args([
            "serve",
            "--discover.interval",
            "200ms",
            "--window",
            "30s",
            "--latency",
            "--syncs",
            "--clients",
            "--web.listen-address",
        ]);
        // Clients have the folder on their command lines, too.
        serve.arg(address.to_string()).arg("--match").arg(format!("kafka.Kafka {}", broker.dir().display()));
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let zctrace = Guarded::spawn(serve).context("zctrace could not be started")?;
        wait_for("zctrace is ready", || prometheus::get(&format!("http://{address}/readyz")).ok())?;
        let prometheus = Prometheus::start(address)?;
        let mut stack = Self { prometheus, _zctrace: zctrace, kafka, broker, address };
        stack.wait_for_process(1.0)?;
        stack.broker.restart()?;
        stack.wait_for_process(2.0)?;
        let clients = stack.clients();
        for (topic, partitions) in TOPICS {
            clients.create_topic(topic, partitions)?;
        }
        Ok(stack)
    }

    fn wait_for_process(&self, count: f64) -> Result<()> {
        let seen = || self.prometheus.number("zctrace_target_processes_total").filter(|seen| *seen >= count);
        wait_for("the broker is watched", seen).map(drop)
    }

    fn clients(&self) -> Clients<'_> {
        Clients::new(&self.kafka, &self.broker)
    }

    /// Runs `during` while producers and consumers use both listeners; it begins after `warm_up`.
    pub(crate) fn under_load<T>(&self, warm_up: Duration, during: impl FnOnce() -> Result<T>) -> Result<T> {
        let stop = AtomicBool::new(false);
        let load = |listener: &'static str, megabytes: u64| {
            let clients = self.clients();
            let stop = &stop;
            move || -> Result<(), KafkaError> {
                while !stop.load(Ordering::Relaxed) {
                    for (topic, share) in TOPICS.iter().map(|topic| topic.0).zip([4, 2, 1]) {
                        clients.produce(&Produce::new(topic, listener, megabytes * share * 250_000))?;
                        clients.consume(topic, listener)?;
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
                Ok(())
            }
        };
        std::thread::scope(|scope| {
            let loads = [scope.spawn(load("PLAINTEXT", 12)), scope.spawn(load("SSL", 5))];
            std::thread::sleep(warm_up);
            let result = during();
            stop.store(true, Ordering::Relaxed);
            for load in loads {
                load.join().map_err(|_| anyhow!("the thread of a client ended early"))??;
            }
            result
        })
    }

    /// What zctrace itself says of the broker.
    pub(crate) fn report(&self) -> Result<Value> {
        let report = prometheus::get(&format!("http://{}/api/v1/report/kafka-1", self.address))?;
        Ok(serde_json::from_str(&report)?)
    }
}
