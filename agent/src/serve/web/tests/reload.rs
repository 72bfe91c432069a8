//! Changes of the configuration while it is in use.

use std::{fs, os::unix::fs::symlink, time::Duration};

use tokio::{io::AsyncWriteExt, time::sleep};

use super::{
    certificates::{Client, Folder},
    support::{Reply, Running, count, rest},
};
use crate::serve::web::Limits;

/// Longer than the time within which files are not looked at again.
const A_LOOK: Duration = Duration::from_millis(1100);

async fn hello(folder: &Folder, server: &Running) -> Option<Vec<u8>> {
    let mut stream = folder.connect(server.address, &Client::default()).await.ok()?;
    let certificate = stream.get_ref().1.peer_certificates()?[0].to_vec();
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(Reply::parse(&rest(stream).await).status, 200);
    Some(certificate)
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_half_of_one_is_not() {
    let folder = Folder::new();
    let config = folder.tls("");
    let server = Running::with(Limits::default(), Some(&config)).await;
    let first = hello(&folder, &server).await.unwrap();
    let before = (fs::read(folder.path("server.crt")).unwrap(), fs::read(folder.path("server.key")).unwrap());
    let (_, new_key) = folder.renew();
    // The certificate is there, its key is not yet: the first pair stays.
    fs::write(folder.path("server.key"), &before.1).unwrap();
    sleep(A_LOOK).await;
    for _ in 0..3 {
        assert_eq!(hello(&folder, &server).await.unwrap(), first);
    }
    sleep(A_LOOK).await;
    assert_eq!(hello(&folder, &server).await.unwrap(), first);
    assert_eq!((count(&server.stats().reloads), count(&server.stats().reloads_failed)), (0, 1));
    folder.write("server.key", &new_key);
    sleep(A_LOOK).await;
    assert_ne!(hello(&folder, &server).await.unwrap(), first);
    assert_eq!((count(&server.stats().reloads), count(&server.stats().reloads_failed)), (1, 1));
    server.stop().await;
}

#[tokio::test]
async fn a_broken_file_keeps_what_was_in_force() {
    let folder = Folder::new();
    let users = |password: &str| format!("basic_auth_users: {{alice: {}}}\n", bcrypt::hash(password, 4).unwrap());
    let config = folder.config(&users("one"));
    let server = Running::with(Limits::default(), Some(&config)).await;
    let asks = async |password: &str| {
        let text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("alice:{password}"));
        server.get("/hello", &format!("Authorization: Basic {text}\r\n")).await.status
    };
    assert_eq!((asks("one").await, asks("two").await), (200, 401));
    for broken in ["basic_auth_users: {alice: plain}\n", "basic_auth_users: [", "nonsense: 1\n", "\0"] {
        folder.config(broken);
        assert!(server.handle.reload().is_err());
        assert_eq!((asks("one").await, asks("two").await), (200, 401), "{broken}");
    }
    fs::remove_file(&config).unwrap();
    let error = server.handle.reload().unwrap_err().to_string();
    assert!(error.contains("web.yml") && error.contains("No such file"), "{error}");
    assert_eq!(asks("one").await, 200);
    assert_eq!(count(&server.stats().reloads_failed), 5);
    folder.config(&users("two"));
    server.handle.reload().unwrap();
    assert_eq!((asks("one").await, asks("two").await), (401, 200));
    assert_eq!(count(&server.stats().reloads), 1);
    server.stop().await;
}

/// Without anybody saying so, also where a link changes, as Kubernetes does it, and from plain to TLS.
#[tokio::test]
async fn changes_are_seen_behind_a_link_and_encryption_comes_and_goes() {
    let folder = Folder::new();
    let plain = folder.write("plain.yml", "http_server_config: {http2: true}\n");
    let tls = folder.tls("");
    let link = folder.path("link.yml");
    symlink(&plain, &link).unwrap();
    let server = Running::with(Limits::default(), Some(&link)).await;
    assert_eq!(server.get("/hello", "").await.status, 200);
    for (target, encrypted) in [(&tls, true), (&plain, false)] {
        symlink(target, folder.path("next")).unwrap();
        fs::rename(folder.path("next"), &link).unwrap();
        sleep(A_LOOK).await;
        assert_eq!(hello(&folder, &server).await.is_some(), encrypted);
        assert_eq!(server.handle.current().is_encrypted(), encrypted);
    }
    assert_eq!(server.get("/hello", "").await.status, 200);
    server.stop().await;
}

/// The rights of a file that was not there yet count once it comes.
#[tokio::test]
async fn a_file_that_comes_later_is_taken() {
    let folder = Folder::new();
    let config = folder.config("");
    let server = Running::with(Limits::default(), Some(&config)).await;
    folder.config("tls_server_config: {cert_file: new.crt, key_file: new.key}\n");
    assert!(server.handle.reload().is_err());
    assert_eq!(server.get("/hello", "").await.status, 200);
    fs::copy(folder.path("server.crt"), folder.path("new.crt")).unwrap();
    fs::copy(folder.path("server.key"), folder.path("new.key")).unwrap();
    sleep(A_LOOK).await;
    assert!(hello(&folder, &server).await.is_some());
    server.stop().await;
}
