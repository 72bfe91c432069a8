//! Building the programs of the demo.

use std::path::PathBuf;

use anyhow::Result;

use super::steps::Steps;
use crate::build;

/// The programs of the demo, built for release.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub(super) zctrace: PathBuf,
    /// Only where it was asked for.
    pub(super) sendfile_server: Option<PathBuf>,
}

/// Builds zctrace, and the built-in server if it is needed.
pub(super) fn release(steps: &Steps, with_server: bool) -> Result<Programs> {
    steps.say("Building zctrace (cargo build --release)");
    let mut wanted = vec![("zctrace", "zctrace")];
    if with_server {
        wanted.push(("testkit", "sendfile-server"));
    }
    let mut built = build::release(&wanted, &[])?;
    Ok(Programs {
        zctrace: built.remove("zctrace").unwrap_or_default(),
        sendfile_server: built.remove("sendfile-server"),
    })
}
