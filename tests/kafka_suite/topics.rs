use std::collections::BTreeMap;

use topicops::kafka::{
    Cluster, ConfigChange, ConfigKeys, DoomedTopic, NewPartitions, NewTopic, TopicDescription,
};
use topicops_contract::TopicName;

use super::numbers;
use crate::kafka_support::eventually;

fn name(prefix: &str, rest: &str) -> TopicName {
    format!("{prefix}.{rest}").parse().unwrap()
}

fn topic(name: &TopicName) -> NewTopic {
    NewTopic {
        name: name.clone(),
        partitions: Some(1.try_into().unwrap()),
        replication_factor: Some(1.try_into().unwrap()),
        placement: None,
        configs: BTreeMap::new(),
    }
}

fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn only(keys: &[&str]) -> ConfigKeys {
    ConfigKeys::Only(keys.iter().map(|key| (*key).to_owned()).collect())
}

async fn create(cluster: &dyn Cluster, topic: &NewTopic) {
    cluster.create_topics(std::slice::from_ref(topic)).await.unwrap().remove(0).unwrap();
}

/// The topic's description once it satisfies `accept`; brokers lag behind their own acknowledgements.
pub(super) async fn described(
    cluster: &dyn Cluster,
    name: &TopicName,
    accept: impl Fn(&TopicDescription) -> bool,
) -> TopicDescription {
    eventually(name.as_str(), || async {
        let seen =
            cluster.describe_topics(std::slice::from_ref(name), &ConfigKeys::All).await.unwrap().remove(0);
        match seen {
            Ok(Some(seen)) if accept(&seen) => Ok(seen),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

pub(crate) async fn all_topics_are_listed(cluster: &dyn Cluster, prefix: &str) {
    let names = [name(prefix, "listed-1"), name(prefix, "listed-2")];
    for name in &names {
        create(cluster, &topic(name)).await;
    }
    let listed = eventually("the topics", || async {
        let listed = cluster.list_topics().await.unwrap();
        let all = names.iter().all(|name| listed.iter().any(|one| one == name.as_str()));
        if all { Ok(listed) } else { Err(format!("{listed:?}")) }
    })
    .await;
    assert!(listed.is_sorted(), "{listed:?}");
}

pub(crate) async fn an_absent_topic_is_none(cluster: &dyn Cluster, prefix: &str) {
    let names = [name(prefix, "absent"), name(prefix, "absent-too")];
    for keys in [ConfigKeys::All, only(&["retention.ms"]), only(&[])] {
        let seen = cluster.describe_topics(&names, &keys).await.unwrap();
        assert_eq!(seen, [Ok(None), Ok(None)]);
    }
}

pub(crate) async fn a_created_topic_has_what_was_asked_for(cluster: &dyn Cluster, prefix: &str) {
    let name = name(prefix, "created");
    let configs = settings(&[("retention.ms", "86400000"), ("cleanup.policy", "compact")]);
    let wanted = NewTopic { partitions: Some(3.try_into().unwrap()), configs, ..topic(&name) };
    let made = cluster.create_topics(std::slice::from_ref(&wanted)).await.unwrap().remove(0).unwrap();
    assert_eq!((made.partitions, made.replication_factor), (Some(3), Some(1)));
    let id = made.id;
    assert_eq!(id.len(), 22, "{id} is no topic id");
    let seen = described(cluster, &name, |seen| !seen.configs.is_empty()).await;
    assert_eq!((seen.id.as_str(), seen.partitions(), seen.replication_factor()), (id.as_str(), 3, 1));
    assert_eq!(seen.configs, wanted.configs);
    assert_eq!(
        seen.inherited.keys().collect::<Vec<_>>(),
        ["retention.bytes"],
        "what is its own is not inherited"
    );
}

pub(crate) async fn only_the_settings_asked_for_are_described(cluster: &dyn Cluster, prefix: &str) {
    let name = name(prefix, "settings");
    let configs =
        settings(&[("retention.ms", "1000"), ("segment.ms", "2000"), ("max.message.bytes", "3000")]);
    create(cluster, &NewTopic { configs: configs.clone(), ..topic(&name) }).await;
    described(cluster, &name, |seen| seen.configs == configs).await;
    for (keys, expected) in [
        (only(&["segment.ms", "cleanup.policy"]), settings(&[("segment.ms", "2000")])),
        (only(&["no.such.key"]), settings(&[])),
        (only(&[]), settings(&[])),
    ] {
        let seen = cluster.describe_topics(std::slice::from_ref(&name), &keys).await.unwrap().remove(0);
        assert_eq!(seen.unwrap().unwrap().configs, expected, "{keys:?}");
    }
}

pub(crate) async fn what_is_left_to_the_brokers_gets_their_defaults(cluster: &dyn Cluster, prefix: &str) {
    let name = name(prefix, "defaults");
    create(cluster, &NewTopic { partitions: None, replication_factor: None, ..topic(&name) }).await;
    let seen = described(cluster, &name, |_| true).await;
    assert!(seen.partitions() >= 1 && seen.replication_factor() >= 1, "{seen:?}");
    assert_eq!(seen.configs, BTreeMap::new(), "inherited settings are not the topic's own");
    assert_eq!(seen.inherited.keys().collect::<Vec<_>>(), TopicDescription::INHERITED);
}

pub(crate) async fn one_bad_topic_fails_alone_and_in_its_place(cluster: &dyn Cluster, prefix: &str) {
    let (there, one, other) = (name(prefix, "there"), name(prefix, "one"), name(prefix, "other"));
    create(cluster, &topic(&there)).await;
    let outcomes = cluster.create_topics(&[topic(&one), topic(&there), topic(&other)]).await.unwrap();
    assert_eq!(numbers(&outcomes), [0, 36, 0]);
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!(error.code, "TOPIC_ALREADY_EXISTS");
    assert!(error.message.contains("already exists") && !error.retriable, "{error}");
}

pub(crate) async fn names_that_kafka_takes_for_the_same_are_refused(cluster: &dyn Cluster, prefix: &str) {
    create(cluster, &topic(&name(prefix, "same.name"))).await;
    let outcomes = cluster.create_topics(&[topic(&name(prefix, "same_name"))]).await.unwrap();
    assert_eq!(numbers(&outcomes), [17]);
}

pub(crate) async fn settings_that_kafka_does_not_know_are_refused(cluster: &dyn Cluster, prefix: &str) {
    let bad =
        [("no.such.key", "1"), ("retention.ms", "soon"), ("retention.ms", "-5"), ("cleanup.policy", "shred")];
    let topics: Vec<NewTopic> = bad
        .iter()
        .enumerate()
        .map(|(n, pair)| NewTopic {
            configs: settings(&[*pair]),
            ..topic(&name(prefix, &format!("bad-{n}")))
        })
        .collect();
    let outcomes = cluster.create_topics(&topics).await.unwrap();
    assert_eq!(numbers(&outcomes), [40; 4]);
    for (outcome, (key, _)) in outcomes.iter().zip(bad) {
        assert!(outcome.as_ref().unwrap_err().message.contains(key), "{outcome:?}");
    }
}

pub(crate) async fn more_replicas_than_brokers_are_refused(cluster: &dyn Cluster, prefix: &str) {
    let wanted =
        NewTopic { replication_factor: Some(99.try_into().unwrap()), ..topic(&name(prefix, "wide")) };
    assert_eq!(numbers(&cluster.create_topics(&[wanted]).await.unwrap()), [38]);
}

pub(crate) async fn partitions_grow_and_never_shrink(cluster: &dyn Cluster, prefix: &str) {
    let (grows, absent) = (name(prefix, "grows"), name(prefix, "grows-not"));
    create(cluster, &topic(&grows)).await;
    let to = |name: &TopicName, count: i32| NewPartitions {
        topic: name.clone(),
        total: count.try_into().unwrap(),
        placement: None,
    };
    let outcomes = cluster.create_partitions(&[to(&absent, 4), to(&grows, 4)]).await.unwrap();
    assert_eq!(numbers(&outcomes), [3, 0]);
    let seen = described(cluster, &grows, |seen| seen.partitions() == 4).await;
    assert!(seen.replicas.iter().all(|replicas| replicas.len() == 1), "{seen:?}");
    for count in [4, 2] {
        assert_eq!(numbers(&cluster.create_partitions(&[to(&grows, count)]).await.unwrap()), [37], "{count}");
    }
}

pub(crate) async fn settings_change_one_by_one(cluster: &dyn Cluster, prefix: &str) {
    let name = name(prefix, "altered");
    let configs = settings(&[("retention.ms", "1000"), ("segment.ms", "2000")]);
    create(cluster, &NewTopic { configs, ..topic(&name) }).await;
    let change = ConfigChange {
        set: settings(&[("retention.ms", "5000"), ("cleanup.policy", "compact")]),
        unset: vec!["segment.ms".to_owned(), "max.message.bytes".to_owned()],
    };
    // Twice: the second time changes nothing and is no error.
    for _ in 0..2 {
        let outcomes = cluster.alter_configs(&[(name.clone(), change.clone())]).await.unwrap();
        assert_eq!(numbers(&outcomes), [0]);
    }
    described(cluster, &name, |seen| seen.configs == change.set).await;
}

pub(crate) async fn bad_changes_of_settings_change_nothing(cluster: &dyn Cluster, prefix: &str) {
    let (kept, absent) = (name(prefix, "kept"), name(prefix, "kept-not"));
    let before = settings(&[("retention.ms", "1000")]);
    create(cluster, &NewTopic { configs: before.clone(), ..topic(&kept) }).await;
    let set = |pairs: &[(&str, &str)]| ConfigChange { set: settings(pairs), unset: Vec::new() };
    let both = ConfigChange { unset: vec!["retention.ms".to_owned()], ..set(&[("retention.ms", "7000")]) };
    for (change, number) in [
        (set(&[("retention.ms", "soon"), ("segment.ms", "2000")]), 40),
        (set(&[("no.such.key", "1")]), 40),
        (both, 42),
    ] {
        let outcomes = cluster.alter_configs(&[(kept.clone(), change.clone())]).await.unwrap();
        assert_eq!(numbers(&outcomes), [number], "{change:?}");
    }
    let outcomes = cluster.alter_configs(&[(absent, set(&[("retention.ms", "1")]))]).await.unwrap();
    assert_eq!(numbers(&outcomes), [3]);
    described(cluster, &kept, |seen| seen.configs == before).await;
}

pub(crate) async fn a_deleted_topic_is_gone_and_cannot_be_deleted_again(cluster: &dyn Cluster, prefix: &str) {
    let (gone, stays) = (name(prefix, "gone"), name(prefix, "stays"));
    create(cluster, &topic(&gone)).await;
    create(cluster, &topic(&stays)).await;
    let doomed = [DoomedTopic::from(gone.clone())];
    assert_eq!(numbers(&cluster.delete_topics(&doomed).await.unwrap()), [0]);
    assert_eq!(numbers(&cluster.delete_topics(&doomed).await.unwrap()), [3]);
    described(cluster, &stays, |_| true).await;
    eventually("the deleted topic", || async {
        match cluster.describe_topics(std::slice::from_ref(&gone), &ConfigKeys::All).await.unwrap().remove(0)
        {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

pub(crate) async fn a_topic_that_was_made_anew_is_not_deleted_in_the_place_of_the_old_one(
    cluster: &dyn Cluster,
    prefix: &str,
) {
    let remade = name(prefix, "remade");
    create(cluster, &topic(&remade)).await;
    let old = described(cluster, &remade, |_| true).await.id;
    assert_eq!(numbers(&cluster.delete_topics(&[remade.clone().into()]).await.unwrap()), [0]);
    create(cluster, &topic(&remade)).await;
    let new = described(cluster, &remade, |seen| seen.id != old).await.id;
    let only = |id: &str| [DoomedTopic { name: remade.clone(), id: Some(id.to_owned()) }];
    assert_eq!(numbers(&cluster.delete_topics(&only(&old)).await.unwrap()), [100]);
    described(cluster, &remade, |seen| seen.id == new).await;
    assert_eq!(numbers(&cluster.delete_topics(&only(&new)).await.unwrap()), [0]);
}

pub(crate) async fn several_hundred_topics_go_through_in_order(cluster: &dyn Cluster, prefix: &str) {
    // More records than one request may hold: the adapter has to take it apart.
    let topics: Vec<NewTopic> = (0..300)
        .map(|n| {
            let configs = settings(&[("retention.ms", &n.to_string())]);
            let partitions = Some((if n % 100 == 0 { 60 } else { 1 }).try_into().unwrap());
            NewTopic { partitions, configs, ..topic(&name(prefix, &format!("many-{n}"))) }
        })
        .collect();
    let created = cluster.create_topics(&topics).await.unwrap().into_iter();
    let ids: Vec<String> = created.map(|made| made.map(|made| made.id)).collect::<Result<_, _>>().unwrap();
    let names: Vec<TopicName> = topics.iter().map(|topic| topic.name.clone()).collect();
    let keys = only(&["retention.ms"]);
    let seen = eventually("all topics", || async {
        let seen = cluster.describe_topics(&names, &keys).await.unwrap();
        let seen: Option<Vec<TopicDescription>> = seen.into_iter().map(Result::unwrap).collect();
        seen.filter(|seen| seen.iter().all(|one| !one.configs.is_empty()))
            .ok_or_else(|| "some are absent".to_owned())
    })
    .await;
    for (n, (id, seen)) in ids.iter().zip(&seen).enumerate() {
        assert_eq!((&seen.id, &seen.configs["retention.ms"]), (id, &n.to_string()));
    }
    let doomed: Vec<_> = names.iter().cloned().map(DoomedTopic::from).collect();
    assert_eq!(numbers(&cluster.delete_topics(&doomed).await.unwrap()), [0; 300]);
}
