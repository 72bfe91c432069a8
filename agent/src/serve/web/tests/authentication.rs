//! Basic authentication over HTTP, the rate limit, and configured headers.

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{task::JoinSet, time::sleep};

use super::{
    certificates::Folder,
    support::{Running, count, exchange},
};
use crate::serve::web::Limits;

fn authorization(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

fn users(cost: u32) -> String {
    format!(
        "basic_auth_users:\n  alice: {}\n  bob: {}\n",
        bcrypt::hash("wonder", cost).unwrap(),
        bcrypt::hash("builder", 4).unwrap()
    )
}

#[tokio::test]
async fn users_and_passwords() {
    let folder = Folder::new();
    let server = Running::with(Limits::default(), Some(&folder.config(&users(5)))).await;
    assert!(server.handle.current().is_authenticated());
    for (headers, status) in [
        (authorization("alice", "wonder"), 200),
        (authorization("bob", "builder"), 200),
        (authorization("bob", "wonder"), 401),
        (authorization("alice", ""), 401),
        (authorization("nobody", "wonder"), 401),
        (authorization("nobody", "fakepassword"), 401),
        ("Authorization: Bearer wonder\r\n".to_owned(), 401),
        (String::new(), 401),
    ] {
        let reply = server.get("/hello", &headers).await;
        assert_eq!(reply.status, status, "{headers}");
        assert_eq!(reply.headers.contains_key("www-authenticate"), status == 401);
    }
    // Who may not ask does not learn what there is.
    assert_eq!(server.get("/nothing", "").await.status, 401);
    assert_eq!(server.send("POST /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.status, 401);
    assert_eq!(count(&server.stats().denied), 8);
    server.stop().await;
}

/// The second time costs no bcrypt: with a cost of 12 one takes hundreds of milliseconds, here in a debug build more.
#[tokio::test]
async fn a_password_is_checked_once() {
    let folder = Folder::new();
    let server = Running::with(Limits::default(), Some(&folder.config(&users(12)))).await;
    let right = authorization("alice", "wonder");
    let time = async || {
        let started = Instant::now();
        assert_eq!(server.get("/hello", &right).await.status, 200);
        started.elapsed()
    };
    let (first, second) = (time().await, time().await);
    assert!(second * 4 < first, "{first:?} {second:?}");
    server.stop().await;
}

/// While guesses are checked and wait, those who are known are answered, and the number that waits is bounded.
#[tokio::test]
async fn guessing_does_not_keep_others_out() {
    let folder = Folder::new();
    let limits = Limits { passwords: 3, ..Limits::default() };
    let server = Running::with(limits, Some(&folder.config(&users(10)))).await;
    let right = authorization("alice", "wonder");
    assert_eq!(server.get("/hello", &right).await.status, 200);
    let mut guesses = JoinSet::new();
    for guess in 0..20 {
        let text = format!(
            "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n",
            authorization("alice", &guess.to_string())
        );
        let stream = server.connect().await;
        guesses.spawn(async move { exchange(stream, &text).await.status });
    }
    sleep(Duration::from_millis(10)).await;
    assert_eq!(server.get("/hello", &right).await.status, 200);
    let mut statuses = guesses.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [&[401; 3][..], &[503; 17]].concat());
    server.stop().await;
}

#[tokio::test]
async fn rate_limit_and_headers() {
    let folder = Folder::new();
    let config = folder.config(
        "rate_limit: {interval: 1h, burst: 2}\nhttp_server_config:\n  headers:\n    X-Content-Type-Options: nosniff\n    \
         Content-Security-Policy: default-src 'self'\n    X-XSS-Protection: ''\n",
    );
    let server = Running::with(Limits::default(), Some(&config)).await;
    for status in [200, 200, 429, 429] {
        let reply = server.get("/hello", "").await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert_eq!(reply.headers["content-security-policy"], "default-src 'self'");
        assert!(!reply.headers.contains_key("x-xss-protection"));
    }
    server.stop().await;
}
