//! The facts, as functions over the port. Every name begins with the prefix, so that they can share a broker.

mod access;
mod moves;
mod records;
mod topics;

pub(crate) use access::*;
pub(crate) use moves::*;
pub(crate) use records::Records;
use topicops::kafka::{Cluster, Item};
pub(crate) use topics::*;

/// The Kafka numbers of the errors of a batch, 0 where there is none.
pub(crate) fn numbers<T>(outcomes: &[Item<T>]) -> Vec<i16> {
    outcomes.iter().map(|outcome| outcome.as_ref().err().map_or(0, |error| error.number)).collect()
}

pub(crate) async fn a_cluster_has_an_id_and_brokers(cluster: &dyn Cluster, _: &str) {
    let description = cluster.describe_cluster().await.unwrap();
    assert!(!description.cluster_id.is_empty());
    let racks = (1..).zip(["rack-1", "rack-2", "rack-3"]).map(|(id, rack)| (id, Some(rack.to_owned())));
    assert_eq!(description.brokers, racks.collect::<Vec<_>>());
    assert_eq!(cluster.describe_cluster().await.unwrap(), description);
}

pub(crate) async fn empty_batches_have_empty_answers(cluster: &dyn Cluster, _: &str) {
    assert!(cluster.describe_topics(&[], &topicops::kafka::ConfigKeys::All).await.unwrap().is_empty());
    assert!(cluster.create_topics(&[]).await.unwrap().is_empty());
    assert!(cluster.create_partitions(&[]).await.unwrap().is_empty());
    assert!(cluster.alter_configs(&[]).await.unwrap().is_empty());
    assert!(cluster.delete_topics(&[]).await.unwrap().is_empty());
    assert!(cluster.alter_reassignments(&[]).await.unwrap().is_empty());
    assert!(cluster.elect_preferred_leaders(&[]).await.unwrap().is_empty());
    assert!(
        cluster.describe_broker_configs(&[], &topicops::kafka::ConfigKeys::All).await.unwrap().is_empty()
    );
    assert!(cluster.alter_broker_configs(&[]).await.unwrap().is_empty());
    assert!(cluster.create_acls(&[]).await.unwrap().is_empty());
    assert!(cluster.delete_acls(&[]).await.unwrap().is_empty());
    assert!(cluster.alter_quotas(&[]).await.unwrap().is_empty());
    assert!(cluster.upsert_scram_users(&[]).await.unwrap().is_empty());
    assert!(cluster.delete_scram_users(&[]).await.unwrap().is_empty());
    assert!(cluster.check_logins(&[]).await.unwrap().is_empty());
}
