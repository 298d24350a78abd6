use std::collections::BTreeMap;

use topicops_contract::{TopicConfig, TopicName};

use crate::kafka::{Reassignment, TopicDescription};

/// A topic as it is on the brokers, in the terms of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedTopic {
    pub topic: TopicName,
    pub partitions: i32,
    /// `None` where its partitions differ in it.
    pub replication_factor: Option<i16>,
    /// Its own settings, among those that a manifest may declare.
    pub configs: BTreeMap<String, String>,
    /// What the manifest cannot say, as sentences.
    pub remarks: Vec<String>,
}

impl ImportedTopic {
    /// `moves` are those under way in the cluster: what counts is where they lead.
    pub fn of(topic: TopicName, description: &TopicDescription, moves: &[Reassignment]) -> Self {
        let mut remarks = Vec::new();
        let factors = description.factors_after(&topic, moves);
        let replication_factor = match factors.first() {
            Some(factor) if factors.len() == 1 => i16::try_from(*factor).ok(),
            _ => {
                let factors: Vec<String> = factors.iter().map(ToString::to_string).collect();
                remarks.push(format!(
                    "its partitions have different replication factors ({}), so none is declared",
                    factors.join(", ")
                ));
                None
            }
        };
        let mut configs = BTreeMap::new();
        for (key, value) in &description.configs {
            if TopicConfig::is_reserved(key) {
                continue;
            }
            match TopicConfig::check(key, value) {
                Ok(()) => {
                    configs.insert(key.clone(), value.clone());
                }
                Err(problem) => remarks.push(format!("left out, and left as it is: {problem}")),
            }
        }
        Self { topic, partitions: description.partitions(), replication_factor, configs, remarks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::TopicPartition;

    fn described(replicas: &[&[i32]], configs: &[(&str, &str)]) -> TopicDescription {
        let replicas: Vec<Vec<i32>> = replicas.iter().map(|brokers| brokers.to_vec()).collect();
        TopicDescription {
            id: "id".to_owned(),
            leaders: replicas.iter().map(|brokers| brokers.first().copied()).collect(),
            in_sync: replicas.clone(),
            replicas,
            configs: configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            inherited: BTreeMap::new(),
        }
    }

    #[test]
    fn partitions_of_different_factors_are_remarked_and_not_declared() {
        let topic: TopicName = "orders".parse().unwrap();
        let imported = ImportedTopic::of(topic, &described(&[&[1, 2], &[1, 2, 3]], &[]), &[]);
        assert_eq!((imported.partitions, imported.replication_factor), (2, None));
        assert!(imported.remarks[0].contains("(2, 3)"), "{imported:?}");
    }

    #[test]
    fn a_move_under_way_counts_as_what_it_leads_to() {
        let topic: TopicName = "orders".parse().unwrap();
        let running = |topic: &TopicName| Reassignment {
            partition: TopicPartition { topic: topic.clone(), partition: 1 },
            replicas: vec![3, 1, 2],
            adding: vec![3],
            removing: vec![2],
        };
        let described = described(&[&[1, 2], &[3, 1, 2]], &[]);
        let imported = ImportedTopic::of(topic.clone(), &described, &[running(&topic)]);
        assert_eq!((imported.replication_factor, imported.remarks.len()), (Some(2), 0));
        let other = ImportedTopic::of(topic, &described, &[running(&"bills".parse().unwrap())]);
        assert_eq!(other.replication_factor, None);
    }

    #[test]
    fn what_a_manifest_may_not_declare_is_left_out() {
        let configs = [
            ("follower.replication.throttled.replicas", "0:1"),
            ("key.of.the.future", "1"),
            ("retention.ms", "-1"),
        ];
        let imported = ImportedTopic::of("orders".parse().unwrap(), &described(&[&[1]], &configs), &[]);
        assert_eq!(imported.configs.keys().collect::<Vec<_>>(), ["retention.ms"]);
        assert_eq!(imported.remarks.len(), 1, "throttles pass and are no remark: {imported:?}");
        assert!(imported.remarks[0].contains("key.of.the.future"), "{imported:?}");
    }
}
