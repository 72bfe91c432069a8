//! What hostile and broken clients get, and that others are served all the same.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::support::{BIG, LONG, Reply, Running, count, exchange, rest};
use crate::serve::web::Limits;

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn impatient() -> Limits {
    let short = Duration::from_millis(300);
    Limits { head_time: short, idle_time: short * 2, stall_time: short, ..Limits::default() }
}

async fn get(stream: TcpStream, path: &str) -> Reply {
    exchange(stream, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn garbage_and_heads_beyond_the_limits() {
    let server = Running::plain().await;
    assert_eq!(server.send("\r\n\x01\x02nonsense\r\n\r\n").await.status, 400);
    assert_eq!(server.send("GET / HTTP/9.9\r\n\r\n").await.status, 400);
    // A TLS handshake on a plain port.
    assert_eq!(server.send("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03").await.status, 400);
    let pipelined = server.send(&format!("{}garbage garbage\r\n\r\n", HELLO.replace("close", "keep-alive"))).await;
    assert_eq!(pipelined.status, 200);
    assert!(String::from_utf8_lossy(&pipelined.body).contains("HTTP/1.1 400 "));
    assert_eq!(server.get("/hello", &format!("X: {}\r\n", "x".repeat(15 << 10))).await.status, 200);
    assert_eq!(server.get("/hello", &format!("X: {}\r\n", "x".repeat(64 << 10))).await.status, 431);
    assert_eq!(server.get("/hello", &"X: y\r\n".repeat(60)).await.status, 200);
    assert_eq!(server.get("/hello", &"X: y\r\n".repeat(100)).await.status, 431);
    let long = server.get(&format!("/{}", "x".repeat(64 << 10)), "").await;
    assert!([414, 431].contains(&long.status), "{}", long.status);
    assert_eq!(server.get("/hello", "").await.status, 200);
    assert!(count(&server.stats().malformed) >= 7);
    server.stop().await;
}

/// A head that never ends is not kept: the server closes when it is too large.
#[tokio::test]
async fn an_endless_head_is_cut() {
    let server = Running::plain().await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /hello HTTP/1.1\r\n").await.unwrap();
    let line = format!("X: {}\r\n", "x".repeat(1000));
    let sent = timeout(LONG, async {
        let mut sent = 0_usize;
        while stream.write_all(line.as_bytes()).await.is_ok() {
            sent += line.len();
        }
        sent
    });
    // What is in the kernel's buffers is not in the server's memory.
    assert!(sent.await.unwrap() < 32 << 20);
    server.stop().await;
}

#[tokio::test]
async fn slow_heads_are_cut_off() {
    let server = Running::with(impatient(), None).await;
    let started = Instant::now();
    // One says nothing, one drips, one drips its second head.
    let silent = server.connect().await;
    let mut drip = server.connect().await;
    let mut later = server.connect().await;
    later.write_all(HELLO.replace("close", "keep-alive").as_bytes()).await.unwrap();
    let dripping = async {
        for byte in HELLO.bytes().cycle() {
            if drip.write_all(&[byte]).await.is_err() || later.write_all(b"G").await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, dripping).await.unwrap();
    assert_eq!(rest(silent).await, b"");
    let elapsed = started.elapsed();
    assert!((300..3000).contains(&elapsed.as_millis()), "{elapsed:?}");
    sleep(Duration::from_millis(700)).await;
    assert_eq!(count(&server.stats().timeouts), 3);
    assert_eq!(server.get("/hello", "").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn idle_connections_end_but_not_as_soon_as_slow_ones() {
    let server = Running::with(impatient(), None).await;
    let mut stream = server.connect().await;
    let ask = HELLO.replace("close", "keep-alive");
    let mut bytes = [0; 4096];
    for _ in 0..2 {
        stream.write_all(ask.as_bytes()).await.unwrap();
        assert!(stream.read(&mut bytes).await.unwrap() > 0);
        // Longer than a head may take.
        sleep(Duration::from_millis(450)).await;
    }
    assert_eq!(rest(stream).await, b"");
    assert_eq!(count(&server.stats().timeouts), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let server = Running::with(impatient(), None).await;
    let mut stuck = server.connect().await;
    stuck.write_all(b"GET /big/1 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(900)).await;
    assert_eq!(count(&server.stats().timeouts), 1);
    assert!(rest(stuck).await.len() < BIG);
    // One that reads slowly, but reads, gets all of it.
    let mut slow = server.connect().await;
    slow.write_all(HELLO.replace("/hello", "/big/2").as_bytes()).await.unwrap();
    let (mut bytes, mut total) = (vec![0; 1 << 20], 0);
    loop {
        let n = timeout(LONG, slow.read(&mut bytes)).await.unwrap().unwrap();
        total += n;
        if n == 0 {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(total > BIG);
    server.stop().await;
}

/// Those who do not read hold all the memory that answers may take: they lose it to those who do.
#[tokio::test]
async fn answers_in_memory_are_few() {
    let limits = Limits { bodies: 3, ..Limits::default() };
    let server = Running::with(limits, None).await;
    let mut stuck = Vec::new();
    for page in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(format!("GET /big/{page} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        stuck.push(stream);
    }
    sleep(Duration::from_millis(300)).await;
    assert_eq!(server.pages.made.load(Ordering::SeqCst), 3);
    // They have not been stuck for long: who comes now waits, and is told to come again.
    let early = Instant::now();
    let reply = server.get("/big/early", "").await;
    assert_eq!(reply.status, 503);
    assert!(early.elapsed() < Duration::from_secs(5));
    assert_eq!(server.pages.made.load(Ordering::SeqCst), 3);
    let reply = server.get("/big/later", "").await;
    assert_eq!((reply.status, reply.body.len()), (200, BIG));
    assert_eq!(count(&server.stats().connections_evicted), 3);
    server.stop().await;
}

fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[tokio::test]
async fn a_thousand_at_once_are_all_served() {
    raise_descriptors();
    let server = Running::plain().await;
    let address = server.address;
    let mut clients = JoinSet::new();
    for _ in 0..1000 {
        clients.spawn(async move {
            // The kernel's queue may overflow: it tries again by itself, after a second.
            let stream = TcpStream::connect(address).await.unwrap();
            get(stream, "/metrics").await.status
        });
    }
    while let Some(status) = clients.join_next().await {
        assert!([200, 503].contains(&status.unwrap()));
    }
    assert_eq!(count(&server.stats().connections), 1000);
    assert_eq!(count(&server.stats().responses[1]) + count(&server.stats().responses[4]), 1000);
    assert!(count(&server.stats().responses[1]) > 900, "{:?}", server.stats());
    let made = server.pages.made.load(Ordering::SeqCst);
    assert!(made < 500, "{made}");
    assert!(server.pages.most_at_once.load(Ordering::SeqCst) <= Limits::default().renders);
    server.stop().await;
}

/// A thousand that connect and say nothing take all places; who asks is served within seconds all the same.
#[tokio::test]
async fn a_thousand_silent_clients_do_not_keep_others_out() {
    raise_descriptors();
    let server = Running::plain().await;
    let mut silent = JoinSet::new();
    for _ in 0..1000 {
        let address = server.address;
        silent.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /hello HT").await.unwrap();
            sleep(LONG).await;
            drop(stream);
        });
    }
    sleep(Duration::from_millis(500)).await;
    assert_eq!(count(&server.stats().connections), Limits::default().connections as u64);
    let started = Instant::now();
    assert_eq!(server.get("/hello", "").await.status, 200);
    // 128 places a second, and a thousand before it.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    // How many were before it depends on the length of the kernel's queue.
    assert!(count(&server.stats().connections_evicted) > 0);
    assert!(count(&server.stats().connections_delayed) > 0);
    silent.abort_all();
    server.stop().await;
}

/// Clients that vanish in every phase leave nothing behind.
#[tokio::test]
async fn clients_that_vanish_leave_their_place() {
    let server = Running::with(Limits { connections: 4, ..Limits::default() }, None).await;
    for text in ["", "GET /hello HT", "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", "GET /big/1 HTTP/1.1\r\nHost: x\r\n\r\n"]
    {
        for _ in 0..5 {
            let mut stream = server.connect().await;
            stream.write_all(text.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(10)).await;
            drop(stream);
        }
    }
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        clients.spawn(get(server.connect().await, "/slow"));
    }
    while let Some(reply) = timeout(LONG, clients.join_next()).await.unwrap() {
        assert_eq!(reply.unwrap().status, 200);
    }
    server.stop().await;
}
