//! What the web configuration file may say, and what is said about it.

use std::fs;

use proptest::prelude::*;

use super::certificates::Folder;
use crate::serve::web::check;

/// A hash as it may stand in a file, and parts of it that nothing may show.
const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

#[test]
fn good_files() {
    let folder = Folder::new();
    let (cert, key) = folder.renew();
    let indent = |pem: &str| pem.lines().fold(String::new(), |text, line| format!("{text}    {line}\n"));
    for (text, encrypted, authenticated) in [
        (String::new(), false, false),
        ("# nothing\n---\n".to_owned(), false, false),
        ("tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n".to_owned(), false, false),
        ("tls_server_config: {}\n".to_owned(), false, false),
        (format!("basic_auth_users: {{a: {HASH}, 'b c': \"{HASH}\", 12: {HASH}}}\n"), false, true),
        ("http_server_config: {headers: {X-XSS-Protection: 1, X-Frame-Options: }}\n".to_owned(), false, false),
        ("rate_limit: {interval: 0, burst: 0}\n".to_owned(), false, false),
        ("rate_limit: {interval: 1m30s, burst: 3}\n".to_owned(), false, false),
        ("tls_server_config: {cert_file: server.crt, key_file: server.key, cipher_suites: [], curve_preferences:}\n".to_owned(), true, false),
        (format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", indent(&cert), indent(&key)), true, false),
        (format!("tls_server_config: {{cert_file: {0}/server.crt, key_file: {0}/server.key}}\n", folder.dir.path().display()), true, false),
        (
            "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_auth_type: VerifyClientCertIfGiven\n  \
             client_ca_file: ca.crt\n  client_allowed_sans: [a, b]\n  min_version: TLS12\n  max_version: TLS13\n  cipher_suites:\n  \
             - TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256\n  - TLS_CHACHA20_POLY1305_SHA256\n  prefer_server_cipher_suites: false\n  \
             curve_preferences: [X25519, CurveP256, CurveP384]\nhttp_server_config: {http2: false, headers: {Strict-Transport-Security: max-age=1}}\n"
                .to_owned(),
            true,
            false,
        ),
    ] {
        let config = check(&folder.config(&text)).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((config.is_encrypted(), config.is_authenticated()), (encrypted, authenticated), "{text}");
        let shown = format!("{config:?}");
        assert!(!shown.contains("X0h1gDs") && !shown.contains("PRIVATE"), "{shown}");
    }
}

/// Each fault with what the message must hold: where it is and what to do.
#[test]
fn bad_files() {
    let folder = Folder::new();
    let other = Folder::new();
    fs::copy(other.path("server.key"), folder.path("other.key")).unwrap();
    folder.write("empty.pem", "");
    let tls = |more: &str| format!("tls_server_config: {{cert_file: server.crt, key_file: server.key, {more}}}\n");
    for (text, words) in [
        ("tls_server_config: [".to_owned(), &["web.yml:1", "valid YAML"][..]),
        ("a: b: c\n".to_owned(), &["web.yml:1", "valid YAML"]),
        ("http_server_config:\nhttp_server_config:\n".to_owned(), &["`http_server_config` is said twice"]),
        ("- a\n".to_owned(), &["must be a map", "tls_server_config"]),
        ("tls_config: {}\n".to_owned(), &["unknown key `tls_config`", "tls_server_config"]),
        (tls("certfile: x"), &["tls_server_config", "unknown field `certfile`", "`cert_file`"]),
        ("http_server_config: {http3: true}\n".to_owned(), &["http_server_config", "unknown field `http3`", "`http2`"]),
        ("http_server_config: {http2: 1}\n".to_owned(), &["http_server_config", "expected a boolean"]),
        ("tls_server_config: {key_file: server.key}\n".to_owned(), &["tls_server_config", "cert_file is missing"]),
        ("tls_server_config: {cert_file: server.crt, key_file: ''}\n".to_owned(), &["key_file is missing"]),
        ("tls_server_config: {min_version: TLS13}\n".to_owned(), &["cert_file is missing"]),
        (
            "tls_server_config: {cert_file: none.crt, key_file: server.key}\n".to_owned(),
            &["none.crt can't be read", "No such file"],
        ),
        ("tls_server_config: {cert_file: ., key_file: server.key}\n".to_owned(), &["no regular file"]),
        (
            "tls_server_config: {cert_file: empty.pem, key_file: server.key}\n".to_owned(),
            &["cert_file holds no certificate"],
        ),
        (
            "tls_server_config: {cert_file: server.crt, key_file: server.crt}\n".to_owned(),
            &["key_file holds no private key"],
        ),
        (
            "tls_server_config: {cert_file: server.crt, key_file: other.key}\n".to_owned(),
            &["certificate and key can't be used"],
        ),
        (tls("key: abc"), &["key or key_file, not both"]),
        (tls("client_auth_type: Sometimes"), &["client_auth_type", "`Sometimes`", "RequireAndVerifyClientCert"]),
        (tls("client_auth_type: RequireAndVerifyClientCert"), &["needs a client_ca_file"]),
        (tls("client_ca_file: ca.crt"), &["client_ca_file without a client_auth_type"]),
        (tls("client_allowed_sans: [a]"), &["client_allowed_sans without a client_auth_type"]),
        (
            tls("client_auth_type: VerifyClientCertIfGiven, client_ca_file: empty.pem"),
            &["client_ca_file holds no certificate"],
        ),
        (tls("min_version: TLS10"), &["min_version", "TLS10", "choose TLS12"]),
        (tls("max_version: TLS11"), &["max_version", "choose TLS12"]),
        (tls("min_version: SSL3"), &["`SSL3`", "choose TLS12 or TLS13"]),
        (tls("min_version: TLS13, max_version: TLS12"), &["min_version is above max_version"]),
        (
            tls("cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]"),
            &["`TLS_RSA_WITH_AES_128_CBC_SHA`", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        ),
        (tls("cipher_suites: [TLS_AES_128_GCM_SHA256], max_version: TLS12"), &["no cipher suite is left"]),
        (tls("curve_preferences: [CurveP521]"), &["`CurveP521`", "CurveP384"]),
        ("http_server_config: {headers: {X-XSS-Protection: [1]}}\n".to_owned(), &["X-XSS-Protection", "text"]),
        ("http_server_config: {headers: {X-Other: a}}\n".to_owned(), &["`X-Other` can't be set", "X-Frame-Options"]),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}\n".to_owned(),
            &["X-Frame-Options", "deny or sameorigin"],
        ),
        (
            "http_server_config: {headers: {X-XSS-Protection: \"a\\nb\"}}\n".to_owned(),
            &["X-XSS-Protection", "characters"],
        ),
        ("rate_limit: {interval: 1, burst: 1}\n".to_owned(), &["rate_limit", "no unit"]),
        ("rate_limit: {interval: often, burst: 1}\n".to_owned(), &["rate_limit", "`often`", "1s"]),
        ("rate_limit: {interval: 1s}\n".to_owned(), &["rate_limit", "burst"]),
        ("basic_auth_users: {alice: 12}\n".to_owned(), &["basic_auth_users", "`alice`", "quotes"]),
        (
            format!("basic_auth_users: {{alice: {}}}\n", HASH.replace("$10$", "$31$")),
            &["`alice`", "cost of 31", "at most 18"],
        ),
        (format!("basic_auth_users: {{alice: {}}}\n", &HASH[..50]), &["`alice`", "no bcrypt hash", "htpasswd"]),
    ] {
        let error = check(&folder.config(&text)).expect_err(&text).to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        assert!(error.contains("/") && !error.contains("X0h1gDs"), "{error}");
    }
    fs::write(folder.path("web.yml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(check(&folder.path("web.yml")).unwrap_err().to_string().contains("larger than 1 MiB"));
    fs::write(folder.path("web.yml"), [0xff, 0xfe, 0xfd]).unwrap();
    assert!(check(&folder.path("web.yml")).unwrap_err().to_string().contains("UTF-8"));
}

/// A secret in the wrong place or shape is not repeated to the log.
#[test]
fn messages_show_no_secrets() {
    let folder = Folder::new();
    for text in [
        "basic_auth_users: hunter2\n",
        "basic_auth_users: alice:hunter2\n",
        "basic_auth_users: [hunter2]\n",
        "basic_auth_users: {alice: hunter2}\n",
        "basic_auth_users: {alice: [hunter2]}\n",
        "basic_auth_users:\n  alice: {password: hunter2}\n",
        "basic_auth_users:\n  alice: \"hunter2\n",
        "basic_auth_users:\n  alice: hunter2: x\n",
        "basic_auth_users:\n  alice: *hunter2\n",
        "basic_auth_users:\n  alice: !!int hunter2\n",
        "basic_auth_users:\n  alice: !!binary hunter2\n",
        "basic_auth_users:\n  alice: {hunter2\n",
        "basic_auth_users:\n  alice: @hunter2\n",
        "basic_auth_users:\n\talice: hunter2\n",
        "tls_server_config: {cert_file: server.crt, key: hunter2}\n",
        "tls_server_config: {cert_file: server.crt, key: [hunter2]}\n",
        "tls_server_config: {cert_file: server.crt, key: {x: hunter2}}\n",
        "tls_server_config: hunter2\n",
        "hunter2",
    ] {
        let error = check(&folder.config(text)).expect_err(text);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{text}: {shown}");
    }
}

/// Aliases that would grow to gigabytes, and depth.
#[test]
fn bombs_do_not_go_off() {
    let folder = Folder::new();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
    }
    assert!(check(&folder.config(&bomb)).is_err());
    assert!(check(&folder.config(&"[".repeat(100_000))).is_err());
    assert!(check(&folder.config(&"{a: ".repeat(100_000))).is_err());
}

/// Text near to a web configuration.
fn texts() -> impl Strategy<Value = String> {
    let word = prop::sample::select(
        &[
            "tls_server_config",
            "http_server_config",
            "basic_auth_users",
            "rate_limit",
            "cert_file",
            "key_file",
            "headers",
            "client_auth_type",
            "min_version",
            "TLS12",
            "interval",
            "burst",
            "1s",
            "true",
            "~",
            "0",
            "server.crt",
            "server.key",
            HASH,
            "&a",
            "*a",
            "!!str",
            "|",
            ">",
            "-",
            ":",
            ": ",
            "\n",
            "\n  ",
            "{",
            "}",
            "[",
            "]",
            ", ",
            "\"",
            "'",
            "#",
            "<<",
            "\t",
        ][..],
    );
    prop_oneof![
        prop::collection::vec(word, 0..40).prop_map(|words| words.concat()),
        any::<String>(),
        prop::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a file says, it is taken or refused with a message that names it, and no hash is shown.
    #[test]
    fn any_text_is_taken_or_refused(text in texts()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        fs::write(&path, &text).unwrap();
        match check(&path) {
            Ok(config) => {
                let shown = format!("{config:?}");
                prop_assert!(!shown.contains("X0h1gDs"), "{}", shown);
            }
            Err(error) => prop_assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{}", error),
        }
    }
}
