//! One connection: handshake, requests, patience.

use std::{convert::Infallible, pin::pin, sync::Arc};

use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Limits,
    patience::{Transport, Watched},
    registry::{Entry, Peer},
    respond::respond,
    server::Server,
    stats::count,
};

/// Serves a connection until it ends, its client is too slow, its place is needed or the server has stopped.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream, entry: Entry) {
    let peer = &entry.peer;
    let stats = server.stats();
    tokio::select! {
        () = talk(&server, stream, peer) => {}
        () = peer.cut() => {
            count(&stats.connections_evicted);
            tracing::debug!("a connection was closed to make room");
        }
        () = impatience(peer, &server.limits) => {
            count(&stats.timeouts);
            tracing::debug!("a client was too slow");
        }
        () = server.over() => {}
    }
}

/// Returns when the client has been too slow.
async fn impatience(peer: &Peer, limits: &Limits) {
    // What happens meanwhile may bring the deadline nearer than it was, but not below the shortest time.
    let step = limits.stall_time.min(limits.head_time).min(limits.request_time) / 2;
    loop {
        let (deadline, now) = (peer.deadline(limits), Instant::now());
        if deadline <= now {
            return;
        }
        sleep_until(deadline.min(now + step)).await;
    }
}

async fn talk(server: &Arc<Server>, stream: TcpStream, peer: &Arc<Peer>) {
    // Answers are written whole: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let config = server.config.fresh().await;
    let transport = match &config.tls {
        None => Transport::Plain(stream),
        Some(tls) => match TlsAcceptor::from(Arc::clone(tls)).accept(stream).await {
            Ok(stream) => Transport::Tls(Box::new(stream)),
            Err(error) => {
                count(&server.stats().tls_failures);
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
        },
    };
    let http2 = matches!(&transport, Transport::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"));
    let io = TokioIo::new(Watched { transport, peer: Arc::clone(peer), heads: !http2 });
    let service = {
        let (server, peer) = (Arc::clone(server), Arc::clone(peer));
        service_fn(move |request: Request<Incoming>| {
            let (server, peer) = (Arc::clone(&server), Arc::clone(&peer));
            async move { Ok::<_, Infallible>(respond(&server, &peer, &request).await) }
        })
    };
    macro_rules! drive {
        ($connection:expr) => {{
            let mut connection = pin!($connection);
            tokio::select! {
                result = connection.as_mut() => result,
                () = server.stopping() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }};
    }
    let limits = &server.limits;
    let result = if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(64 << 10);
        drive!(builder.serve_connection(io, service))
    } else {
        let mut builder = http1::Builder::new();
        // hyper refuses less.
        builder.max_buf_size(limits.head_bytes.max(8 << 10)).max_headers(limits.headers).header_read_timeout(None);
        drive!(builder.serve_connection(io, service))
    };
    if let Err(error) = result {
        if error.is_parse() {
            count(&server.stats().malformed);
        }
        tracing::debug!(%error, "a connection ended early");
    }
}
