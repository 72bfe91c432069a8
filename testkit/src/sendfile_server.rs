//! A small server for machines without Java: it sends a file to every client, on one port by `sendfile`, as a broker
//! does on PLAINTEXT, and on the other by `pread64` of 32 KiB and `write`, as a broker does on SSL (but without the
//! encryption). The process is the program `sendfile-server` of this package.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::process::Guarded;

/// Bytes that a broker reads from a segment at a time for an SSL listener
/// (org.apache.kafka.common.network.SslTransportLayer, FILE_TRANSFER_BUFFER_SIZE).
const COPY_BYTES: usize = 32 * 1024;
/// Clients that one port serves; later ones find nobody.
const MOST_CLIENTS: usize = 64;
/// The server ends after this time, whatever happens.
const LIFE: Timespec = Timespec { tv_sec: 600, tv_nsec: 0 };
/// A peer that moves nothing for so long has gone.
const STALLED: Duration = Duration::from_secs(30);

/// Where the server listens, on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Here the file leaves by `sendfile`,
    pub zero_copy: u16,
    /// and here by `pread64` and `write`.
    pub copied: u16,
}

/// Serves a file of so many bytes until `owner` is closed or has something to read, at most 10 minutes. The ports come
/// first, as a line of JSON on `output`.
///
/// # Errors
/// Those of the temporary file, the listeners, and `output`.
pub fn serve(bytes: u64, owner: impl AsFd, mut output: impl Write) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix("zctrace-served-").tempfile()?;
    fill(file.as_file_mut(), bytes)?;
    // Its name goes at once, so that nothing is left behind however this ends; the open file stays.
    let shared = Arc::new(file.reopen()?);
    file.close()?;
    let zero_copy = listen(Arc::clone(&shared), by_sendfile)?;
    let copied = listen(shared, by_copying)?;
    writeln!(output, "{}", serde_json::to_string(&Ports { zero_copy, copied })?)?;
    output.flush()?;
    poll(&mut [PollFd::new(&owner, PollFlags::IN)], Some(&LIFE))?;
    Ok(())
}

fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    let block: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..now])?;
        left -= now as u64;
    }
    Ok(())
}

fn listen(file: Arc<File>, send: fn(&File, &TcpStream) -> io::Result<()>) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::Builder::new().name(format!("port-{port}")).spawn(move || {
        for stream in listener.incoming().take(MOST_CLIENTS).flatten() {
            let file = Arc::clone(&file);
            // A client that goes away early, or a thread that cannot be had, ends that connection only.
            let serving = std::thread::Builder::new().name("client".into()).spawn(move || {
                let _ = stream.set_write_timeout(Some(STALLED)).and_then(|()| send(&file, &stream));
            });
            drop(serving);
        }
    })?;
    Ok(port)
}

fn by_sendfile(file: &File, stream: &TcpStream) -> io::Result<()> {
    let size = file.metadata()?.len();
    let mut offset = 0;
    while offset < size {
        let left = usize::try_from(size - offset).unwrap_or(usize::MAX);
        if rustix::fs::sendfile(stream, file, Some(&mut offset), left)? == 0 {
            break;
        }
    }
    Ok(())
}

fn by_copying(file: &File, stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0;
    loop {
        let read = rustix::io::pread(file, &mut buffer, offset)?;
        if read == 0 {
            return Ok(());
        }
        offset += read as u64;
        let mut left = &buffer[..read];
        while !left.is_empty() {
            // The standard library would call send(2); a JVM calls write(2).
            let written = rustix::io::write(stream, left)?;
            left = &left[written..];
        }
    }
}

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Guarded,
    ports: Ports,
}

impl Server {
    /// Starts `command`, which must end in [`serve`] with its standard input and output: the program `sendfile-server`
    /// with the number of bytes.
    ///
    /// # Errors
    /// A program that cannot be started or does not say its ports.
    pub fn start(mut command: Command) -> io::Result<Self> {
        // The server watches its standard input; this end is closed with the owner.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Guarded::spawn(command)?;
        let mut line = String::new();
        if let Some(stdout) = process.child().stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let ports = serde_json::from_str(&line)
            .map_err(|_| io::Error::other(format!("the built-in server did not say its ports but {line:?}")))?;
        Ok(Self { process, ports })
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }
}

/// Reads all that a port of the server sends: the number of bytes.
///
/// # Errors
/// A connection that is refused or breaks, a server that sends nothing for 30 seconds.
pub fn read_all(port: u16) -> io::Result<u64> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(STALLED))?;
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}
