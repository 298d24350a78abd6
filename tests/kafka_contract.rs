//! What every adapter of the port to Kafka does, asked of each of them: the same facts hold for the cluster in memory
//! and for real brokers.
#![cfg(feature = "verify")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what tests share may fail as they do"
)]

mod kafka_broker;
mod kafka_suite;
mod kafka_support;

/// One test per fact and adapter: three brokers, each in a rack of its own. What stands behind the semicolon wants
/// records, too.
macro_rules! facts {
    ($($fact:ident),* $(,)?; $($weighty:ident),* $(,)?) => {
        mod memory {
            use topicops::kafka::MemoryCluster;

            fn cluster() -> MemoryCluster {
                let cluster = MemoryCluster::with_racks(&["rack-1", "rack-2", "rack-3"]);
                cluster.set_broker_default("num.partitions", "1");
                cluster
            }

            $(
                #[tokio::test]
                async fn $fact() {
                    crate::kafka_suite::$fact(&cluster(), "fact").await;
                }
            )*
            $(
                #[tokio::test]
                async fn $weighty() {
                    let cluster = cluster();
                    crate::kafka_suite::$weighty(&cluster, "fact", &cluster).await;
                }
            )*
        }

        mod broker {
            $(
                #[tokio::test]
                async fn $fact() {
                    let broker = crate::kafka_broker::three_brokers().await;
                    crate::kafka_suite::$fact(&broker.cluster(), &broker.prefix()).await;
                }
            )*
            $(
                #[tokio::test]
                async fn $weighty() {
                    let broker = crate::kafka_broker::three_brokers().await;
                    crate::kafka_suite::$weighty(&broker.cluster(), &broker.prefix(), broker).await;
                }
            )*
        }
    };
}

facts! {
    a_cluster_has_an_id_and_brokers,
    all_topics_are_listed,
    an_absent_topic_is_none,
    a_created_topic_has_what_was_asked_for,
    only_the_settings_asked_for_are_described,
    what_is_left_to_the_brokers_gets_their_defaults,
    one_bad_topic_fails_alone_and_in_its_place,
    names_that_kafka_takes_for_the_same_are_refused,
    settings_that_kafka_does_not_know_are_refused,
    more_replicas_than_brokers_are_refused,
    partitions_grow_and_never_shrink,
    settings_change_one_by_one,
    bad_changes_of_settings_change_nothing,
    a_deleted_topic_is_gone_and_cannot_be_deleted_again,
    several_hundred_topics_go_through_in_order,
    rules_come_and_go,
    other_users_rules_are_not_described,
    malformed_rules_are_refused,
    users_come_and_go,
    weak_credentials_are_refused,
    a_user_that_stands_twice_in_a_batch_is_refused,
    a_login_sees_what_its_rules_open,
    wrong_keys_and_unknown_users_do_not_log_in,
    empty_batches_have_empty_answers,
    a_placement_is_taken_as_given,
    placements_that_cannot_be_are_refused,
    replicas_come_and_go,
    moves_that_cannot_be_are_refused_in_their_place,
    the_first_replica_is_elected,
    a_brokers_own_settings_come_and_go;
    a_throttled_move_shows_is_called_off_and_ends_without_its_throttle,
    disks_tell_their_size_and_what_is_on_them,
}
