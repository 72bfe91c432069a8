//! From a request to an answer.

use std::{sync::Arc, time::Instant};

use hyper::{
    HeaderMap, Method, Request, StatusCode, Version,
    body::{Body, Bytes, Incoming},
    header::{
        ALLOW, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
        RETRY_AFTER, VARY, WWW_AUTHENTICATE,
    },
};

use super::{
    WebConfig,
    auth::Verdict,
    body::{self, Answer},
    gzip,
    registry::Peer,
    render::{Outcome, Page},
    server::Server,
    stats::count,
};

/// Answers a request.
pub(super) async fn respond(server: &Server, peer: &Arc<Peer>, request: &Request<Incoming>) -> hyper::Response<Answer> {
    let running = body::Request::new(peer);
    let config = server.config.fresh().await;
    let reply = reply(server, &config, request).await;
    let mut headers = reply.headers;
    headers.extend(config.headers.iter().cloned());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    // What was sent after the head is not read: the connection can't go on (HTTP/2 keeps requests apart by itself).
    if !request.body().is_end_stream() && request.version() < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let bytes = if request.method() == Method::HEAD { Bytes::new() } else { reply.body };
    let mut response = hyper::Response::new(Answer::new(bytes, &running));
    (*response.status_mut(), *response.headers_mut()) = (reply.status, headers);
    server.stats().answered(reply.status.as_u16());
    response
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn text(status: StatusCode, text: &'static str) -> Self {
        let text_plain = HeaderValue::from_static("text/plain; charset=utf-8");
        Self {
            status,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, text_plain)]),
            body: Bytes::from_static(text.as_bytes()),
        }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    fn busy(server: &Server, text: &'static str) -> Self {
        count(&server.stats().turned_away);
        Self::text(StatusCode::SERVICE_UNAVAILABLE, text).with(RETRY_AFTER, "1")
    }

    fn page(page: Page) -> Self {
        let Page { status, content_type, gzip, body } = page;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let reply = Self { status, headers, body }.with(VARY, "Accept-Encoding");
        if gzip { reply.with(CONTENT_ENCODING, "gzip") } else { reply }
    }
}

async fn reply(server: &Server, config: &WebConfig, request: &Request<Incoming>) -> Reply {
    if config.rate.as_ref().is_some_and(|rate| !rate.allow(Instant::now())) {
        return Reply::text(StatusCode::TOO_MANY_REQUESTS, "more requests than the configured rate\n")
            .with(RETRY_AFTER, "1");
    }
    if !config.users.is_empty() {
        match server.gate.judge(&config.users, request.headers().get(AUTHORIZATION)).await {
            Verdict::Welcome => {}
            Verdict::Busy => return Reply::busy(server, "too many passwords wait to be checked\n"),
            Verdict::Denied => {
                count(&server.stats().denied);
                return Reply::text(StatusCode::UNAUTHORIZED, "a user and a password are needed\n")
                    .with(WWW_AUTHENTICATE, "Basic realm=\"zctrace\", charset=\"UTF-8\"");
            }
        }
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return Reply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n").with(ALLOW, "GET, HEAD");
    }
    if !request.body().is_end_stream() {
        return Reply::text(StatusCode::PAYLOAD_TOO_LARGE, "a request has no body here\n");
    }
    match server.renderer.page(request.uri().path(), gzip::accepted(request.headers())).await {
        Outcome::Page(page) => Reply::page(page),
        Outcome::Nothing => Reply::text(StatusCode::NOT_FOUND, "there is no such page\n"),
        Outcome::Busy => Reply::busy(server, "too many requests at the same time\n"),
        Outcome::Late => Reply::busy(server, "making the answer takes too long\n"),
        Outcome::Failed => {
            Reply::text(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be made: the log says why\n")
        }
    }
}
