//! TLS: versions, suites, clients' certificates, HTTP/2.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::SanType;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::rustls::ProtocolVersion;

use super::{
    certificates::{Client, Folder, NEW, OLD},
    support::{BIG, LONG, Reply, Running, count, rest},
};
use crate::serve::web::Limits;

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Status of `/hello`; `None` where the server does not talk to this client.
async fn hello(folder: &Folder, server: &Running, client: &Client) -> Option<u16> {
    let mut stream = timeout(LONG, folder.connect(server.address, client)).await.unwrap().ok()?;
    stream.write_all(HELLO).await.ok()?;
    let mut bytes = Vec::new();
    let read = timeout(LONG, stream.read_to_end(&mut bytes)).await.unwrap();
    (read.is_ok() && !bytes.is_empty()).then(|| Reply::parse(&bytes).status)
}

async fn serving(folder: &Folder, more: &str) -> Running {
    Running::with(Limits::default(), Some(&folder.tls(more))).await
}

#[tokio::test]
async fn versions() {
    let folder = Folder::new();
    let only = |versions| Client { versions, ..Client::default() };
    for (more, old, new) in [
        ("", true, true),
        ("  min_version: TLS13\n", false, true),
        ("  max_version: TLS12\n", true, false),
        ("  min_version: TLS12\n  max_version: TLS13\n", true, true),
    ] {
        let server = serving(&folder, more).await;
        assert_eq!(hello(&folder, &server, &only(&OLD)).await.is_some(), old, "{more}");
        assert_eq!(hello(&folder, &server, &only(&NEW)).await.is_some(), new, "{more}");
        assert_eq!(hello(&folder, &server, &Client::default()).await, Some(200), "{more}");
        assert_eq!(count(&server.stats().tls_failures), u64::from(!old) + u64::from(!new));
        server.stop().await;
    }
}

#[tokio::test]
async fn cipher_suites_and_curves() {
    let folder = Folder::new();
    let server = serving(
        &folder,
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP384]\n",
    )
    .await;
    let only = |suite| Client { versions: &OLD, suite: Some(suite), ..Client::default() };
    assert_eq!(hello(&folder, &server, &only("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")).await, Some(200));
    assert_eq!(hello(&folder, &server, &only("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")).await, None);
    let stream = folder.connect(server.address, &Client::default()).await.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(format!("{:?}", session.negotiated_key_exchange_group().unwrap().name()), "secp384r1");
    server.stop().await;
}

#[tokio::test]
async fn clients_certificates() {
    let folder = Folder::new();
    let (none, known, stranger) = (Client::default(), folder.client(Vec::new()), folder.stranger());
    for (kind, expected) in [
        ("NoClientCert", [true, true, true]),
        ("RequestClientCert", [true, true, true]),
        ("RequireAnyClientCert", [false, true, true]),
        ("RequireClientCert", [false, true, true]),
        ("VerifyClientCertIfGiven", [true, true, false]),
        ("RequireAndVerifyClientCert", [false, true, false]),
    ] {
        let ca = if kind == "NoClientCert" { "" } else { "  client_ca_file: ca.crt\n" };
        let server = serving(&folder, &format!("  client_auth_type: {kind}\n{ca}")).await;
        for versions in [&OLD, &NEW] {
            let mut served = [false; 3];
            for (served, client) in served.iter_mut().zip([&none, &known, &stranger]) {
                let client = Client { versions, ..client.clone() };
                *served = hello(&folder, &server, &client).await == Some(200);
            }
            assert_eq!(served, expected, "{kind} {versions:?}");
        }
        let refused = expected.iter().filter(|served| !**served).count() as u64 * 2;
        assert_eq!(count(&server.stats().tls_failures), refused, "{kind}");
        server.stop().await;
    }
}

#[tokio::test]
async fn names_in_clients_certificates() {
    let folder = Folder::new();
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let server = serving(
        &folder,
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: \
         [prometheus.example, 10.1.2.3, '2001:db8::1', ops@example.org, 'spiffe://example/prometheus']\n",
    )
    .await;
    for (names, allowed) in [
        (vec![dns("prometheus.example")], true),
        (vec![dns("other.example"), dns("prometheus.example")], true),
        (vec![SanType::IpAddress([10, 1, 2, 3].into())], true),
        (vec![SanType::IpAddress("2001:db8::1".parse().unwrap())], true),
        (vec![SanType::Rfc822Name("ops@example.org".try_into().unwrap())], true),
        (vec![SanType::URI("spiffe://example/prometheus".try_into().unwrap())], true),
        (vec![dns("prometheus.example.org")], false),
        (vec![dns("*.example")], false),
        (vec![SanType::IpAddress([10, 1, 2, 4].into())], false),
        (Vec::new(), false),
    ] {
        let client = folder.client(names.clone());
        assert_eq!(hello(&folder, &server, &client).await.is_some(), allowed, "{names:?}");
    }
    // The right name from the wrong authority; no certificate.
    assert_eq!(hello(&folder, &server, &folder.stranger()).await, None);
    assert_eq!(hello(&folder, &server, &Client::default()).await, None);
    server.stop().await;
    // Where certificates are not verified, names are still asked for, and so is a certificate.
    let server =
        serving(&folder, "  client_auth_type: RequestClientCert\n  client_allowed_sans: [prometheus.example]\n").await;
    assert_eq!(hello(&folder, &server, &folder.stranger()).await, Some(200));
    assert_eq!(hello(&folder, &server, &folder.client(vec![dns("other.example")])).await, None);
    assert_eq!(hello(&folder, &server, &Client::default()).await, None);
    server.stop().await;
}

#[tokio::test]
async fn broken_handshakes_are_counted_and_cut() {
    let folder = Folder::new();
    let limits = Limits { head_time: Duration::from_millis(300), ..Limits::default() };
    let server = Running::with(limits, Some(&folder.tls(""))).await;
    let mut plain = server.connect().await;
    plain.write_all(HELLO).await.unwrap();
    rest(plain).await;
    assert_eq!(count(&server.stats().tls_failures), 1);
    let silent = server.connect().await;
    assert_eq!(rest(silent).await, b"");
    assert_eq!(count(&server.stats().timeouts), 1);
    assert_eq!(hello(&folder, &server, &Client::default()).await, Some(200));
    server.stop().await;
}

type Sender = http2::SendRequest<Empty<Bytes>>;

async fn http2(folder: &Folder, server: &Running) -> Sender {
    let stream = folder.connect(server.address, &Client { http2: true, ..Client::default() }).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str, path: &str) -> Request<Empty<Bytes>> {
    Request::builder().method(method).uri(format!("https://localhost{path}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn http_2() {
    let folder = Folder::new();
    let server = serving(&folder, "http_server_config:\n  headers: {X-Frame-Options: deny}\n").await;
    let mut sender = http2(&folder, &server).await;
    for (method, path, status, length) in [
        ("GET", "/hello", 200, 6),
        ("HEAD", "/hello", 200, 0),
        ("POST", "/hello", 405, 18),
        ("GET", "/big/1", 200, BIG),
    ] {
        let reply = sender.send_request(request(method, path)).await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.headers()["x-frame-options"].as_bytes()), (status, &b"deny"[..]));
        assert_eq!(reply.into_body().collect().await.unwrap().to_bytes().len(), length, "{method} {path}");
    }
    server.stop().await;
    // Refused where it is switched off.
    let server = serving(&folder, "http_server_config:\n  http2: false\n").await;
    let client = Client { http2: true, ..Client::default() };
    assert!(folder.connect(server.address, &client).await.is_err());
    assert_eq!(hello(&folder, &server, &Client::default()).await, Some(200));
    server.stop().await;
}

/// On HTTP/2 a client holds an answer back without holding the connection back.
#[tokio::test]
async fn an_http_2_client_that_does_not_read_is_cut_off() {
    let folder = Folder::new();
    let limits = Limits { request_time: Duration::from_millis(600), ..Limits::default() };
    let server = Running::with(limits, Some(&folder.tls(""))).await;
    let mut sender = http2(&folder, &server).await;
    let stuck = sender.send_request(request("GET", "/big/1")).await.unwrap();
    sleep(Duration::from_millis(400)).await;
    assert_eq!(sender.send_request(request("HEAD", "/hello")).await.unwrap().status(), 200);
    sleep(Duration::from_millis(700)).await;
    assert_eq!(count(&server.stats().timeouts), 1);
    assert!(stuck.into_body().collect().await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn a_stopping_server_ends_http_2_too() {
    let folder = Folder::new();
    let server = serving(&folder, "").await;
    let mut sender = http2(&folder, &server).await;
    let slow = tokio::spawn(sender.send_request(request("GET", "/slow")));
    sleep(Duration::from_millis(100)).await;
    let address = server.address;
    server.stop().await;
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert!(TcpStream::connect(address).await.is_err());
}
