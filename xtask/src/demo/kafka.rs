//! The demo on a real Kafka broker.

use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use testkit::kafka::{Broker, BrokerOptions, Clients, KAFKA_VERSION, Kafka, KafkaError, Moved, Produce};

use super::build::Programs;
use super::interrupt::Interrupt;
use super::steps::Steps;
use super::watch::Watch;
use super::{Options, in_megabytes};

/// The topic that is read once through each listener, and its partitions.
const ORDERS: (&str, u32) = ("orders", 3);
/// A small one beside it, a tenth of its bytes.
const PAYMENTS: (&str, u32) = ("payments", 1);

pub(super) fn show(options: &Options, steps: &Steps, interrupt: &Interrupt, programs: &Programs) -> Result<()> {
    let step = steps.begin(format!("Kafka {KAFKA_VERSION}"));
    let kafka = Kafka::install(&|detail| step.at(detail))?;
    step.done(&format!("Kafka {KAFKA_VERSION} is here"));
    interrupt.check()?;

    let step = steps.begin("Starting a broker");
    let broker = Broker::start(&kafka, &BrokerOptions::default())?;
    let (plain, ssl) = (broker.port("PLAINTEXT")?, broker.port("SSL")?);
    step.done(&format!("A broker runs as PID {}: PLAINTEXT on port {plain}, SSL on port {ssl}", broker.pid()));
    let clients = Clients::new(&kafka, &broker);
    for (topic, partitions) in [ORDERS, PAYMENTS] {
        interrupt.check()?;
        clients.create_topic(topic, partitions)?;
    }

    let step = steps.begin(format!("Attaching: zctrace --pid {}", broker.pid()));
    let watch = Watch::start(&programs.zctrace, broker.pid())?;
    step.done(&format!("zctrace --pid {} is attached", broker.pid()));
    interrupt.check()?;

    load(options.megabytes * 1_000_000, steps, interrupt, &clients)?;
    watch.finish()?;

    if options.keep {
        steps.say(&format!(
            "The broker stays until Ctrl-C. Try: sudo {} --pid {} --duration 10s",
            programs.zctrace.display(),
            broker.pid()
        ));
        interrupt.wait();
    } else {
        steps.say(&format!(
            "Next, on a broker of your own: sudo {} --pid $(pgrep -f kafka.Kafka) --duration 10s",
            programs.zctrace.display()
        ));
    }
    Ok(())
}

/// Fills both topics, half of the big one through each listener, and reads it once through each.
fn load(bytes: u64, steps: &Steps, interrupt: &Interrupt, clients: &Clients<'_>) -> Result<()> {
    let small = bytes / 10;
    let step = steps.begin(format!("Producing {}", in_megabytes(bytes + small)));
    let half = bytes / 2;
    // Large batches: a demo is not for waiting.
    let orders = |listener, bytes| Produce { batch_bytes: 262_144, ..Produce::new(ORDERS.0, listener, bytes) };
    both(|| clients.produce(&orders("PLAINTEXT", half)), || clients.produce(&orders("SSL", bytes - half)))?;
    interrupt.check()?;
    clients.produce(&Produce::new(PAYMENTS.0, "PLAINTEXT", small))?;
    step.done(&format!("Produced {} through both listeners", in_megabytes(bytes + small)));
    interrupt.check()?;

    let step = steps.begin(format!("Consuming {} through each listener", in_megabytes(bytes)));
    let (plain, ssl) = both(|| clients.consume(ORDERS.0, "PLAINTEXT"), || clients.consume(ORDERS.0, "SSL"))?;
    interrupt.check()?;
    let payments = clients.consume(PAYMENTS.0, "PLAINTEXT")?;
    for (topic, got, sent) in [(ORDERS.0, plain, bytes), (ORDERS.0, ssl, bytes), (PAYMENTS.0, payments, small)] {
        ensure!(got.bytes == sent, "a consumer of {topic} got {} bytes of values, and {sent} were sent", got.bytes);
    }
    step.done(&format!(
        "Consumed: by their own count the clients got {} through PLAINTEXT and {} through SSL",
        in_megabytes(plain.incoming_bytes + payments.incoming_bytes),
        in_megabytes(ssl.incoming_bytes)
    ));
    interrupt.check()
}

/// Runs two clients at the same time.
fn both(
    first: impl FnOnce() -> Result<Moved, KafkaError> + Send,
    second: impl FnOnce() -> Result<Moved, KafkaError>,
) -> Result<(Moved, Moved)> {
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, first).context("cannot start a thread")?;
        let second = second();
        let first = other.join().map_err(|_| anyhow!("the thread of a client ended early"))?;
        Ok((first?, second?))
    })
}
