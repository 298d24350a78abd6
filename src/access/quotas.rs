//! Quotas in Kafka's words.

use std::collections::BTreeSet;

use topicops_contract::ClientQuotas;

use crate::kafka::{Quota, QuotaClients, QuotaTarget, QuotaValue};

/// The whole set of quotas of the user, and no other.
pub(crate) fn quotas(asked: &ClientQuotas, username: &str) -> BTreeSet<Quota> {
    #[allow(clippy::cast_precision_loss, reason = "rates end where numbers stop being exact")]
    let rate = |rate: topicops_contract::ByteRate| rate.bytes() as f64;
    let amounts = [
        (QuotaTarget::PRODUCER_BYTE_RATE, asked.producer_byte_rate.map(rate)),
        (QuotaTarget::CONSUMER_BYTE_RATE, asked.consumer_byte_rate.map(rate)),
        (
            QuotaTarget::REQUEST_PERCENTAGE,
            asked.request_percentage.map(|share| f64::from(share.hundredths()) / 100.0),
        ),
    ];
    let quota = |(key, amount): (&str, Option<f64>)| {
        let target =
            QuotaTarget { username: username.to_owned(), clients: QuotaClients::All, key: key.to_owned() };
        Some(Quota { target, value: QuotaValue::new(amount?) })
    };
    amounts.into_iter().filter_map(quota).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_annotation_is_one_limit_of_all_clients_of_the_user() {
        let asked = ClientQuotas {
            producer_byte_rate: Some("10MiB/s".parse().unwrap()),
            consumer_byte_rate: None,
            request_percentage: Some("12.5%".parse().unwrap()),
        };
        let found: Vec<(String, f64)> =
            quotas(&asked, "u").iter().map(|quota| (quota.target.to_string(), quota.value.get())).collect();
        assert_eq!(
            found,
            [
                ("producer_byte_rate of User:u".to_owned(), 10_485_760.0),
                ("request_percentage of User:u".to_owned(), 12.5)
            ]
        );
        assert!(quotas(&ClientQuotas::default(), "u").is_empty());
    }
}
