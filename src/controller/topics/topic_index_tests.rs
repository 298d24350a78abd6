use serde_json::json;
use topicops_contract::keys;

use super::*;

fn config_map(name: &str, data: &[(&str, &str)], annotations: &[(&str, &str)]) -> ConfigMap {
    let own = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    };
    let mut config_map = ConfigMap { data: own(data), ..ConfigMap::default() };
    config_map.metadata.name = Some(name.to_owned());
    config_map.metadata.namespace = Some("shop".to_owned());
    config_map.metadata.annotations = own(annotations);
    config_map
}

fn taken(index: &TopicIndex) -> Vec<String> {
    index.take_dirty(100).0.iter().map(ToString::to_string).collect()
}

#[test]
fn a_change_of_data_makes_its_topic_dirty_and_one_of_the_status_does_not() {
    let index = TopicIndex::default();
    index.lead(true);
    index.apply(config_map("orders", &[("partitions", "1")], &[]));
    assert_eq!(taken(&index), ["orders"]);
    index.apply(config_map(
        "orders",
        &[("partitions", "1")],
        &[(keys::topic::STATUS, "{}"), ("other/a", "b")],
    ));
    assert!(taken(&index).is_empty());
    index.apply(config_map("orders", &[("partitions", "2")], &[]));
    assert_eq!(taken(&index), ["orders"]);
}

#[test]
fn a_renamed_topic_makes_both_names_dirty() {
    let index = TopicIndex::default();
    index.lead(true);
    index.apply(config_map("orders", &[("name", "Orders")], &[]));
    taken(&index);
    index.apply(config_map("orders", &[("name", "Orders2")], &[]));
    assert_eq!(taken(&index), ["Orders", "Orders2"]);
    assert!(index.declarations(&"Orders".parse().unwrap()).is_empty());
}

#[test]
fn a_removed_config_map_leaves_its_topic_dirty() {
    let index = TopicIndex::default();
    index.lead(true);
    index.apply(config_map("orders", &[], &[]));
    taken(&index);
    Index::<ConfigMap>::remove(&index, &ObjectKey::new("shop", "orders"));
    assert_eq!(taken(&index), ["orders"]);
    assert!(index.keys_of(TopicObjectKind::ConfigMap).is_empty());
}

#[test]
fn a_look_at_everything_forgets_nothing_that_waits() {
    let index = TopicIndex::default();
    index.lead(true);
    for name in ["orders", "payments"] {
        index.apply(config_map(name, &[], &[]));
    }
    taken(&index);
    Index::<ConfigMap>::remove(&index, &ObjectKey::new("shop", "orders"));
    index.mark_all();
    assert_eq!(taken(&index), ["orders", "payments"], "nobody declares orders any more");
}

#[test]
fn a_config_map_that_was_refused_its_topic_lets_nobody_in() {
    let index = TopicIndex::default();
    index.lead(true);
    let refused = r#"{"state":"Refused","reason":"AdoptionNotAllowed","hash":"","time":""}"#;
    index.apply(config_map("orders", &[], &[]));
    assert!(index.with_grants(|grants| grants.owner("orders").is_some()));
    index.apply(config_map("orders", &[], &[(keys::topic::STATUS, refused)]));
    assert!(index.with_grants(TopicGrants::is_empty));
    index.apply(config_map("other", &[("name", "orders")], &[]));
    assert_eq!(
        index.with_grants(|grants| grants.owner("orders").map(|owner| owner.owner.name.clone())),
        Some("other".to_owned())
    );
    Index::<ConfigMap>::remove(&index, &ObjectKey::new("shop", "other"));
    assert!(index.with_grants(TopicGrants::is_empty));
}

#[test]
fn a_status_that_the_watch_tells_of_before_its_writer_hears_of_it_is_nobodys_edit() {
    let index = TopicIndex::default();
    index.lead(true);
    index.apply(config_map("orders", &[], &[]));
    taken(&index);
    let key = TopicObjectKey::new(TopicObjectKind::ConfigMap, "shop", "orders");
    let uid = index.object(&key).unwrap().uid;
    let forged = r#"{"state":"Ready","reason":"InSync","hash":"","time":""}"#;
    let forged_status: Status = serde_json::from_str(forged).unwrap();
    for message in ["first", "second", "third"] {
        let status = Status { message: message.to_owned(), ..forged_status.clone() };
        index.note_writing(&key, &uid, &status);
        let text = serde_json::to_string(&status).unwrap();
        index.apply(config_map("orders", &[], &[(keys::topic::STATUS, &text)]));
        assert!(!index.has_dirty(), "its {message} status is looked at");
        index.note_status(&key, &uid, status, false);
    }
    index.apply(config_map("orders", &[], &[(keys::topic::STATUS, forged)]));
    assert_eq!(taken(&index), ["orders"], "somebody else's is");
}

#[test]
fn a_limit_leaves_the_rest_for_later() {
    let index = TopicIndex::default();
    index.lead(true);
    for name in ["a", "b", "c"] {
        index.apply(config_map(name, &[], &[]));
    }
    assert_eq!(index.take_dirty(2).0.len(), 2);
    assert_eq!(taken(&index), ["c"]);
    assert!(!index.has_dirty());
}

fn kafka_topic(generation: i64, annotations: &[(&str, &str)], status: serde_json::Value) -> KafkaTopic {
    let mut topic = KafkaTopic::new(config_map("orders", &[], annotations).metadata, json!({}));
    topic.metadata.generation = Some(generation);
    topic.status = status;
    topic
}

#[test]
fn a_listing_of_one_kind_leaves_the_other_of_the_same_name_alone() {
    let index = TopicIndex::default();
    index.lead(true);
    index.apply(config_map("orders", &[], &[]));
    index.apply(kafka_topic(1, &[], serde_json::Value::Null));
    let topic = "orders".parse().unwrap();
    assert_eq!(index.declarations(&topic).len(), 2);
    for key in Index::<KafkaTopic>::keys(&index) {
        Index::<KafkaTopic>::remove(&index, &key);
    }
    let left = index.declarations(&topic);
    assert_eq!(left.iter().map(|one| one.object.to_string()).collect::<Vec<_>>(), ["ConfigMap shop/orders"]);
}

#[test]
fn what_an_author_changes_of_a_kafka_topic_makes_it_dirty_and_its_status_does_not() {
    let index = TopicIndex::default();
    index.lead(true);
    index.apply(kafka_topic(1, &[], json!({})));
    assert_eq!(taken(&index), ["orders"]);
    let ready = json!({ "observedGeneration": 1, "conditions": [{
        "type": "Ready", "status": "True", "reason": "InSync", "message": "", "lastTransitionTime": "t",
    }] });
    index.apply(kafka_topic(1, &[("other/a", "b")], ready.clone()));
    assert!(taken(&index).is_empty());
    index.apply(kafka_topic(2, &[], ready.clone()));
    assert_eq!(taken(&index), ["orders"]);
    // An annotation of ours is a mistake here, and changes no generation.
    index.apply(kafka_topic(2, &[(keys::topic::PAUSED, "true")], ready));
    assert_eq!(taken(&index), ["orders"]);
}

#[test]
fn who_fits_only_now_or_no_longer_is_looked_at_again() {
    let rules = "{ defaults: { partitions: 1 }, limits: { total-partitions: { max: 10 } } }";
    let index = TopicIndex::default();
    index.lead(true);
    let rules = Arc::new(crate::topic::limits::TopicRules::parse(rules).unwrap());
    index.govern(TopicPolicy { rules, ..TopicPolicy::default() });
    let over = || index.under_policy(&PlanContext::default()).over_quota.len();
    for (name, created) in [("old", 1), ("young", 2)] {
        let mut object = config_map(name, &[("partitions", "6")], &[]);
        let time = jiff::Timestamp::from_second(created).unwrap();
        object.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
        index.apply(object);
    }
    taken(&index);
    assert_eq!((over(), taken(&index)), (1, vec!["young".to_owned()]));
    assert_eq!((over(), taken(&index)), (1, vec![]), "it is no news any more");
    Index::<ConfigMap>::remove(&index, &ObjectKey::new("shop", "old"));
    taken(&index);
    assert_eq!((over(), taken(&index)), (0, vec!["young".to_owned()]));
}

#[test]
fn what_a_status_says_of_partitions_makes_no_room_in_totals() {
    let rules =
        "{ defaults: { partitions: 1 }, limits: { topics: { max: 1 }, total-partitions: { max: 10 } } }";
    let index = TopicIndex::default();
    index.lead(true);
    let rules = Arc::new(crate::topic::limits::TopicRules::parse(rules).unwrap());
    index.govern(TopicPolicy { rules, ..TopicPolicy::default() });
    let there = Extent { partitions: 10, replication_factor: 1, retention_bytes: None };
    index.hold([("orders".parse().unwrap(), Some(("shop".to_owned(), there)))]);
    let status = r#"{"state":"Ready","reason":"InSync","partitions":50,"hash":"","time":""}"#;
    let over = || {
        let over = index.under_policy(&PlanContext::default()).over_quota;
        over.iter().map(|(key, found)| (key.name.clone(), found.len())).collect::<Vec<_>>()
    };
    // It stood for a topic that is there, and its author has it stand for another.
    index.apply(config_map("orders", &[], &[(keys::topic::STATUS, status)]));
    assert_eq!(over(), []);
    index.apply(config_map("orders", &[("name", "new")], &[(keys::topic::STATUS, status)]));
    assert_eq!(over(), [("orders".to_owned(), 2)]);
    index.apply(config_map("orders", &[], &[(keys::topic::STATUS, status)]));
    // Its author wrote the status himself.
    index.apply(config_map("forged", &[("partitions", "50")], &[(keys::topic::STATUS, status)]));
    assert_eq!(over(), [("forged".to_owned(), 2)]);
}

#[test]
fn what_a_new_ledger_does_not_hold_counts_no_more() {
    let index = TopicIndex::default();
    index.lead(true);
    let rules = "limits: { topics: { max: 1 } }";
    let rules = Arc::new(crate::topic::limits::TopicRules::parse(rules).unwrap());
    index.govern(TopicPolicy { rules, ..TopicPolicy::default() });
    index.apply(config_map("orders", &[], &[]));
    let there = Extent { partitions: 1, replication_factor: 1, retention_bytes: None };
    let over = || index.under_policy(&PlanContext::default()).over_quota.len();
    index.hold([("gone".parse().unwrap(), Some(("shop".to_owned(), there)))]);
    assert_eq!(over(), 1);
    taken(&index);
    index.hold_only([]);
    assert_eq!((over(), taken(&index)), (0, vec!["orders".to_owned()]), "there is room now");
}

#[test]
fn another_policy_has_everything_looked_at_again_where_this_replica_leads() {
    let index = TopicIndex::default();
    index.apply(config_map("orders", &[], &[]));
    index.govern(TopicPolicy::default());
    assert!(taken(&index).is_empty());
    index.lead(true);
    index.govern(TopicPolicy::default());
    assert_eq!(taken(&index), ["orders"]);
}

#[test]
fn what_is_not_as_declared_is_counted_by_reasons_that_there_are() {
    let index = TopicIndex::default();
    for (name, reason) in [("a", "InUse"), ("b", "InUse"), ("c", "InSync"), ("d", "MadeUpByATenant")] {
        let status = format!(r#"{{"state":"Refused","reason":"{reason}","hash":"","time":""}}"#);
        index.apply(config_map(name, &[], &[(keys::topic::STATUS, &status)]));
    }
    assert_eq!(index.refusals(), BTreeMap::from([(Reason::InUse, 2)]));
}
