//! Whether a topic can have as many replicas as it is to have, and whether they are enough for what its writers are promised.

use std::collections::BTreeMap;

use topicops_contract::ReplicationFactor;

use super::{BrokerFacts, Refusal};
use crate::kafka::TopicDescription;

/// So many replicas have a record before a write with `acks=all` is acknowledged. With a replication factor below it, brokers
/// before Kafka 3.7 refuse such writes; later ones acknowledge them with fewer copies than it promises.
pub const MIN_IN_SYNC: &str = "min.insync.replicas";

/// Why a topic is not to have so many replicas. `configs`: the topic's own, the ones that count first.
pub(super) fn against_factor(
    factor: ReplicationFactor,
    configs: &[&BTreeMap<String, String>],
    brokers: Option<BrokerFacts>,
) -> Option<Refusal> {
    let declared = factor.get();
    let count = usize::try_from(declared).unwrap_or(0);
    let own = configs.iter().find_map(|configs| least(configs));
    match (brokers, own.or(brokers.map(|brokers| brokers.min_in_sync))) {
        (Some(brokers), _) if count > brokers.count => {
            Some(Refusal::TooFewBrokers { declared, brokers: brokers.count })
        }
        (_, Some(least)) if count < least => Some(Refusal::BelowMinInsyncReplicas { declared, least }),
        _ => None,
    }
}

/// Why a topic with so many replicas is not to get the `min.insync.replicas` that is declared. What it has already stays.
pub(super) fn against_least(
    factor: i16,
    declared: &BTreeMap<String, String>,
    existing: &BTreeMap<String, String>,
) -> Option<Refusal> {
    let wanted = least(declared).filter(|wanted| least(existing) != Some(*wanted))?;
    let fewer = usize::try_from(factor).ok()? < wanted;
    fewer.then_some(Refusal::MinInsyncReplicasAbove { least: wanted, factor })
}

/// Whether the `min.insync.replicas` that is declared is more than are in sync of some partition.
pub(super) fn is_early(declared: &BTreeMap<String, String>, observed: &TopicDescription) -> bool {
    let wanted = least(declared).filter(|wanted| least(&observed.configs) != Some(*wanted));
    wanted.is_some_and(|wanted| observed.in_sync.iter().any(|in_sync| in_sync.len() < wanted))
}

/// What taking a topic's own `min.insync.replicas` away would come to; the brokers' own counts from then on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TakenAway {
    Fine,
    /// The replicas for it are on their way.
    Early,
    Refused(Refusal),
}

/// `factor`: what the topic has, or is to have.
pub(super) fn taken_away(
    factor: i16,
    observed: &TopicDescription,
    brokers: Option<BrokerFacts>,
) -> TakenAway {
    let (Some(brokers), Some(own)) = (brokers, least(&observed.configs)) else { return TakenAway::Fine };
    let least = brokers.min_in_sync;
    if least <= own {
        TakenAway::Fine
    } else if usize::try_from(factor).unwrap_or(0) < least {
        TakenAway::Refused(Refusal::MinInsyncReplicasNeeded { own, least, factor })
    } else if observed.in_sync.iter().any(|in_sync| in_sync.len() < least) {
        TakenAway::Early
    } else {
        TakenAway::Fine
    }
}

fn least(configs: &BTreeMap<String, String>) -> Option<usize> {
    configs.get(MIN_IN_SYNC)?.parse().ok()
}
