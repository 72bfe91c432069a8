//! From files to a [`WebConfig`], noting which files were looked at.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    super::{super::small_file, WebError},
    WebConfig,
    file::{self, Fault},
    http, tls,
};

/// What tells whether a file has changed: device, inode, size, times of change (seconds and nanoseconds) of its content
/// and of its inode. `None` for a file that is not there. A link is followed, as Kubernetes replaces a secret's files by
/// changing a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Stamp(Option<[i64; 7]>);

impl Stamp {
    pub(in super::super) fn of(path: &Path) -> Self {
        Self(fs::metadata(path).ok().map(|file| {
            let number = |n: u64| i64::from_ne_bytes(n.to_ne_bytes());
            let content = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
            let [a, b, c, d] = content;
            [number(file.dev()), number(file.ino()), number(file.size()), a, b, c, d]
        }))
    }
}

/// Reads files and remembers them, also those that could not be read: their coming is a change.
#[derive(Debug, Default)]
pub(in super::super) struct Loader {
    pub(in super::super) files: Vec<(PathBuf, Stamp)>,
}

impl Loader {
    /// Reads the web configuration file and what it names.
    pub(in super::super) fn load(&mut self, path: &Path) -> Result<WebConfig, WebError> {
        let invalid = |reason| WebError::Invalid { path: path.to_owned(), reason };
        let bytes = self.read(path)?;
        let text = String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8 text".to_owned()))?;
        let file = file::parse(&text).map_err(|fault| match fault {
            Fault::Syntax { place, reason } => WebError::Syntax { path: path.to_owned(), place, reason },
            Fault::Invalid(reason) => invalid(reason),
        })?;
        let http2 = file.http.http2.unwrap_or(true);
        let directory = path.parent().unwrap_or_else(|| Path::new(""));
        let tls = match &file.tls {
            None => None,
            Some(tls) => {
                let material = tls::Material::read(tls, |file| self.read(&directory.join(file)))
                    .map_err(|fault| fault.into_web_error(path))?;
                Some(tls::server_config(tls, &material, http2).map_err(|reason| invalid(in_tls(&reason)))?)
            }
        };
        Ok(WebConfig {
            tls,
            headers: http::headers(&file.http.headers.unwrap_or_default()).map_err(invalid)?,
            users: http::users(file.users).map_err(invalid)?,
            rate: http::rate(&file.rate).map_err(invalid)?,
        })
    }

    fn read(&mut self, path: &Path) -> Result<Vec<u8>, WebError> {
        // The stamp comes first: what changes while it is read is read again.
        self.files.push((path.to_owned(), Stamp::of(path)));
        small_file::read(path).map_err(|source| WebError::Read { path: path.to_owned(), source })
    }
}

pub(super) fn in_tls(reason: &str) -> String {
    format!("tls_server_config: {reason}")
}
