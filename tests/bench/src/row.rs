use std::time::Duration;

use serde::Serialize;

/// One line of the result: the same work by the floor and by topicops, each the median of all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) work: String,
    /// The same API writes with nobody listening, in seconds.
    pub(crate) api_floor_s: f64,
    /// The same changes as raw batched admin requests, in seconds.
    pub(crate) kafka_floor_s: f64,
    /// From the first API write until the brokers (and Secrets) show all of it, in seconds.
    pub(crate) topicops_s: f64,
    /// topicops over the sum of the floors.
    pub(crate) ratio: f64,
    /// design aim, in seconds; for the default count only.
    pub(crate) aim_s: Option<f64>,
}

/// Something measured that has no floor.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) value: f64,
    /// `MiB`, `s`, or empty for a count.
    pub(crate) unit: &'static str,
    /// At most this much.
    pub(crate) aim: Option<f64>,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, aim: None }
    }

    pub(crate) fn aim(self, aim: f64) -> Self {
        Self { aim: Some(aim), ..self }
    }

    pub(crate) fn shown(&self, value: f64) -> String {
        match self.unit {
            "" => format!("{value:.0}"),
            "MiB" => format!("{value:.1} MiB"),
            unit => format!("{value:.2} {unit}"),
        }
    }
}

/// The times of one kind of work, over the rounds.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) api: Vec<Duration>,
    pub(crate) kafka: Vec<Duration>,
    pub(crate) ours: Vec<Duration>,
}

impl Samples {
    pub(crate) fn row(&self, work: impl Into<String>, aim_s: Option<f64>) -> Row {
        let (api, kafka, ours) = (median(&self.api), median(&self.kafka), median(&self.ours));
        Row {
            work: work.into(),
            api_floor_s: api,
            kafka_floor_s: kafka,
            topicops_s: ours,
            ratio: ours / (api + kafka).max(f64::EPSILON),
            aim_s,
        }
    }
}

fn median(times: &[Duration]) -> f64 {
    middle(&times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>())
}

/// The median.
pub(crate) fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_and_not_the_mean() {
        let seconds = |times: &[u64]| times.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
        assert!((median(&seconds(&[9, 1, 2])) - 2.0).abs() < 1e-9);
        assert!((median(&seconds(&[9, 1, 2, 4])) - 3.0).abs() < 1e-9);
    }
}
