//! Things that take long to make, kept between runs.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Name of the file that is written last, with the recipe in it: an entry without it is not complete.
const STAMP: &str = ".complete";

/// Why a cache entry cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// None of the variables that lead to a cache folder is set.
    #[error(
        "no place for the cache: none of ZCTRACE_CACHE, XDG_CACHE_HOME and HOME is set. Set ZCTRACE_CACHE to a folder"
    )]
    NoPlace,
    /// The file system said no.
    #[error("the cache at {path} cannot be used: {source}. Set ZCTRACE_CACHE to a folder that can be written")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// The cache's folder: `$ZCTRACE_CACHE`, else `$XDG_CACHE_HOME/zctrace`, else `~/.cache/zctrace`. It may not exist yet.
///
/// # Errors
/// [`CacheError::NoPlace`] where none of the three variables is set.
pub fn root() -> Result<PathBuf, CacheError> {
    choose_root(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn choose_root(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, CacheError> {
    variable("ZCTRACE_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| base.join("zctrace")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/zctrace")))
        .ok_or(CacheError::NoPlace)
}

/// The folder of the entry `name` made by `recipe`, which `build` fills if it is not complete yet.
///
/// The recipe is all that decides what is in the entry (versions, sources); a changed recipe is another entry, so two
/// checkouts with different recipes don't take each other's away. Of several callers at a time one builds and the
/// others wait. A build that fails or is broken off leaves nothing that a later call would take for complete.
///
/// # Errors
/// The cache's own, and those of `build`.
pub fn ensure<E: From<CacheError>>(
    root: &Path,
    name: &str,
    recipe: &str,
    build: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let name = format!("{name}-{:016x}", hasher.finish());
    let entry = root.join(&name);
    let complete = || fs::read_to_string(entry.join(STAMP)).is_ok_and(|stamp| stamp == recipe);
    if complete() {
        return Ok(entry);
    }
    attempt(root, || fs::create_dir_all(root))?;
    let lock_path = root.join(format!("{name}.lock"));
    // Held until the file is closed, also when this process is killed.
    let lock = attempt(&lock_path, || File::create(&lock_path))?;
    attempt(&lock_path, || Ok(flock(&lock, FlockOperation::LockExclusive)?))?;
    if complete() {
        return Ok(entry);
    }
    if entry.exists() {
        attempt(&entry, || fs::remove_dir_all(&entry))?;
    }
    attempt(&entry, || fs::create_dir_all(&entry))?;
    build(&entry)?;
    let stamp = entry.join(STAMP);
    attempt(&stamp, || fs::write(&stamp, recipe))?;
    Ok(entry)
}

fn attempt<T>(path: &Path, action: impl FnOnce() -> io::Result<T>) -> Result<T, CacheError> {
    action().map_err(|source| CacheError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn the_root_follows_the_variables_in_their_order() {
        let all = [("ZCTRACE_CACHE", "/z"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        let from = |skip: usize| {
            choose_root(|name| all[skip..].iter().find(|(known, _)| *known == name).map(|(_, path)| path.into()))
        };
        assert_eq!(from(0).unwrap(), Path::new("/z"));
        assert_eq!(from(1).unwrap(), Path::new("/x/zctrace"));
        assert_eq!(from(2).unwrap(), Path::new("/h/.cache/zctrace"));
        assert!(matches!(from(3), Err(CacheError::NoPlace)));
    }

    #[test]
    fn of_many_callers_one_builds() {
        let root = tempfile::tempdir().unwrap();
        let builds = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let entry = ensure::<CacheError>(root.path(), "thing", "v1", |dir| {
                        builds.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        fs::write(dir.join("content"), "whole").unwrap();
                        Ok(())
                    });
                    assert_eq!(fs::read_to_string(entry.unwrap().join("content")).unwrap(), "whole");
                });
            }
        });
        assert_eq!(builds.into_inner(), 1);
    }

    #[test]
    fn a_failed_build_is_built_again_from_nothing() {
        let root = tempfile::tempdir().unwrap();
        let failed = ensure(root.path(), "thing", "v1", |dir| {
            fs::write(dir.join("half"), "").unwrap();
            Err(CacheError::NoPlace)
        });
        assert!(failed.is_err());
        let entry = ensure::<CacheError>(root.path(), "thing", "v1", |dir| {
            assert!(!dir.join("half").exists());
            Ok(())
        });
        assert!(entry.unwrap().join(STAMP).exists());
    }

    #[test]
    fn another_recipe_is_another_entry() {
        let root = tempfile::tempdir().unwrap();
        let first = ensure::<CacheError>(root.path(), "thing", "v1", |_| Ok(())).unwrap();
        let second = ensure::<CacheError>(root.path(), "thing", "v2", |_| Ok(())).unwrap();
        assert_ne!(first, second);
        assert!(first.join(STAMP).exists() && second.join(STAMP).exists());
    }
}
