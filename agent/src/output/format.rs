//! Numbers for people: none of them may claim more than is true.
//!
//! Ratios are computed from their two counts, not from the Report's `f64`: 2^60 - 1 of 2^60 bytes is 1.0 as an `f64`, and
//! that would be shown as "100 %".

use super::{Bytes, Style};
pub(super) use crate::units::{human, percent, percent_at_least, thousands};
use crate::{
    report::SizeBucket,
    units::{binary, decimal, rounded},
};

impl Style {
    /// A byte count.
    pub(super) fn bytes(&self, bytes: impl Into<u128>) -> String {
        match self.bytes {
            Bytes::Human => human(bytes.into()),
            Bytes::Exact => thousands(bytes),
        }
    }

    /// Bytes a call, on average; `None` without calls.
    pub(super) fn mean(&self, bytes: u64, calls: u64) -> Option<String> {
        let tenths = rounded(u128::from(bytes) * 10, u128::from(calls))?;
        let whole = bytes.is_multiple_of(calls);
        Some(match self.bytes {
            Bytes::Human if tenths >= 10_000 || whole => human(rounded(bytes.into(), calls.into())?),
            Bytes::Human => format!("{} B", decimal(tenths, 1)),
            Bytes::Exact if whole => thousands(bytes / calls),
            Bytes::Exact => decimal(tenths, 1),
        })
    }

    /// A bound that the sizes in a bucket keep.
    pub(super) fn bucket(&self, bucket: &SizeBucket) -> String {
        let (at_least, at_most) = if self.unicode { ("≥", "≤") } else { (">=", "<=") };
        match (bucket.max, self.bytes) {
            (Some(max), _) if max == bucket.min => self.bytes(max),
            // The largest size in a bucket is one below a power of two.
            (Some(max), Bytes::Human) => format!("< {}", binary(u128::from(max) + 1)),
            (Some(max), Bytes::Exact) => format!("{at_most} {}", thousands(max)),
            (None, Bytes::Human) => format!("{at_least} {}", binary(bucket.min.into())),
            (None, Bytes::Exact) => format!("{at_least} {}", thousands(bucket.min)),
        }
    }

    /// How many bytes the CPU moved for each that was sent; `None` where nothing was sent.
    pub(super) fn amplification(&self, moved: u128, sent: u128) -> Option<String> {
        let hundredths = rounded(moved * 100, sent)?;
        let number = match (moved, hundredths) {
            (0, _) => "0".to_owned(),
            (_, 0) => "<0.01".to_owned(),
            _ => decimal(hundredths, 2),
        };
        Some(format!("{number} {}", if self.unicode { "×" } else { "x" }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_precision_loss)]
    use proptest::prelude::*;

    use super::*;
    use crate::units::UNITS;

    const HUMAN: Style = Style { width: 80, color: false, bytes: Bytes::Human, unicode: false, all: false };
    const EXACT: Style = Style { bytes: Bytes::Exact, ..HUMAN };

    #[test]
    fn bytes_for_people() {
        let kib = 1024_u128;
        for (bytes, text) in [
            (0, "0"),
            (1, "1 B"),
            (1023, "1023 B"),
            (kib, "1.00 KiB"),
            (kib + 5, "1.00 KiB"),
            (kib + 6, "1.01 KiB"),
            (10 * kib - 1, "10.0 KiB"),
            (100 * kib - 60, "99.9 KiB"),
            (100 * kib - 1, "100 KiB"),
            (1023 * kib, "1023 KiB"),
            (kib * kib - 513, "1023 KiB"),
            (kib * kib - 512, "1.00 MiB"),
            (kib * kib - 1, "1.00 MiB"),
            (851_443_712, "812 MiB"),
            (3 * kib * kib * kib / 2, "1.50 GiB"),
            (1 << 53, "8.00 PiB"),
            (u128::from(u64::MAX), "16.0 EiB"),
        ] {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn exact_bytes_have_every_digit() {
        for (bytes, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (851_443_712, "851,443,712"),
            ((1 << 53) + 1, "9,007,199,254,740,993"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(EXACT.bytes(bytes), text);
        }
    }

    #[test]
    fn a_share_is_all_or_nothing_only_if_it_is() {
        let percent = |part, whole| percent(part, whole, 2);
        assert_eq!(percent(0, 0), None);
        for (part, whole, text) in [
            (0, 7, "0 %"),
            (7, 7, "100 %"),
            (1, 2, "50.00 %"),
            (1, 3, "33.33 %"),
            (2, 3, "66.67 %"),
            (1, 1_000_000, "<0.01 %"),
            (5, 100_000, "0.01 %"),
            (99_994, 100_000, "99.99 %"),
            (99_996, 100_000, ">99.99 %"),
            ((1 << 60) - 1, 1 << 60, ">99.99 %"),
            (u64::MAX, u64::MAX, "100 %"),
            (1, u64::MAX, "<0.01 %"),
        ] {
            assert_eq!(percent(part, whole).unwrap(), text, "{part} of {whole}");
        }
        assert_eq!(super::percent(99_996, 100_000, 1).unwrap(), ">99.9 %");
        assert_eq!(super::percent(1, 100_000, 1).unwrap(), "<0.1 %");
        assert_eq!(super::percent(498, 1000, 1).unwrap(), "49.8 %");
        assert_eq!(percent_at_least(99_999, 100_000, 2).unwrap(), "99.99 %");
        assert_eq!(percent_at_least(0, 7, 1).unwrap(), "0.0 %");
        assert_eq!(percent_at_least(0, 0, 1), None);
    }

    #[test]
    fn means() {
        assert_eq!(HUMAN.mean(10, 0), None);
        for (bytes, calls, human, exact) in [
            (10, 4, "2.5 B", "2.5"),
            (10, 5, "2 B", "2"),
            (10, 3, "3.3 B", "3.3"),
            (4096, 2, "2.00 KiB", "2,048"),
            (4097, 2, "2.00 KiB", "2,048.5"),
            (u64::MAX, 1, "16.0 EiB", "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(HUMAN.mean(bytes, calls).unwrap(), human);
            assert_eq!(EXACT.mean(bytes, calls).unwrap(), exact);
        }
    }

    #[test]
    fn buckets_are_bounds() {
        let bucket = |min, max| SizeBucket { min, max, calls: 1 };
        for (bucket, human, exact) in [
            (bucket(1, Some(1)), "1 B", "1"),
            (bucket(2, Some(3)), "< 4 B", "<= 3"),
            (bucket(1 << 14, Some((1 << 15) - 1)), "< 32 KiB", "<= 32,767"),
            (bucket(1 << 31, None), ">= 2 GiB", ">= 2,147,483,648"),
        ] {
            assert_eq!((HUMAN.bucket(&bucket), EXACT.bucket(&bucket)), (human.to_owned(), exact.to_owned()));
        }
        let unicode = Style { unicode: true, ..EXACT };
        assert_eq!(unicode.bucket(&bucket(2, Some(3))), "≤ 3");
    }

    #[test]
    fn amplifications() {
        assert_eq!(HUMAN.amplification(5, 0), None);
        for (moved, sent, text) in
            [(0, 7, "0 x"), (1, 1000, "<0.01 x"), (5, 1000, "0.01 x"), (7, 7, "1.00 x"), (1995, 1000, "2.00 x")]
        {
            assert_eq!(HUMAN.amplification(moved, sent).unwrap(), text);
        }
        assert_eq!(Style { unicode: true, ..HUMAN }.amplification(2, 1).unwrap(), "2.00 ×");
    }

    proptest! {
        #[test]
        fn human_bytes_are_near_and_short(bytes in 1u64..) {
            let text = human(bytes.into());
            let (number, unit) = text.split_once(' ').unwrap();
            let factor = UNITS.iter().find(|(name, _)| *name == unit).map_or(1.0, |(_, shift)| (1u64 << shift) as f64);
            let shown: f64 = number.parse().unwrap();
            prop_assert!((shown * factor - bytes as f64).abs() <= bytes as f64 * 0.005_1, "{bytes} {text}");
            prop_assert!(shown < 1024.0 && number.len() <= 4, "{bytes} {text}");
        }

        #[test]
        fn a_share_never_claims_more_than_it_is(part in any::<u64>(), rest in any::<u64>()) {
            let whole = part.saturating_add(rest);
            let text = percent(part, whole, 2).unwrap_or_default();
            prop_assert_eq!(text == "100 %", part == whole && whole > 0);
            prop_assert_eq!(text == "0 %", part == 0 && whole > 0);
            prop_assert!(text != "0.00 %" && text != "100.00 %");
        }
    }
}
