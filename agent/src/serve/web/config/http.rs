//! `http_server_config`, `basic_auth_users` and `rate_limit`.

use std::{
    collections::BTreeMap,
    str::FromStr,
    time::{Duration, Instant},
};

use bcrypt::HashParts;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

use super::{
    super::{auth::Users, rate::Bucket},
    file::Rate,
};

const HEADERS_KEY: &str = "http_server_config: headers";

/// Headers that may be set, with their values where only some are allowed (exporter-toolkit, web/handler.go).
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// The dearest hash that is taken: 2^18 rounds are some ten seconds, and each password that is tried takes
/// them.
const MAX_COST: u32 = 18;

/// The headers of `http_server_config`. One without a value is not sent.
pub(super) fn headers(headers: &BTreeMap<String, Value>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let text = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok((name.clone(), value.to_string())),
        Value::Null => Ok((name.clone(), String::new())),
        Value::Array(_) | Value::Object(_) => Err(format!("{HEADERS_KEY}: the value of {name} must be text")),
    };
    let mut sent = Vec::new();
    for (name, value) in headers.iter().map(text).collect::<Result<Vec<_>, _>>()? {
        sent.extend(header(&name, &value)?);
    }
    Ok(sent)
}

fn header(name: &str, value: &str) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| *known == name) else {
        let names = HEADERS.map(|(name, _)| name).join(", ");
        return Err(format!("{HEADERS_KEY}: `{name}` can't be set: those that can are {names}"));
    };
    if value.is_empty() {
        return Ok(None);
    }
    if !allowed.is_empty() && !allowed.contains(&value) {
        return Err(format!("{HEADERS_KEY}: {name} can't be `{value}`: choose {}", allowed.join(" or ")));
    }
    match (HeaderName::from_str(name), HeaderValue::from_str(value)) {
        (Ok(name), Ok(value)) => Ok(Some((name, value))),
        _ => Err(format!("{HEADERS_KEY}: the value of {name} has characters that no header may have")),
    }
}

/// The users of `basic_auth_users`.
pub(super) fn users(hashes: BTreeMap<String, String>) -> Result<Users, String> {
    let mut cost = bcrypt::DEFAULT_COST.min(MAX_COST);
    for (at, (user, hash)) in hashes.iter().enumerate() {
        let place = format!("basic_auth_users: the hash of `{user}`");
        // The error may quote the hash, or the password that stands in its place.
        let parts = HashParts::from_str(hash)
            .map_err(|_| format!("{place} is no bcrypt hash. Make one by `htpasswd -nBC 10 \"\" | tr -d ':\\n'`"))?;
        if !(4..=MAX_COST).contains(&parts.get_cost()) {
            let found = parts.get_cost();
            return Err(format!("{place} has a cost of {found}, at most {MAX_COST} is taken: 10 is usual"));
        }
        cost = if at == 0 { parts.get_cost() } else { cost.max(parts.get_cost()) };
    }
    Ok(Users::new(hashes, cost))
}

/// The bucket of `rate_limit`.
pub(super) fn rate(rate: &Rate) -> Result<Option<Bucket>, String> {
    let interval = match &rate.interval {
        None | Some(Value::Null) => Duration::ZERO,
        Some(Value::Number(number)) if number.as_u64() == Some(0) => Duration::ZERO,
        Some(Value::String(text)) => humantime::parse_duration(text)
            .map_err(|error| format!("rate_limit: `{text}` is no duration ({error}): say for example 1s or 500ms"))?,
        Some(other) => {
            return Err(format!("rate_limit: the interval {other} has no unit: say for example 1s or 500ms"));
        }
    };
    let burst = rate.burst.unwrap_or(0);
    match (interval.is_zero(), burst) {
        (true, _) => Ok(None),
        (false, 0) => Err("rate_limit: without a burst of at least 1 no request would ever be answered".to_owned()),
        (false, burst) => Ok(Some(Bucket::new(interval, burst, Instant::now()))),
    }
}
