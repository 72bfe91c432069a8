//! The demo without Java: the small built-in server in the broker's place.

use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use testkit::sendfile_server::{Server, read_all};

use super::build::Programs;
use super::interrupt::Interrupt;
use super::steps::Steps;
use super::watch::Watch;
use super::{Options, in_megabytes};

pub(super) fn show(options: &Options, steps: &Steps, interrupt: &Interrupt, programs: &Programs) -> Result<()> {
    let program = programs.sendfile_server.as_ref().context("cargo built no program named sendfile-server")?;
    let bytes = options.megabytes * 1_000_000;
    let step = steps.begin("Starting the built-in server");
    let mut command = Command::new(program);
    command.arg(bytes.to_string());
    let server = Server::start(command).context("the built-in server does not start")?;
    let ports = server.ports();
    step.done(&format!(
        "The built-in server runs as PID {}: sendfile on port {}, read and write on port {}",
        server.pid(),
        ports.zero_copy,
        ports.copied
    ));
    interrupt.check()?;

    let step = steps.begin(format!("Attaching: zctrace --pid {}", server.pid()));
    let watch = Watch::start(&programs.zctrace, server.pid())?;
    step.done(&format!("zctrace --pid {} is attached", server.pid()));
    interrupt.check()?;

    let step = steps.begin(format!("Reading {} from each port", in_megabytes(bytes)));
    let (zero_copy, copied) = thread::scope(|scope| {
        let other = scope.spawn(|| read_all(ports.zero_copy));
        let copied = read_all(ports.copied);
        Ok::<_, anyhow::Error>((other.join().map_err(|_| anyhow!("the thread of a client ended early"))??, copied?))
    })
    .context("cannot read from the built-in server")?;
    ensure!((zero_copy, copied) == (bytes, bytes), "of {bytes} bytes the clients got {zero_copy} and {copied}");
    step.done(&format!("The clients got {} from each port", in_megabytes(bytes)));
    interrupt.check()?;
    watch.finish()?;

    if options.keep {
        steps.say(&format!("The server stays until Ctrl-C, at most 10 minutes. Its PID is {}.", server.pid()));
        interrupt.wait();
    }
    steps.say(if options.builtin {
        "Next, with a real Kafka: cargo xtask demo"
    } else {
        "Next, with a real Kafka: install what is missing (see above) and run cargo xtask demo again"
    });
    Ok(())
}
