//! One look at the brokers.

use std::collections::{BTreeMap, BTreeSet};

use topicops_contract::TopicName;

use super::{BrokerDefaults, Mover, mover::Work};
use crate::{
    kafka::{BrokerConfigs, ClusterError, ConfigKeys, Item, TopicPartition},
    moves::{BrokerRates, Observed, Phase, SeenThrottles, Side},
};

/// Looks after which a move that Kafka does not list, and that has not arrived, was called off by somebody.
const LOST: u32 = 10;

impl Mover {
    pub(super) async fn observe(&self, work: &mut Work, throttles: bool) -> Result<Observed, ClusterError> {
        let state = &work.state;
        let names: BTreeSet<TopicName> =
            state.topics.keys().chain(state.throttles.topics()).cloned().collect();
        let names: Vec<TopicName> = names.into_iter().collect();
        let mut keys = BTreeSet::from(["min.insync.replicas".to_owned()]);
        if throttles {
            keys.extend(Side::BOTH.map(|side| side.list_key().to_owned()));
        }
        let keys = ConfigKeys::Only(keys);
        // Moves first: one that ends meanwhile is seen to have arrived.
        let reassignments = self.cluster.list_reassignments().await?;
        let (cluster, described) =
            tokio::try_join!(self.cluster.describe_cluster(), self.cluster.describe_topics(&names, &keys))?;
        let brokers: BTreeSet<i32> = cluster.brokers.iter().map(|(broker, _)| *broker).collect();
        let topics: BTreeMap<TopicName, _> = names
            .into_iter()
            .zip(described)
            .filter_map(|(name, described)| Some((name, described.ok()?)))
            .collect();
        if work.min_in_sync.is_none() && !work.state.topics.is_empty() {
            let ids: Vec<i32> = brokers.iter().copied().collect();
            let defaults = BrokerDefaults::read(self.cluster.as_ref(), &ids).await?;
            work.min_in_sync = defaults.map(|defaults| defaults.min_in_sync);
        }
        let seen = if throttles {
            let ids: Vec<i32> = brokers.iter().copied().collect();
            let rates = ConfigKeys::Only(Side::BOTH.map(|side| side.rate_key().to_owned()).into());
            let told = self.cluster.describe_broker_configs(&ids, &rates).await?;
            let lists = topics.iter().filter_map(|(name, topic)| {
                let configs = &topic.as_ref()?.configs;
                Some((name.clone(), Side::BOTH.map(|side| configs.get(side.list_key()).cloned())))
            });
            Some(SeenThrottles {
                brokers: ids.into_iter().zip(told).filter_map(rates_of).collect(),
                topics: lists.collect(),
            })
        } else {
            None
        };
        let mut observed = Observed {
            reassignments,
            topics,
            brokers,
            min_in_sync: work.min_in_sync,
            throttles: seen,
            paused: self.desk.paused(),
            lost: BTreeSet::new(),
        };
        work.count_lost(&observed);
        observed.lost =
            work.unlisted.iter().filter(|(_, looks)| **looks >= LOST).map(|(one, _)| one.clone()).collect();
        Ok(observed)
    }

    /// How much of what is under way those to come have by now.
    pub(super) async fn measure(&self, work: &mut Work) -> Result<(), ClusterError> {
        let disks = self.cluster.describe_log_dirs().await?;
        work.copied.clear();
        for (partition, one) in work.state.partitions().filter(|(_, one)| one.is_under_way()) {
            let here =
                one.adding().filter_map(|broker| disks.get(&broker)?.as_ref().ok()?.size_of(&partition));
            let copied: u64 = here.map(|bytes| bytes.min(one.bytes)).sum();
            work.copied.insert(partition, copied);
        }
        Ok(())
    }
}

fn rates_of((broker, told): (i32, Item<BrokerConfigs>)) -> Option<(i32, BrokerRates)> {
    let told = told.ok()?;
    let own = Side::BOTH.map(|side| told.own.get(side.rate_key()).cloned());
    // Without any setting the rate is as good as infinite.
    let limited =
        |side: Side| told.effective.get(side.rate_key()).is_some_and(|rate| *rate != i64::MAX.to_string());
    let inherited = Side::BOTH.map(|side| own[side.index()].is_none() && limited(side));
    Some((broker, BrokerRates { own, inherited }))
}

impl Work {
    fn count_lost(&mut self, seen: &Observed) {
        let listed: BTreeSet<&TopicPartition> = seen.reassignments.iter().map(|one| &one.partition).collect();
        let before = std::mem::take(&mut self.unlisted);
        for (partition, one) in self.state.partitions() {
            if matches!(one.phase, Phase::Submitted | Phase::Cancelling) && !listed.contains(&partition) {
                let looks = before.get(&partition).copied().unwrap_or(0);
                self.unlisted.insert(partition, looks + 1);
            }
        }
    }
}
