//! Whether a client takes gzip, and gzip.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use hyper::{HeaderMap, header::ACCEPT_ENCODING};

/// Whether the client takes gzip (RFC 9110, 12.5.3): it is named, or all codings are, with a weight above 0.
pub(super) fn accepted(headers: &HeaderMap) -> bool {
    let mut any = false;
    let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    for coding in values.flat_map(|value| value.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let wanted = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0));
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            return wanted;
        }
        any |= name == "*" && wanted;
    }
    any
}

/// Compresses at the fastest level: exposition text shrinks to a twentieth all the same.
pub(super) fn compress(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 16 + 64), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn what_clients_say() {
        let says =
            |text: &'static str| accepted(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(text))]));
        for text in
            ["gzip", "deflate, GZIP;q=0.5", "*", "identity;q=0.1, *;q=0.2", "x-gzip", "br ; q=1 , gzip ; q=0.01"]
        {
            assert!(says(text), "{text}");
        }
        for text in ["", "identity", "gzip;q=0", "*;q=0", "gzip;q=0.0, *", "gzip;q=x", "deflate"] {
            assert!(!says(text), "{text}");
        }
        assert!(!accepted(&HeaderMap::new()));
    }
}
