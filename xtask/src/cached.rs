//! What is brought or built once for a machine: the cache of `testkit`, with this crate's errors.

use std::path::{Path, PathBuf};

use testkit::cache::{self, CacheError};

/// The folder of `name`, made by `make` if it is not there, or was made by another recipe.
///
/// # Errors
/// Those of `make`, or of the file system.
pub(crate) fn ensure(
    name: &str,
    recipe: &str,
    make: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    cache::ensure(&cache::root()?, name, recipe, |dir| make(dir).map_err(Failed)).map_err(|failed: Failed| failed.0)
}

/// An error that the cache can pass on.
struct Failed(anyhow::Error);

impl From<CacheError> for Failed {
    fn from(error: CacheError) -> Self {
        Self(error.into())
    }
}
