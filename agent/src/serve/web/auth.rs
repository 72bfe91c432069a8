//! Basic authentication: bcrypt hashes, checked one at a time off the server's thread, remembered as keyed digests.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::header::HeaderValue;
use ring::{error::Unspecified, hmac, rand::SystemRandom};
use tokio::sync::{Semaphore, oneshot};

/// Pairs of user and password that are remembered, of the right ones and of the wrong ones each.
const REMEMBERED: usize = 64;
/// After a wrong password the checker rests this many times as long as it worked: guessing takes a quarter of one core
/// from the broker at most.
const REST: u32 = 3;
const LONGEST_REST: Duration = Duration::from_secs(5);

/// Users and their bcrypt hashes. `Debug` shows how many there are and nothing else.
#[derive(Default)]
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// Checked for a user who does not exist, so that the answer takes as long.
    decoy: String,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} users", self.hashes.len())
    }
}

impl Users {
    /// Takes hashes that [`bcrypt::verify`] reads, and the largest cost among them.
    pub(super) fn new(hashes: BTreeMap<String, String>, cost: u32) -> Self {
        // 22 characters of salt and 31 of hash. Whether a password matches makes no difference.
        let decoy = format!("$2b${cost:02}${}{}", "QOauhQNbBCuQDKes6eFzPe", "MqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi");
        Self { hashes, decoy }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

/// What a request's credentials are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A user's.
    Welcome,
    /// Nobody's, or there are none.
    Denied,
    /// Too many wait for theirs to be checked.
    Busy,
}

type Digest = [u8; 32];

#[derive(Default)]
struct Memory {
    right: VecDeque<Digest>,
    wrong: VecDeque<Digest>,
}

impl Memory {
    fn recall(&self, digest: &Digest) -> Option<bool> {
        let right = self.right.contains(digest);
        (right || self.wrong.contains(digest)).then_some(right)
    }

    fn learn(&mut self, digest: Digest, right: bool) {
        // Apart, so that guessing does not push out those who know their password.
        let pairs = if right { &mut self.right } else { &mut self.wrong };
        if pairs.len() == REMEMBERED {
            pairs.pop_front();
        }
        pairs.push_back(digest);
    }
}

/// Checks credentials.
pub(super) struct Gate {
    /// Made at start and never written anywhere: a digest tells nothing about a password.
    key: hmac::Key,
    memory: Mutex<Memory>,
    checker: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Gate {
    /// A gate before which `waiting` passwords may wait to be checked.
    pub(super) fn new(waiting: usize) -> Result<Self, Unspecified> {
        Ok(Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?,
            memory: Mutex::default(),
            checker: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            most_waiting: waiting,
        })
    }

    /// Judges the value of an `Authorization` header.
    pub(super) async fn judge(self: &Arc<Self>, users: &Users, header: Option<&HeaderValue>) -> Verdict {
        let Some((user, password)) = header.and_then(credentials) else { return Verdict::Denied };
        let known = users.hashes.get(&user);
        let hash = known.unwrap_or(&users.decoy);
        let digest = self.digest(&user, hash, &password);
        if let Some(right) = self.recall(&digest) {
            return verdict(right);
        }
        let Some(_waiting) = self.wait() else { return Verdict::Busy };
        let Ok(permit) = Arc::clone(&self.checker).acquire_owned().await else { return Verdict::Busy };
        // The one before may have had the same to ask.
        if let Some(right) = self.recall(&digest) {
            return verdict(right);
        }
        let (gate, known, hash) = (Arc::clone(self), known.is_some(), hash.clone());
        let (sender, answer) = oneshot::channel();
        // A task of its own: who goes away does not make room for more checks at the same time.
        tokio::spawn(async move {
            let started = Instant::now();
            let checked = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await;
            let right = checked.unwrap_or(false) && known;
            gate.memory.lock().unwrap_or_else(PoisonError::into_inner).learn(digest, right);
            // Who asked may be gone.
            let _ = sender.send(right);
            if !right {
                tokio::time::sleep((started.elapsed() * REST).min(LONGEST_REST)).await;
            }
            drop(permit);
        });
        verdict(answer.await.unwrap_or(false))
    }

    fn recall(&self, digest: &Digest) -> Option<bool> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).recall(digest)
    }

    fn digest(&self, user: &str, hash: &str, password: &[u8]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn wait(&self) -> Option<Waiting<'_>> {
        let waiting = Waiting(&self.waiting);
        (self.waiting.fetch_add(1, Ordering::Relaxed) < self.most_waiting).then_some(waiting)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

const fn verdict(right: bool) -> Verdict {
    if right { Verdict::Welcome } else { Verdict::Denied }
}

/// User and password (RFC 7617).
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, text) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut user = BASE64_STANDARD.decode(text.trim()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.pop();
    Some((String::from_utf8(user).ok()?, password))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(text))).unwrap()
    }

    fn users() -> Users {
        let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
        Users::new([("alice", "secret:1"), ("empty", "")].map(|(user, word)| (user.to_owned(), hash(word))).into(), 4)
    }

    async fn checks(gate: &Arc<Gate>, users: &Users, text: &str) -> Verdict {
        gate.judge(users, Some(&header(text))).await
    }

    #[tokio::test]
    async fn right_and_wrong_credentials() {
        let (gate, users) = (Arc::new(Gate::new(16).unwrap()), users());
        for _ in 0..2 {
            assert_eq!(checks(&gate, &users, "alice:secret:1").await, Verdict::Welcome);
            assert_eq!(checks(&gate, &users, "empty:").await, Verdict::Welcome);
            for wrong in ["alice:secret", "alice:", "Alice:secret:1", "nobody:fakepassword", "alice", ":", ""] {
                assert_eq!(checks(&gate, &users, wrong).await, Verdict::Denied, "{wrong:?}");
            }
        }
        assert_eq!(gate.judge(&users, None).await, Verdict::Denied);
        for text in ["Basic", "Basic !", "Bearer YWxpY2U6c2VjcmV0OjE=", "Basic /w=="] {
            assert_eq!(gate.judge(&users, Some(&HeaderValue::from_static(text))).await, Verdict::Denied, "{text}");
        }
        let memory = gate.memory.lock().unwrap();
        assert_eq!((memory.right.len(), memory.wrong.len()), (2, 5));
    }

    #[tokio::test]
    async fn a_changed_hash_is_checked_anew() {
        let (gate, before) = (Arc::new(Gate::new(16).unwrap()), users());
        assert_eq!(checks(&gate, &before, "alice:secret:1").await, Verdict::Welcome);
        let after = Users::new([("alice".to_owned(), bcrypt::hash("other", 4).unwrap())].into(), 4);
        assert_eq!(checks(&gate, &after, "alice:secret:1").await, Verdict::Denied);
        assert_eq!(checks(&gate, &after, "alice:other").await, Verdict::Welcome);
    }

    #[tokio::test]
    async fn guessing_forgets_nobody_and_remembers_little() {
        let (gate, users) = (Arc::new(Gate::new(16).unwrap()), users());
        assert_eq!(checks(&gate, &users, "alice:secret:1").await, Verdict::Welcome);
        let right = gate.memory.lock().unwrap().right.clone();
        for guess in 0..u8::try_from(REMEMBERED).unwrap() + 10 {
            assert_eq!(checks(&gate, &users, &format!("alice:{guess}")).await, Verdict::Denied);
        }
        let memory = gate.memory.lock().unwrap();
        assert_eq!((&memory.right, memory.wrong.len()), (&right, REMEMBERED));
    }

    #[tokio::test]
    async fn few_wait_and_those_who_are_known_do_not() {
        let (gate, users) = (Arc::new(Gate::new(3).unwrap()), Arc::new(users()));
        assert_eq!(checks(&gate, &users, "alice:secret:1").await, Verdict::Welcome);
        let busy = Arc::clone(&gate.checker).acquire_owned().await.unwrap();
        let guesses: Vec<_> = (0..10)
            .map(|guess| {
                let (gate, users) = (Arc::clone(&gate), Arc::clone(&users));
                tokio::spawn(async move { checks(&gate, &users, &format!("alice:{guess}")).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(checks(&gate, &users, "alice:secret:1").await, Verdict::Welcome);
        drop(busy);
        let mut verdicts = Vec::new();
        for guess in guesses {
            verdicts.push(guess.await.unwrap());
        }
        let count = |verdict| verdicts.iter().filter(|v| **v == verdict).count();
        assert_eq!((count(Verdict::Denied), count(Verdict::Busy)), (3, 7));
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }

    /// Compared as a ratio: an unknown user costs one bcrypt, not none.
    #[test]
    fn the_decoy_costs_what_a_hash_costs() {
        let users = Users::new([("a".to_owned(), bcrypt::hash("x", 9).unwrap())].into(), 9);
        let time = |hash: &str| {
            let started = Instant::now();
            assert!(!bcrypt::verify("wrong", hash).unwrap());
            started.elapsed().as_secs_f64()
        };
        let ratio = time(&users.decoy) / time(&users.hashes["a"]);
        assert!((0.1..10.0).contains(&ratio), "{ratio}");
    }
}
