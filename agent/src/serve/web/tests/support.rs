//! A server, a site, a client that speaks bytes.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{Read, Write},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use flate2::read::GzDecoder;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::super::{Head, Limits, Site, WebError, WebHandle, WebStats, serve};

/// Longer than anything here takes; a test that reaches it has failed.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// `/hello`, `/metrics` (1 MB), `/slow` (300 ms), `/big/N` (8 MiB each), `/panic`, `/status/N`.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) made: AtomicUsize,
    pub(super) at_once: AtomicUsize,
    pub(super) most_at_once: AtomicUsize,
}

pub(super) const BIG: usize = 8 << 20;

impl Site for Pages {
    fn get(&self, path: &str, out: &mut dyn Write) -> Option<Head> {
        self.made.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        let mut status = 200;
        let body = match path {
            "/hello" => Some("hello\n".to_owned()),
            "/metrics" => Some(metrics()),
            "/slow" => {
                thread::sleep(Duration::from_millis(300));
                Some("slow\n".to_owned())
            }
            "/panic" => {
                self.at_once.fetch_sub(1, Ordering::SeqCst);
                panic!("on purpose")
            }
            _ if path.starts_with("/big/") => Some("x".repeat(BIG)),
            _ => path.strip_prefix("/status/").map(|text| {
                status = text.parse().unwrap();
                String::new()
            }),
        };
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        out.write_all(body?.as_bytes()).unwrap();
        Some(Head { status, content_type: "text/plain; version=0.0.4" })
    }
}

pub(super) fn metrics() -> String {
    (0..12_000).fold(String::new(), |mut text, partition| {
        writeln!(text, "zctrace_topic_bytes_total{{topic=\"orders\",partition=\"{partition}\"}} {partition}000")
            .unwrap();
        text
    })
}

pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) handle: Arc<WebHandle>,
    pub(super) pages: Arc<Pages>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), WebError>>,
}

impl Running {
    pub(super) async fn with(limits: Limits, config: Option<&Path>) -> Self {
        let handle = Arc::new(WebHandle::new(config, Arc::new(WebStats::default())).unwrap());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Arc::new(Pages::default());
        let (stop, stopped) = oneshot::channel();
        let site: Arc<dyn Site> = Arc::clone(&pages) as _;
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(serve(vec![listener], Arc::clone(&handle), site, limits, shutdown));
        Self { address, handle, pages, stop: Some(stop), task }
    }

    pub(super) async fn plain() -> Self {
        Self::with(Limits::default(), None).await
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own.
    pub(super) async fn get(&self, path: &str, headers: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await
    }

    /// Any bytes, and what comes back until the server closes.
    pub(super) async fn send(&self, bytes: &str) -> Reply {
        exchange(self.connect().await, bytes).await
    }

    pub(super) fn stats(&self) -> &WebStats {
        self.handle.stats()
    }

    /// Ends the server: it must say that all went well.
    pub(super) async fn stop(mut self) {
        drop(self.stop.take());
        timeout(LONG, self.task).await.unwrap().unwrap().unwrap();
    }
}

pub(super) fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// Takes one reply apart, with its length checked.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{bytes:?}"));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub(super) fn text(&self) -> String {
        assert_eq!(self.headers["content-length"], self.body.len().to_string());
        match self.headers.get("content-encoding").map(String::as_str) {
            None => String::from_utf8(self.body.clone()).unwrap(),
            Some("gzip") => {
                let mut text = String::new();
                GzDecoder::new(&self.body[..]).read_to_string(&mut text).unwrap();
                text
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Sends, and reads until the other side closes.
pub(super) async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &str) -> Reply {
    // The server may close before it has read all.
    let _ = stream.write_all(bytes.as_bytes()).await;
    Reply::parse(&rest(stream).await)
}

/// What comes until the other side closes or breaks off.
pub(super) async fn rest(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("the server neither answers nor closes");
    bytes
}
