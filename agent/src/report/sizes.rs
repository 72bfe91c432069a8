//! What a size histogram says.

use std::collections::BTreeMap;

use super::SizeBucket;

/// The bucket in which the size lies that `percent` of 100 calls do not exceed (nearest rank), or `None` where there
/// were no calls. The size itself is not known closer than its bucket.
#[must_use]
pub fn percentile(histogram: &[SizeBucket], percent: u8) -> Option<SizeBucket> {
    let calls: u128 = histogram.iter().map(|bucket| u128::from(bucket.calls)).sum();
    let rank = (calls * u128::from(percent)).div_ceil(100).max(1);
    let mut seen = 0;
    histogram.iter().copied().find(|bucket| {
        seen += u128::from(bucket.calls);
        seen >= rank
    })
}

/// Two histograms together.
pub(crate) fn sum(one: &[SizeBucket], other: &[SizeBucket]) -> Vec<SizeBucket> {
    let mut buckets: BTreeMap<u64, SizeBucket> = one.iter().map(|bucket| (bucket.min, *bucket)).collect();
    for bucket in other {
        buckets.entry(bucket.min).and_modify(|sum| sum.calls += bucket.calls).or_insert(*bucket);
    }
    buckets.into_values().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn bucket(exponent: u32, calls: u64) -> SizeBucket {
        SizeBucket { min: 1 << exponent, max: Some((2 << exponent) - 1), calls }
    }

    fn min(histogram: &[SizeBucket], percent: u8) -> u64 {
        percentile(histogram, percent).unwrap().min
    }

    #[test]
    fn no_calls_no_percentile() {
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn the_rank_is_rounded_up() {
        let histogram = [bucket(0, 99), bucket(15, 1)];
        assert_eq!((min(&histogram, 50), min(&histogram, 99), min(&histogram, 100)), (1, 1, 32768));
        let histogram = [bucket(0, 98), bucket(15, 2)];
        assert_eq!(min(&histogram, 99), 32768);
        let histogram = [bucket(3, 1), bucket(4, 1), bucket(5, 1)];
        assert_eq!((min(&histogram, 0), min(&histogram, 33), min(&histogram, 34), min(&histogram, 99)), (8, 8, 16, 32));
    }

    #[test]
    fn huge_counts_do_not_overflow() {
        let histogram = [bucket(0, u64::MAX), bucket(1, u64::MAX)];
        assert_eq!((min(&histogram, 50), min(&histogram, 51)), (1, 2));
    }

    proptest! {
        /// Against the definition: sort every call by size and take the one at the rank.
        #[test]
        fn equals_sorting_every_call(calls in prop::collection::vec(0u64..20, 1..12), percent in 1u8..=100) {
            let histogram: Vec<_> = (0..).zip(&calls).map(|(exponent, calls)| bucket(exponent, *calls))
                .filter(|bucket| bucket.calls > 0).collect();
            let sorted: Vec<SizeBucket> =
                histogram.iter().flat_map(|bucket| (0..bucket.calls).map(|_| *bucket)).collect();
            let rank = (sorted.len() * usize::from(percent)).div_ceil(100);
            prop_assert_eq!(percentile(&histogram, percent), rank.checked_sub(1).map(|i| sorted[i]));
        }
    }
}
