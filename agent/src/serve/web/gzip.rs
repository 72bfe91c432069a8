//! Whether a client takes gzip, and gzip.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use flate2::{Compress, Compression, FlushCompress, Status};
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

/// Shorter bodies are not worth compressing.
const WORTH_COMPRESSING: usize = 1 << 10;
/// Room that is made for compressed bytes at a time.
const ROOM: usize = 16 << 10;
/// gzip's window (RFC 1952): 2^15 bytes.
const WINDOW: u8 = 15;

/// What compressing takes, kept for the next body: a quarter of a megabyte, and how large the last body was.
#[derive(Default)]
pub(super) struct Spare(Mutex<(Option<Compress>, usize)>);

/// A body in the making, compressed while it is made where the client takes that.
pub(super) struct Body<'a> {
    bytes: Vec<u8>,
    gzip: bool,
    /// From the moment on where it is worth it.
    compress: Option<Compress>,
    spare: &'a Spare,
}

impl<'a> Body<'a> {
    pub(super) fn new(gzip: bool, spare: &'a Spare) -> Self {
        Self { bytes: Vec::new(), gzip, compress: None, spare }
    }

    /// The bytes, and whether they are compressed.
    pub(super) fn finish(mut self) -> io::Result<(Vec<u8>, bool)> {
        let gzip = self.compress.is_some();
        self.feed(&[], FlushCompress::Finish)?;
        if let (Some(compress), mut spare) = (self.compress.take(), self.spare.lock()) {
            *spare = (Some(compress), self.bytes.len());
        }
        Ok((self.bytes, gzip))
    }

    fn begin(&mut self) -> io::Result<()> {
        let (compress, last) = std::mem::take(&mut *self.spare.lock());
        let mut compress = compress.unwrap_or_else(|| Compress::new_gzip(Compression::fast(), WINDOW));
        compress.reset();
        self.compress = Some(compress);
        // As large as the last one and a little more: what grows is copied again and again.
        let begun = std::mem::replace(&mut self.bytes, Vec::with_capacity(last + last / 64 + ROOM));
        self.feed(&begun, FlushCompress::None)
    }

    fn feed(&mut self, mut bytes: &[u8], flush: FlushCompress) -> io::Result<()> {
        let Some(compress) = &mut self.compress else { return Ok(()) };
        loop {
            if self.bytes.capacity() - self.bytes.len() < 64 {
                self.bytes.reserve(ROOM);
            }
            let before = compress.total_in();
            let status = compress.compress_vec(bytes, &mut self.bytes, flush).map_err(io::Error::other)?;
            let taken = usize::try_from(compress.total_in() - before).unwrap_or(usize::MAX);
            bytes = bytes.get(taken..).unwrap_or_default();
            let is_over = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                _ => bytes.is_empty(),
            };
            if is_over {
                return Ok(());
            }
        }
    }
}

impl Spare {
    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<Compress>, usize)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Body<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.compress.is_none() {
            self.bytes.extend_from_slice(bytes);
            if self.gzip && self.bytes.len() >= WORTH_COMPRESSING {
                self.begin()?;
            }
        } else {
            self.feed(bytes, FlushCompress::None)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read as _;

    use flate2::read::GzDecoder;
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

    #[test]
    fn bodies_of_any_size_come_out_as_they_were() {
        let spare = Spare::default();
        for length in [0, 1, 1023, 1024, 100_000, 3_000_000, 5000] {
            let whole: Vec<u8> =
                (0..length).map(|at| u8::try_from(at % 251).unwrap() ^ u8::from(at % 7 == 0)).collect();
            for gzip in [false, true] {
                let mut body = Body::new(gzip, &spare);
                whole.chunks(999).for_each(|piece| body.write_all(piece).unwrap());
                let (bytes, compressed) = body.finish().unwrap();
                assert_eq!(compressed, gzip && length >= WORTH_COMPRESSING, "{length}");
                let mut plain = Vec::new();
                if compressed {
                    GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
                    assert!(bytes.len() < length, "{length}: {}", bytes.len());
                } else {
                    plain = bytes;
                }
                assert!(plain == whole, "{length} {gzip}");
            }
        }
    }
}
