//! A small HTTP server for GET and HEAD.

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Type of the body.
    pub content_type: &'static str,
    /// Body.
    pub body: String,
}

/// What a server takes at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time; more wait in the kernel's queue.
    pub connections: usize,
    /// Answers in memory at the same time; who has waited for one too long is told to come again.
    pub answers: usize,
    /// Bytes of a request's head.
    pub head: usize,
    /// Time for a head to come, for a client to read on, and between requests.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 256, answers: 8, head: 16 << 10, patience: Duration::from_secs(5) }
    }
}

/// What the server has seen.
#[derive(Debug, Default)]
pub struct WebStats {
    /// Requests answered.
    pub answered: AtomicU64,
    /// Requests that were told to come again.
    pub turned_away: AtomicU64,
    /// Connections that ended with an error: broken, too slow, no HTTP.
    pub broken: AtomicU64,
}

struct Server<F> {
    answer: F,
    answers: Semaphore,
    limits: Limits,
    stats: Arc<WebStats>,
}

/// Serves until `stop` is over, then lets running answers end.
///
/// `answer` makes the answer for a path, or `None` where there is nothing. It may block: it runs on a thread of its own,
/// one request at a time.
pub async fn serve<F>(
    listener: TcpListener,
    limits: Limits,
    stats: Arc<WebStats>,
    answer: F,
    stop: impl Future<Output = ()>,
) where
    F: Fn(&str) -> Option<Response> + Clone + Send + Sync + 'static,
{
    let connections = Arc::new(Semaphore::new(limits.connections));
    let server = Arc::new(Server { answer, answers: Semaphore::new(limits.answers), limits, stats });
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    if let Err(error) = connection(&server, stream).await {
                        server.stats.broken.fetch_add(1, Ordering::Relaxed);
                        tracing::debug!(%error, "connection");
                    }
                    drop(permit);
                });
            }
            // Descriptors are short, or the client has gone already: neither lasts.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Whoever is being answered gets a moment to read on.
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(Duration::from_secs(2), connections.acquire_many(all)).await;
}

async fn connection<F>(server: &Arc<Server<F>>, stream: TcpStream) -> Result<(), hyper::Error>
where
    F: Fn(&str) -> Option<Response> + Clone + Send + Sync + 'static,
{
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(server.limits.patience));
    stream.set_write_timeout(Some(server.limits.patience));
    let service = service_fn(move |request| {
        let server = Arc::clone(server);
        async move { Ok::<_, Infallible>(respond(&server, &request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.limits.patience)
        .max_buf_size(server.limits.head)
        .max_headers(64)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .await
}

async fn respond<F>(server: &Server<F>, request: &Request<Incoming>) -> hyper::Response<Full<Bytes>>
where
    F: Fn(&str) -> Option<Response> + Clone + Send + Sync + 'static,
{
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let Ok(Ok(_permit)) = tokio::time::timeout(server.limits.patience, server.answers.acquire()).await else {
        server.stats.turned_away.fetch_add(1, Ordering::Relaxed);
        let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "too many requests at the same time\n");
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    let (answer, path) = (server.answer.clone(), request.uri().path().to_owned());
    let answer = tokio::task::spawn_blocking(move || answer(&path)).await;
    server.stats.answered.fetch_add(1, Ordering::Relaxed);
    match answer {
        Ok(Some(answer)) => {
            let mut response = hyper::Response::new(Full::new(Bytes::from(answer.body)));
            *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
            response
        }
        Ok(None) => plain(StatusCode::NOT_FOUND, "there is no such page\n"),
        Err(error) => {
            tracing::error!(%error, "an answer could not be made");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be made: the log says why\n")
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
