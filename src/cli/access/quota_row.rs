use std::{collections::BTreeSet, fmt};

use serde::Serialize;
use topicops_contract::{ByteRate, ClientQuotas, RequestPercentage};

use crate::{
    access::quotas,
    kafka::{Quota, QuotaClients, QuotaTarget, QuotaValue},
};

/// One quota of a workload's user: what it asks for, what counts, and what the brokers have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QuotaRow {
    /// As its annotation is called: `producer-byte-rate`.
    quota: String,
    /// For which clients of the user; `None`: for all of them together, as topicops sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<String>,
    asked: Option<String>,
    /// What counts, after the policy's limits and defaults.
    granted: Option<String>,
    /// What the brokers have.
    held: Option<String>,
    on_brokers: QuotaOnBrokers,
}

/// How a quota that is granted stands to the one that the brokers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum QuotaOnBrokers {
    AsGranted,
    Missing,
    Different,
    NotGranted,
    /// The brokers do not let us see quotas.
    Hidden,
}

impl QuotaRow {
    /// All of a user. `held`: all that the brokers have of topicops' users; `None`: they do not let us see it.
    pub(super) fn all(
        username: &str,
        asked: &ClientQuotas,
        granted: &BTreeSet<Quota>,
        held: Option<&BTreeSet<Quota>>,
    ) -> Vec<Self> {
        let asked = quotas(asked, username);
        let own = held.into_iter().flatten().filter(|quota| quota.target.username == username);
        let targets: BTreeSet<&QuotaTarget> = granted.iter().chain(own).map(|quota| &quota.target).collect();
        let row = |target: &QuotaTarget| {
            let of = |quotas: &BTreeSet<Quota>| {
                quotas.iter().find(|quota| quota.target == *target).map(|quota| quota.value)
            };
            let (granted, found) = (of(granted), held.and_then(of));
            let shown = |value: Option<QuotaValue>| value.map(|value| amount(&target.key, value));
            Self {
                quota: target.key.replace('_', "-"),
                clients: clients(&target.clients),
                asked: shown(of(&asked)),
                granted: shown(granted),
                held: shown(found),
                on_brokers: match (granted, found) {
                    _ if held.is_none() => QuotaOnBrokers::Hidden,
                    (Some(granted), Some(found)) if granted != found => QuotaOnBrokers::Different,
                    (Some(_), None) => QuotaOnBrokers::Missing,
                    (None, Some(_)) => QuotaOnBrokers::NotGranted,
                    (Some(_), Some(_)) | (None, None) => QuotaOnBrokers::AsGranted,
                },
            }
        };
        targets.into_iter().map(row).collect()
    }

    /// Whether what the brokers have is not what is granted.
    pub(super) fn differs(&self) -> bool {
        match self.on_brokers {
            QuotaOnBrokers::AsGranted | QuotaOnBrokers::Hidden => false,
            QuotaOnBrokers::Missing | QuotaOnBrokers::Different | QuotaOnBrokers::NotGranted => true,
        }
    }
}

fn clients(clients: &QuotaClients) -> Option<String> {
    match clients {
        QuotaClients::All => None,
        QuotaClients::Id(id) => Some(format!("client id {id}")),
        QuotaClients::EachOther => Some("each client id".to_owned()),
    }
}

/// As an annotation would say it.
fn amount(key: &str, value: QuotaValue) -> String {
    let text = value.to_string();
    let shown = match key {
        QuotaTarget::PRODUCER_BYTE_RATE | QuotaTarget::CONSUMER_BYTE_RATE => {
            text.parse::<ByteRate>().ok().map(|rate| rate.to_string())
        }
        QuotaTarget::REQUEST_PERCENTAGE => {
            text.parse::<RequestPercentage>().ok().map(|share| share.to_string())
        }
        _ => None,
    };
    shown.unwrap_or(text)
}

impl fmt::Display for QuotaRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quota)?;
        if let Some(clients) = &self.clients {
            write!(f, ", {clients}")?;
        }
        f.write_str(": ")?;
        if let Some(granted) = &self.granted {
            f.write_str(granted)?;
            match &self.asked {
                Some(asked) if asked == granted => {}
                Some(asked) => write!(f, " (asked for {asked})")?,
                None => f.write_str(" (by the operator's policy)")?,
            }
            f.write_str("; ")?;
        }
        let held = self.held.as_deref().unwrap_or_default();
        match self.on_brokers {
            QuotaOnBrokers::AsGranted => f.write_str("on the brokers"),
            QuotaOnBrokers::Missing => f.write_str("MISSING on the brokers"),
            QuotaOnBrokers::Different => write!(f, "DIFFERENT on the brokers: {held}"),
            QuotaOnBrokers::NotGranted => write!(f, "NOT GRANTED, and on the brokers: {held}"),
            QuotaOnBrokers::Hidden => f.write_str("not known whether it is on the brokers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "topicops.shop.app";

    fn quota(username: &str, clients: QuotaClients, key: &str, amount: f64) -> Quota {
        let target = QuotaTarget { username: username.to_owned(), clients, key: key.to_owned() };
        Quota { target, value: QuotaValue::new(amount) }
    }

    fn own(key: &str, amount: f64) -> Quota {
        quota(USER, QuotaClients::All, key, amount)
    }

    fn told(rows: &[QuotaRow]) -> Vec<String> {
        rows.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_quota_is_told_as_annotations_write_it_and_as_the_brokers_have_it() {
        let asked = ClientQuotas {
            producer_byte_rate: Some("100MB/s".parse().unwrap()),
            consumer_byte_rate: Some("1MiB/s".parse().unwrap()),
            request_percentage: None,
        };
        let granted = [
            own(QuotaTarget::PRODUCER_BYTE_RATE, 1e7),
            own(QuotaTarget::CONSUMER_BYTE_RATE, 1_048_576.0),
            own(QuotaTarget::REQUEST_PERCENTAGE, 12.5),
        ];
        let granted = BTreeSet::from(granted);
        let mut held = granted.clone();
        held.insert(quota("topicops.shop.other", QuotaClients::All, QuotaTarget::REQUEST_PERCENTAGE, 1.0));
        let rows = QuotaRow::all(USER, &asked, &granted, Some(&held));
        let expected = [
            "consumer-byte-rate: 1MiB/s; on the brokers",
            "producer-byte-rate: 10MB/s (asked for 100MB/s); on the brokers",
            "request-percentage: 12.50% (by the operator's policy); on the brokers",
        ];
        assert_eq!(told(&rows), expected);
        assert!(!rows.iter().any(QuotaRow::differs));
        let json = serde_json::to_value(&rows[1]).unwrap();
        let expected = serde_json::json!({
            "quota": "producer-byte-rate", "asked": "100MB/s", "granted": "10MB/s", "held": "10MB/s",
            "onBrokers": "asGranted",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn what_the_brokers_lack_or_have_otherwise_or_beyond_differs_and_what_they_hide_does_not() {
        let asked =
            ClientQuotas { producer_byte_rate: Some("1MB/s".parse().unwrap()), ..ClientQuotas::default() };
        let granted = BTreeSet::from([own(QuotaTarget::PRODUCER_BYTE_RATE, 1e6)]);
        let of = |held: &[Quota]| {
            let held = held.iter().cloned().collect();
            QuotaRow::all(USER, &asked, &granted, Some(&held))
        };
        let more = own(QuotaTarget::PRODUCER_BYTE_RATE, 9e9);
        let one = quota(USER, QuotaClients::Id("x".to_owned()), QuotaTarget::PRODUCER_BYTE_RATE, 9e9);
        let exact = granted.iter().next().unwrap().clone();
        for (held, expected) in [
            (vec![], vec!["producer-byte-rate: 1MB/s; MISSING on the brokers"]),
            (vec![more], vec!["producer-byte-rate: 1MB/s; DIFFERENT on the brokers: 9GB/s"]),
            (
                vec![exact, one],
                vec![
                    "producer-byte-rate: 1MB/s; on the brokers",
                    "producer-byte-rate, client id x: NOT GRANTED, and on the brokers: 9GB/s",
                ],
            ),
        ] {
            let rows = of(&held);
            assert_eq!(told(&rows), expected);
            assert!(rows.iter().any(QuotaRow::differs), "{rows:?}");
        }
        let hidden = QuotaRow::all(USER, &asked, &granted, None);
        assert_eq!(told(&hidden), ["producer-byte-rate: 1MB/s; not known whether it is on the brokers"]);
        assert!(!hidden[0].differs());
    }
}
