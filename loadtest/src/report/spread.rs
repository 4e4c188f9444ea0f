//! Medians and spreads of a handful of rounds.

use serde::Serialize;

/// Median and range of rounds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Spread {
    /// The middle round.
    pub(crate) median: f64,
    /// The lowest round.
    pub(crate) low: f64,
    /// The highest round.
    pub(crate) high: f64,
}

impl Spread {
    /// Of these rounds; all zero when there are none.
    pub(crate) fn of(rounds: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = rounds.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        Self {
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            low: at(0),
            high: at(last),
        }
    }
}

/// Each round of one, divided by the same round of the other.
pub(crate) fn ratio(of: &[f64], to: &[f64]) -> Spread {
    Spread::of(of.iter().zip(to).map(|(of, to)| of / to))
}

/// A count as a float; counts here are far below 2^53.
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "counts here are far below 2^53"
)]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}

/// The same in another unit.
pub(crate) const fn scaled(spread: Spread, by: f64) -> Spread {
    Spread {
        median: spread.median * by,
        low: spread.low * by,
        high: spread.high * by,
    }
}

/// `1.02 (0.97 to 1.05)`.
pub(crate) fn show(spread: Spread, digits: usize) -> String {
    let Spread { median, low, high } = spread;
    format!("{median:.digits$} ({low:.digits$} to {high:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_number_of_rounds_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert!((spread.median - 2.5).abs() < 1e-9);
        assert!((spread.low - 1.0).abs() < 1e-9 && (spread.high - 4.0).abs() < 1e-9);
    }
}
