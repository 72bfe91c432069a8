//! What well-behaved clients get.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};

use super::support::{LONG, Running, count, exchange, metrics, rest};
use crate::serve::web::Limits;

#[tokio::test]
async fn get_head_and_what_is_not_there() {
    let server = Running::plain().await;
    let reply = server.get("/hello?x=1", "").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"));
    assert_eq!(reply.headers["content-type"], "text/plain; version=0.0.4");
    let head = server.send("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!((head.status, head.headers["content-length"].as_str(), head.body.len()), (200, "6", 0));
    assert_eq!(server.get("/nothing", "").await.status, 404);
    assert_eq!(server.get("/status/503", "").await.status, 503);
    assert_eq!(server.get("/status/9", "").await.status, 500);
    assert_eq!(server.get("/panic", "").await.status, 500);
    assert_eq!(server.get("/hello", "").await.status, 200);
    assert_eq!(server.stats().responses.each_ref().map(count), [0, 3, 0, 1, 3]);
    server.stop().await;
}

#[tokio::test]
async fn other_methods_and_bodies_are_refused() {
    let server = Running::plain().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let reply = server.send(&format!("{method} /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        assert_eq!((reply.status, reply.headers["allow"].as_str()), (405, "GET, HEAD"), "{method}");
    }
    // The connection ends with the refusal: nobody reads on to the body's end.
    let post = "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\nxxx";
    assert_eq!(server.send(post).await.status, 405);
    let get = "GET /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    assert_eq!(server.send(get).await.status, 413);
    assert_eq!(server.pages.made.load(Ordering::SeqCst), 0);
    server.stop().await;
}

#[tokio::test]
async fn gzip_for_those_who_take_it() {
    let server = Running::plain().await;
    let plain = server.get("/metrics", "").await;
    assert!(!plain.headers.contains_key("content-encoding"));
    assert_eq!(plain.headers["vary"], "Accept-Encoding");
    assert_eq!(plain.text(), metrics());
    let small = server.get("/metrics", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(small.headers["content-encoding"], "gzip");
    assert!(small.body.len() * 8 < plain.body.len(), "{} {}", small.body.len(), plain.body.len());
    assert_eq!(small.text(), metrics());
    // Not worth it.
    let tiny = server.get("/hello", "Accept-Encoding: gzip\r\n").await;
    assert!(!tiny.headers.contains_key("content-encoding"));
    server.stop().await;
}

#[tokio::test]
async fn a_connection_serves_many_requests_also_sent_ahead() {
    let server = Running::plain().await;
    let one = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(one.as_bytes()).await.unwrap();
        let mut bytes = [0; 4096];
        let n = stream.read(&mut bytes).await.unwrap();
        assert!(bytes[..n].ends_with(b"\r\n\r\nhello\n"));
    }
    stream.write_all(one.repeat(20).as_bytes()).await.unwrap();
    let reply = exchange(stream, last).await;
    assert_eq!(String::from_utf8(reply.body).unwrap().matches("hello").count(), 21);
    assert_eq!((count(&server.stats().connections), count(&server.stats().responses[1])), (1, 24));
    server.stop().await;
}

/// Many scrapes in parallel are one render, not many.
#[tokio::test]
async fn an_answer_in_the_making_is_shared() {
    let server = Running::plain().await;
    let mut statuses = Vec::new();
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let stream = server.connect().await;
        set.spawn(exchange(stream, "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    }
    while let Some(reply) = set.join_next().await {
        statuses.push(reply.unwrap().status);
    }
    assert_eq!(statuses, [200; 50]);
    let made = server.pages.made.load(Ordering::SeqCst);
    assert!(made <= 2, "{made}");
    server.stop().await;
}

#[tokio::test]
async fn few_answers_are_made_at_once_and_who_waits_too_long_is_told_so() {
    let limits = Limits { renders: 1, queue_time: Duration::from_millis(450), ..Limits::default() };
    let server = Running::with(limits, None).await;
    let mut set = tokio::task::JoinSet::new();
    // Without gzip, with it, and a third: three answers of 300 ms, one after the other.
    for headers in ["", "Accept-Encoding: gzip\r\n"] {
        let text = format!("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        let stream = server.connect().await;
        set.spawn(async move { exchange(stream, &text).await });
    }
    sleep(Duration::from_millis(50)).await;
    let first_two = async {
        let mut statuses = Vec::new();
        while let Some(reply) = set.join_next().await {
            statuses.push(reply.unwrap().status);
        }
        statuses
    };
    let (statuses, third) = tokio::join!(first_two, server.get("/hello", ""));
    assert_eq!(statuses, [200, 200]);
    assert_eq!((third.status, third.headers["retry-after"].as_str()), (503, "1"));
    assert_eq!(server.pages.most_at_once.load(Ordering::SeqCst), 1);
    assert_eq!(count(&server.stats().turned_away), 1);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let server = Running::with(Limits { render_time: Duration::from_millis(50), ..Limits::default() }, None).await;
    let reply = server.get("/slow", "").await;
    assert_eq!((reply.status, reply.text().as_str()), (503, "making the answer takes too long\n"));
    server.stop().await;
}

#[tokio::test]
async fn it_stops_after_what_is_running_and_soon() {
    let server = Running::plain().await;
    // One asks for nothing, one has an answer behind it, one is being answered.
    let silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    idle.read_exact(&mut first).await.unwrap();
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let (address, started) = (server.address, Instant::now());
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(rest(busy).await.ends_with(b"slow\n"));
    assert!(rest(idle).await.ends_with(b"hello\n"));
    assert_eq!(rest(silent).await, b"");
    let refused = timeout(LONG, tokio::net::TcpStream::connect(address)).await.unwrap();
    assert!(refused.is_err());
}

#[tokio::test]
async fn it_stops_although_a_client_does_not_read() {
    let server = Running::with(Limits { grace: Duration::from_millis(300), ..Limits::default() }, None).await;
    let mut stuck = server.connect().await;
    stuck.write_all(b"GET /big/1 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    server.stop().await;
    assert!((300..2000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}
