//! Keys of the SSL listeners.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Kafka, KafkaError, run};

/// The password of the key store, as it stands in server.properties. It guards nothing: the keys live for one run and
/// are trusted by that run's clients only. Tests look for it in every output, where it must never appear.
pub const KEY_PASSWORD: &str = "testkit-secret-7f3a";

/// The files that broker and clients need.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// The broker's key and certificate: PKCS12.
    pub(super) store: PathBuf,
    /// The certificate alone, for those who shall trust it: PEM.
    pub(super) certificate: PathBuf,
}

/// Makes a key with a self-signed certificate for localhost and 127.0.0.1, where the folder has none yet.
pub(super) fn ensure(kafka: &Kafka, folder: &Path) -> Result<Keys, KafkaError> {
    let keys = Keys { store: folder.join("broker.p12"), certificate: folder.join("broker.pem") };
    if keys.certificate.exists() {
        return Ok(keys);
    }
    let keytool = |step: &str| {
        let mut command = Command::new(&kafka.keytool);
        command.args([step, "-alias", "broker", "-storetype", "PKCS12", "-keystore"]).arg(&keys.store);
        // By the environment, so that no command line shows it.
        command.args(["-storepass:env", "KEY_PASSWORD"]).env("KEY_PASSWORD", KEY_PASSWORD);
        command
    };
    let mut generate = keytool("-genkeypair");
    generate.args(["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30", "-dname", "CN=localhost"]);
    generate.args(["-ext", "SAN=dns:localhost,ip:127.0.0.1"]);
    run::run("making the key of the SSL listener", generate, &|_| ())?;
    let mut export = keytool("-exportcert");
    export.arg("-rfc").arg("-file").arg(&keys.certificate);
    run::run("exporting the certificate of the SSL listener", export, &|_| ())?;
    Ok(keys)
}
