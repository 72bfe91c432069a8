//! What repeated measurements say: medians, quantiles, and intervals of confidence by the bootstrap (resampling with
//! replacement, B. Efron 1979; the percentile form), which assumes no distribution. Everything here is pure, and the
//! same measurements give the same numbers: the seed is fixed.

/// Resamples of a bootstrap: enough that the ends of a 95 % interval hold to their second digit.
const RESAMPLES: usize = 2000;

/// The level of every interval here.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// An estimate with its interval of confidence (95 %).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Estimate {
    /// What the sample says.
    pub(crate) value: f64,
    /// Low end of the interval.
    pub(crate) low: f64,
    /// High end of the interval.
    pub(crate) high: f64,
}

impl Estimate {
    /// Whether this interval and the other one lie apart: a difference beyond the noise.
    pub(crate) fn is_apart_from(&self, other: &Self) -> bool {
        self.high < other.low || other.high < self.low
    }

    /// Half of the interval's width.
    pub(crate) fn margin(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// The value below which the part `q` (0 to 1) of the sample lies, interpolated between neighbours (R's type 7).
/// `None` for an empty sample, and for one with a value that is no number.
pub(crate) fn quantile(sample: &[f64], q: f64) -> Option<f64> {
    quantile_of_sorted(&sorted(sample)?, q)
}

/// The middle of the sample.
pub(crate) fn median(sample: &[f64]) -> Option<f64> {
    quantile(sample, 0.5)
}

/// What a measurement shows where nobody disturbs it: below it lies a tenth of the sample. Whoever else wants the processor, the
/// guests of the same host among them, makes a batch of calls slower, never faster.
pub(crate) fn undisturbed(sample: &[f64]) -> Option<f64> {
    quantile(sample, 0.1)
}

/// The arithmetic mean.
pub(crate) fn mean(sample: &[f64]) -> Option<f64> {
    if sample.is_empty() { None } else { Some(sample.iter().sum::<f64>() / count(sample.len())) }
}

/// The median with its interval.
pub(crate) fn median_of(sample: &[f64]) -> Option<Estimate> {
    bootstrap(sample, median)
}

/// The mean with its interval.
pub(crate) fn mean_of(sample: &[f64]) -> Option<Estimate> {
    bootstrap(sample, mean)
}

/// A statistic of one sample with its interval. The items may be pairs (or whole rounds): they are drawn together, so
/// that what both halves of a pair share cancels out. `None` where the statistic of the sample is `None`.
pub(crate) fn bootstrap<T: Copy>(sample: &[T], statistic: impl Fn(&[T]) -> Option<f64>) -> Option<Estimate> {
    let value = statistic(sample)?;
    let mut random = Random::default();
    let mut drawn = Vec::with_capacity(sample.len());
    estimate(value, (0..RESAMPLES).filter_map(|_| statistic(random.draw(sample, &mut drawn))))
}

/// `statistic(above) / statistic(below)` of two independent samples, with its interval. `None` where either is `None`,
/// and where the one below is not above 0 beyond doubt: a ratio to what may be nothing says nothing.
pub(crate) fn ratio_of<T: Copy>(above: &[T], below: &[T], statistic: impl Fn(&[T]) -> Option<f64>) -> Option<Estimate> {
    let value = statistic(above)? / statistic(below)?;
    if bootstrap(below, &statistic)?.low <= 0.0 {
        return None;
    }
    let mut random = Random::default();
    let (mut first, mut second) = (Vec::with_capacity(above.len()), Vec::with_capacity(below.len()));
    let ratios = (0..RESAMPLES).filter_map(|_| {
        let above = statistic(random.draw(above, &mut first))?;
        let below = statistic(random.draw(below, &mut second))?;
        (below > 0.0).then_some(above / below)
    });
    estimate(value, ratios)
}

/// The ratio of the sums of pairs `(above, below)` that were measured in turn, with its interval: pairs are drawn
/// whole, so what drifts from one pair to the next does not widen it.
pub(crate) fn paired_ratio(pairs: &[(f64, f64)]) -> Option<Estimate> {
    bootstrap(pairs, |pairs| {
        let below: f64 = pairs.iter().map(|pair| pair.1).sum();
        (below > 0.0).then(|| pairs.iter().map(|pair| pair.0).sum::<f64>() / below)
    })
}

/// The order of `items` things in a round: another one each round, so that none is always after the same one.
pub(crate) fn order(items: usize, round: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items).collect();
    fastrand::Rng::with_seed(round).shuffle(&mut order);
    order
}

fn estimate(value: f64, resampled: impl Iterator<Item = f64>) -> Option<Estimate> {
    let resampled = sorted(&resampled.collect::<Vec<_>>())?;
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let (low, high) = (quantile_of_sorted(&resampled, tail)?, quantile_of_sorted(&resampled, 1.0 - tail)?);
    Some(Estimate { value, low: low.min(value), high: high.max(value) })
}

fn sorted(sample: &[f64]) -> Option<Vec<f64>> {
    if sample.iter().any(|value| value.is_nan()) {
        return None;
    }
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(sorted)
}

fn quantile_of_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = count(last) * q.clamp(0.0, 1.0);
    // Between 0 and `last`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let below = place.floor() as usize;
    let (low, high) = (sorted.get(below)?, sorted.get((below + 1).min(last))?);
    Some(low + (high - low) * place.fract())
}

/// A number of measurements: far below the 2^53 that a double holds.
#[allow(clippy::cast_precision_loss)]
const fn count(items: usize) -> f64 {
    items as f64
}

struct Random(fastrand::Rng);

impl Default for Random {
    fn default() -> Self {
        Self(fastrand::Rng::with_seed(6))
    }
}

impl Random {
    /// As many items of the sample as it has, drawn with replacement.
    fn draw<'a, T: Copy>(&mut self, sample: &[T], into: &'a mut Vec<T>) -> &'a [T] {
        into.clear();
        into.extend(sample.iter().filter_map(|_| sample.get(self.0.usize(..sample.len()))));
        into
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    /// A normal distribution, near enough: twelve uniform ones added up.
    fn noisy(seed: u64, items: usize, middle: f64, deviation: f64) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut normal = || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        (0..items).map(|_| middle + deviation * normal()).collect()
    }

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        let sample = [4.0, 1.0, 3.0, 2.0];
        assert!(near(median(&sample).unwrap(), 2.5));
        assert!(near(quantile(&sample, 0.0).unwrap(), 1.0));
        assert!(near(quantile(&sample, 1.0).unwrap(), 4.0));
        assert!(near(quantile(&sample, 0.25).unwrap(), 1.75));
        assert!(near(median(&[7.0]).unwrap(), 7.0));
        assert!(near(mean(&sample).unwrap(), 2.5));
    }

    #[test]
    fn nothing_measured_is_no_number() {
        assert_eq!(median(&[]), None);
        assert_eq!(mean(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
        assert_eq!(median_of(&[]), None);
        assert_eq!(ratio_of(&[1.0], &[], median), None);
        assert_eq!(paired_ratio(&[]), None);
        assert_eq!(paired_ratio(&[(1.0, 0.0)]), None);
    }

    #[test]
    fn the_same_measurements_give_the_same_interval() {
        let sample = noisy(1, 30, 100.0, 5.0);
        assert_eq!(median_of(&sample), median_of(&sample));
    }

    #[test]
    fn an_interval_holds_the_truth_about_as_often_as_it_says() {
        let held = (0..200)
            .filter(|seed| {
                let mean = mean_of(&noisy(*seed, 40, 10.0, 2.0)).unwrap();
                mean.low <= 10.0 && 10.0 <= mean.high
            })
            .count();
        assert!((176..=198).contains(&held), "{held} of 200");
    }

    #[test]
    fn an_interval_narrows_with_the_root_of_the_rounds() {
        let margin = |items| mean_of(&noisy(3, items, 10.0, 2.0)).unwrap().margin();
        let ratio = margin(25) / margin(400);
        assert!((2.5..6.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_ratio_of_two_samples() {
        let ratio = ratio_of(&noisy(1, 50, 200.0, 5.0), &noisy(2, 50, 100.0, 5.0), median).unwrap();
        assert!(ratio.low < 2.0 && 2.0 < ratio.high && ratio.margin() < 0.1, "{ratio:?}");
        assert_eq!(ratio_of(&[1.0, 2.0, 3.0], &[-1.0, 0.0, 2.0], median), None, "a ratio to what may be nothing");
    }

    #[test]
    fn pairs_cancel_what_both_halves_share() {
        let drift = [1.0, 5.0, 2.0, 9.0, 4.0, 7.0];
        let pairs: Vec<(f64, f64)> = drift.iter().map(|below| (below * 1.01, *below)).collect();
        let ratio = paired_ratio(&pairs).unwrap();
        assert!(near(ratio.value, 1.01) && ratio.margin() < 1e-9, "{ratio:?}");
    }

    #[test]
    fn what_lies_apart() {
        let around = |value: f64| Estimate { value, low: value - 1.0, high: value + 1.0 };
        assert!(around(1.0).is_apart_from(&around(4.0)));
        assert!(around(4.0).is_apart_from(&around(1.0)));
        assert!(!around(1.0).is_apart_from(&around(2.0)));
    }

    #[test]
    fn every_round_has_everything_once_in_an_order_of_its_own() {
        let rounds: Vec<Vec<usize>> = (0..20).map(|round| order(6, round)).collect();
        for round in &rounds {
            let mut all = round.clone();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4, 5]);
        }
        assert!(rounds.iter().any(|round| round != &rounds[0]));
        assert_eq!(order(6, 3), order(6, 3));
    }
}
