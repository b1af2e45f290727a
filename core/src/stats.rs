//! What many measurements come to: distributions that can be merged.
#![forbid(unsafe_code)]

use hdrhistogram::Histogram;

/// The distribution of values of nanoseconds. Minimum, maximum, mean and deviation are exact;
/// percentiles have three significant digits (HdrHistogram), and merge without losing any.
#[derive(Clone, Debug)]
pub struct Distribution {
    histogram: Histogram<u64>,
    min: u64,
    max: u64,
    mean: f64,
    /// The sum of the squared differences from the mean (Welford).
    squares: f64,
}

const SIGNIFICANT_DIGITS: u8 = 3;

impl Distribution {
    /// No values yet; `None` without memory for the histogram.
    #[must_use]
    pub fn new() -> Option<Self> {
        let histogram = Histogram::new(SIGNIFICANT_DIGITS).ok()?;
        Some(Self { histogram, min: u64::MAX, max: 0, mean: 0.0, squares: 0.0 })
    }

    /// One more value.
    pub fn add(&mut self, value: u64) {
        // It grows with the values; without memory to grow, the value counts as the largest it has.
        if self.histogram.record(value).is_err() {
            self.histogram.saturating_record(value);
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let value = value as f64;
        let before = self.mean;
        self.mean += (value - before) / self.count() as f64;
        self.squares += (value - before) * (value - self.mean);
    }

    /// All values of another distribution.
    pub fn merge(&mut self, other: &Self) {
        let (count, others) = (self.count() as f64, other.count() as f64);
        if others == 0.0 || self.histogram.add(&other.histogram).is_err() {
            return;
        }
        let difference = other.mean - self.mean;
        self.mean += difference * others / (count + others);
        self.squares += other.squares + difference.powi(2) * count * others / (count + others);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The smallest value.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.min)
    }

    /// The largest value.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.max)
    }

    /// The value that this share of all values, from 0 to 1, is not above.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let value = self.histogram.value_at_quantile(share);
        (self.count() > 0).then(|| value.clamp(self.min, self.max))
    }

    /// The arithmetic mean.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count() > 0).then_some(self.mean)
    }

    /// The standard deviation of a sample, for two values or more.
    #[must_use]
    pub fn stddev(&self) -> Option<f64> {
        (self.count() > 1).then(|| (self.squares / (self.count() - 1) as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Distribution {
        let mut distribution = Distribution::new().unwrap();
        values.into_iter().for_each(|value| distribution.add(value));
        distribution
    }

    #[test]
    fn nothing_has_no_numbers() {
        let empty = of([]);
        assert_eq!((empty.min(), empty.max(), empty.quantile(0.5)), (None, None, None));
        assert_eq!((empty.mean(), empty.stddev()), (None, None));
    }

    #[test]
    fn percentiles_to_three_digits_and_the_rest_exactly() {
        let found = of((1..=100_000).map(|value| value * 1000));
        assert_eq!(
            (found.min(), found.max(), found.count()),
            (Some(1000), Some(100_000_000), 100_000)
        );
        for (share, exact) in [(0.5, 5e7), (0.9, 9e7), (0.99, 9.9e7)] {
            let value = found.quantile(share).unwrap() as f64;
            assert!((value / exact - 1.0).abs() < 1e-3, "{share}: {value}");
        }
        assert!((found.mean().unwrap() - 50_000_500.0).abs() < 1e-3);
        // Of the numbers from 1 to n: the root of n (n + 1) / 12.
        let exact = (1e5 * (1e5 + 1.0) / 12.0_f64).sqrt() * 1000.0;
        assert!((found.stddev().unwrap() / exact - 1.0).abs() < 1e-9);
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let (mut one, two) = (of(1..=60), of((61..=200).chain([u64::MAX / 2])));
        let whole = of((1..=200).chain([u64::MAX / 2]));
        one.merge(&two);
        assert_eq!((one.count(), one.min(), one.max()), (whole.count(), whole.min(), whole.max()));
        assert_eq!(one.quantile(0.9), whole.quantile(0.9));
        assert!((one.mean().unwrap() / whole.mean().unwrap() - 1.0).abs() < 1e-12);
        assert!((one.stddev().unwrap() / whole.stddev().unwrap() - 1.0).abs() < 1e-9);
    }
}
