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
    a_topic_that_was_made_anew_is_not_deleted_in_the_place_of_the_old_one,
    several_hundred_topics_go_through_in_order,
    rules_come_and_go,
    other_users_rules_are_not_described,
    malformed_rules_are_refused,
    quotas_come_and_go,
    other_users_quotas_are_not_described,
    a_bad_quota_fails_with_all_that_is_said_of_its_user,
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

mod rights {
    use topicops::kafka::{
        Acl, Cluster, ConfigKeys, OwnRight, QuotaClients, QuotaTarget, ScramKeys, ScramMechanism,
        TopicPartition,
    };
    use topicops_contract::Password;

    use crate::{kafka_broker, kafka_suite::numbers, kafka_support::eventually};

    #[tokio::test]
    async fn what_the_script_grants_is_enough() {
        let broker = kafka_broker::three_brokers().await;
        let admin = broker.cluster();
        let user = format!("{}.itself", broker.prefix());
        let rules: Vec<Acl> = OwnRight::ALL.iter().map(|right| right.acl(&user)).collect();
        for outcome in admin.create_acls(&rules).await.unwrap() {
            outcome.unwrap();
        }
        let keys = ScramKeys::derive(ScramMechanism::Sha512, 4096, &Password::new("hunter2")).unwrap();
        admin.upsert_scram_users(&[(user.clone(), keys)]).await.unwrap().remove(0).unwrap();
        let jaas = format!(
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{user}\" password=\"hunter2\";"
        );
        let ours = kafka_broker::cluster(&broker.with("sasl.jaas.config", &jaas));
        eventually("all rights on all brokers", || async {
            let told = |error: &dyn std::fmt::Display| error.to_string();
            ours.describe_acls("").await.map_err(|error| told(&error))?;
            ours.describe_quotas("").await.map_err(|error| told(&error))?;
            ours.consuming_groups().await.map_err(|error| told(&error))?;
            ours.list_reassignments().await.map_err(|error| told(&error))?;
            let disks = ours.describe_log_dirs().await.map_err(|error| told(&error))?;
            let settings = ours.describe_broker_configs(&[1, 2, 3], &ConfigKeys::All).await;
            let settings = settings.map_err(|error| told(&error))?;
            let failures = disks.into_values().filter_map(Result::err);
            let failures: Vec<_> = failures.chain(settings.into_iter().filter_map(Result::err)).collect();
            if failures.is_empty() { Ok(()) } else { Err(format!("{failures:?}")) }
        })
        .await;
        let unset = topicops::kafka::ConfigChange {
            unset: vec!["follower.replication.throttled.rate".to_owned()],
            ..Default::default()
        };
        assert_eq!(numbers(&ours.alter_broker_configs(&[(2, unset)]).await.unwrap()), [0]);
        let quota = QuotaTarget {
            username: format!("{user}.absent"),
            clients: QuotaClients::All,
            key: QuotaTarget::PRODUCER_BYTE_RATE.to_owned(),
        };
        assert_eq!(numbers(&ours.alter_quotas(&[(quota, None)]).await.unwrap()), [0]);
        let absent = TopicPartition { topic: format!("{user}.absent").parse().unwrap(), partition: 0 };
        // Nobody is told that something is absent who may not do it.
        let moves = [(absent.clone(), Some(vec![1]))];
        assert_eq!(numbers(&ours.alter_reassignments(&moves).await.unwrap()), [3]);
        assert_eq!(numbers(&ours.elect_preferred_leaders(&[absent]).await.unwrap()), [3]);
        admin.delete_acls(&rules).await.unwrap();
        admin.delete_scram_users(&[user]).await.unwrap();
    }
}

mod settings {
    use rdkafka::{
        admin::{AdminClient, AdminOptions, ConfigEntry, ResourceSpecifier},
        client::DefaultClientContext,
    };
    use topicops::kafka::{Cluster, NewTopic};
    use topicops_contract::TopicConfig;

    use crate::{kafka_broker, kafka_support::eventually};

    #[tokio::test]
    async fn what_brokers_know_of_a_topic_is_known_and_their_own_values_are_valid() {
        let broker = kafka_broker::three_brokers().await;
        let name = format!("{}.settings", broker.prefix());
        let topic = NewTopic {
            name: name.parse().unwrap(),
            partitions: None,
            replication_factor: None,
            placement: None,
            configs: Default::default(),
        };
        broker.cluster().create_topics(&[topic]).await.unwrap().remove(0).unwrap();
        let admin: AdminClient<DefaultClientContext> = broker.librdkafka().create().unwrap();
        let entries: Vec<ConfigEntry> = eventually("the topic's settings", || async {
            let asked = [&ResourceSpecifier::Topic(&name)];
            let answers = admin.describe_configs(asked, &AdminOptions::new()).await;
            let answer = answers.map_err(|error| error.to_string())?.remove(0);
            answer.map(|resource| resource.entries).map_err(|error| error.to_string())
        })
        .await;
        assert!(entries.iter().any(|entry| entry.name == "retention.ms"), "{entries:?}");
        let refused: Vec<String> = entries
            .iter()
            .filter_map(|entry| TopicConfig::check(&entry.name, entry.value.as_deref()?).err())
            .map(|problem| problem.to_string())
            .collect();
        assert!(refused.is_empty(), "{refused:#?}");
        let unknown = entries.iter().filter(|entry| TopicConfig::known(&entry.name).is_none());
        assert_eq!(unknown.map(|entry| &entry.name).collect::<Vec<_>>(), [""; 0]);
    }
}
