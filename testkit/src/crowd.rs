//! A process that to zctrace is a broker with as many partitions and listeners as one likes: it runs under the native
//! image's name and arguments, has a `server.properties`, and moves bytes of log segments to its listeners' connections
//! by order. No broker's work is in it, so that what is measured beside it is zctrace's.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read as _, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use crate::process::Guarded;

/// Bytes of a segment.
const SEGMENT: usize = 4096;
/// Partitions of a topic.
const OF_TOPIC: usize = 10;

/// What such a process is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Where its configuration and its log directory are.
    pub dir: PathBuf,
    /// Its `node.id`.
    pub node: usize,
    /// Partitions, ten a topic.
    pub partitions: usize,
    /// Listeners, `L0` and so on.
    pub listeners: usize,
}

impl Crowd {
    fn config(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    /// From the program's arguments, as [`Broker::start`] makes them.
    ///
    /// # Errors
    /// What should have been there.
    pub fn parse(arguments: &[String]) -> io::Result<Self> {
        let usage =
            || io::Error::other("usage: kafka.Kafka start --config DIR/server.properties NODE PARTITIONS LISTENERS");
        let [_start, _option, config, node, partitions, listeners] = arguments else { return Err(usage()) };
        let number = |text: &String| text.parse().map_err(|_| usage());
        let dir = Path::new(config).parent().ok_or_else(usage)?.to_owned();
        Ok(Self { dir, node: number(node)?, partitions: number(partitions)?, listeners: number(listeners)? })
    }
}

/// One such process. It ends when this is dropped.
#[derive(Debug)]
pub struct Broker {
    process: Guarded,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Broker {
    /// Starts the program `broker-like` at `program` under a broker's name, and waits until it is ready.
    ///
    /// # Errors
    /// Those of the start, and a process that ended.
    pub fn start(program: &Path, crowd: &Crowd) -> io::Result<Self> {
        fs::create_dir_all(&crowd.dir)?;
        let named = crowd.dir.join("kafka.Kafka");
        fs::copy(program, &named)?;
        let numbers = [crowd.node, crowd.partitions, crowd.listeners].map(|number| number.to_string());
        let mut command = Command::new(named);
        command.args(["start", "--config"]).arg(crowd.config()).args(numbers);
        let mut process = Guarded::spawn({
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command
        })?;
        let gone = || io::Error::other("a process without pipes");
        let orders = process.child().stdin.take().ok_or_else(gone)?;
        let answers = BufReader::new(process.child().stdout.take().ok_or_else(gone)?);
        let mut broker = Self { process, orders, answers };
        broker.answer()?;
        Ok(broker)
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Reads each partition's segment once and sends it once.
    ///
    /// # Errors
    /// A process that ended: it says why on standard error.
    pub fn round(&mut self) -> io::Result<()> {
        writeln!(self.orders, "round")?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<()> {
        if self.answers.read_line(&mut String::new())? == 0 {
            return Err(io::Error::other("a process ended early"));
        }
        Ok(())
    }
}

/// Both ends of a listener's connection.
struct Connection {
    ours: TcpStream,
    theirs: TcpStream,
    _listener: TcpListener,
}

/// Prepares everything, says so, and does a round for each line that it is told.
///
/// # Errors
/// Those of its files and sockets.
pub fn serve(crowd: &Crowd, orders: impl BufRead, mut answers: impl Write) -> io::Result<()> {
    let mut connections = (0..crowd.listeners).map(|_| connect()).collect::<io::Result<Vec<_>>>()?;
    let logs = crowd.dir.join("data");
    configure(crowd, &connections, &logs)?;
    let segments = (0..crowd.partitions).map(|number| segment(&logs, number)).collect::<io::Result<Vec<_>>>()?;
    let mut say = |line| writeln!(answers, "{line}").and_then(|()| answers.flush());
    say("ready")?;
    for order in orders.lines() {
        order?;
        for (number, segment) in segments.iter().enumerate() {
            let file = File::open(segment)?;
            rustix::io::pread(&file, &mut [0; 512], 0)?;
            let turn = number % connections.len().max(1);
            if let Some(connection) = connections.get_mut(turn) {
                rustix::fs::sendfile(&connection.ours, &file, Some(&mut 0), SEGMENT)?;
                connection.theirs.read_exact(&mut [0; SEGMENT])?;
            }
        }
        say("done")?;
    }
    Ok(())
}

fn connect() -> io::Result<Connection> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let theirs = TcpStream::connect(listener.local_addr()?)?;
    let (ours, _) = listener.accept()?;
    Ok(Connection { ours, theirs, _listener: listener })
}

fn configure(crowd: &Crowd, connections: &[Connection], logs: &Path) -> io::Result<()> {
    let mut listeners = Vec::new();
    for (number, connection) in connections.iter().enumerate() {
        listeners.push(format!("L{number}://127.0.0.1:{}", connection.ours.local_addr()?.port()));
    }
    let protocols: Vec<_> = (0..connections.len()).map(|number| format!("L{number}:PLAINTEXT")).collect();
    let text = format!(
        "node.id={}\nprocess.roles=broker\nlisteners={}\nlistener.security.protocol.map={}\nlog.dirs={}\n",
        crowd.node,
        listeners.join(","),
        protocols.join(","),
        logs.display()
    );
    fs::create_dir_all(logs)?;
    fs::write(crowd.config(), text)
}

fn segment(logs: &Path, number: usize) -> io::Result<PathBuf> {
    let partition = logs.join(format!("orders.eu.topic-{}-{}", number / OF_TOPIC, number % OF_TOPIC));
    fs::create_dir_all(&partition)?;
    let path = partition.join("00000000000000000000.log");
    fs::write(&path, [0x5a; SEGMENT])?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_has_what_zctrace_looks_for_and_obeys() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("server.properties").display().to_string();
        let arguments = ["start", "--config", &config, "7", "25", "3"].map(str::to_owned);
        let crowd = Crowd::parse(&arguments).unwrap();
        assert_eq!(crowd, Crowd { dir: dir.path().to_owned(), node: 7, partitions: 25, listeners: 3 });
        let mut answers = Vec::new();
        serve(&crowd, "round\nround\n".as_bytes(), &mut answers).unwrap();
        assert_eq!(String::from_utf8(answers).unwrap(), "ready\ndone\ndone\n");
        let config = fs::read_to_string(config).unwrap();
        assert!(config.contains("node.id=7\n") && config.matches("://127.0.0.1:").count() == 3, "{config}");
        assert_eq!(fs::read_dir(dir.path().join("data")).unwrap().count(), 25);
        assert!(dir.path().join("data/orders.eu.topic-2-4/00000000000000000000.log").exists());
        assert!(Crowd::parse(&arguments[..4]).is_err());
    }
}
