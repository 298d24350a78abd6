use std::collections::BTreeMap;

use crate::{ByteRate, Problem, Problems, RequestPercentage, keys::client};

/// How much a workload may ask of each broker at most: the quotas of Kafka that its annotations name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientQuotas {
    pub producer_byte_rate: Option<ByteRate>,
    pub consumer_byte_rate: Option<ByteRate>,
    pub request_percentage: Option<RequestPercentage>,
}

impl ClientQuotas {
    pub(crate) fn parse(annotations: &BTreeMap<String, String>, problems: &mut Problems) -> Self {
        Self {
            producer_byte_rate: value(annotations, client::PRODUCER_BYTE_RATE, problems),
            consumer_byte_rate: value(annotations, client::CONSUMER_BYTE_RATE, problems),
            request_percentage: value(annotations, client::REQUEST_PERCENTAGE, problems),
        }
    }

    pub(crate) fn annotations(&self) -> impl Iterator<Item = (&'static str, String)> {
        [
            (client::PRODUCER_BYTE_RATE, self.producer_byte_rate.map(|rate| rate.to_string())),
            (client::CONSUMER_BYTE_RATE, self.consumer_byte_rate.map(|rate| rate.to_string())),
            (client::REQUEST_PERCENTAGE, self.request_percentage.map(|share| share.to_string())),
        ]
        .into_iter()
        .filter_map(|(key, text)| Some((key, text?)))
    }
}

fn value<T: std::str::FromStr<Err = Problem>>(
    annotations: &BTreeMap<String, String>,
    key: &str,
    problems: &mut Problems,
) -> Option<T> {
    let text = annotations.get(key)?;
    problems.note(text.parse().map_err(|problem: Problem| problem.under(key)))
}
