//! Whatever pod template the API server may accept: injection is stable, reversible, and leaves alone what others put there.
#![allow(clippy::unwrap_used)] // clippy knows tests by their functions, not by their file

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};
use topicops_contract::Workload;
use topicops_webhook::{Answer, Review, Unquestioned, mutate, mutate_stored};

/// Absent, null, or a list: Kubernetes takes them all.
fn list(item: impl Strategy<Value = Value> + 'static, most: usize) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Value::Null)),
        4 => vec(item, 0..=most).prop_map(|items| Some(Value::Array(items))),
    ]
}

fn variable() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        select(vec!["1", "", "-Xmx1g -Da=b", "/bindings", "/bindings//", "relative", "$(HOME)/x", "ü\n\"\\"])
            .prop_map(|text| json!({"value": text})),
        Just(json!({})),
        Just(json!({"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})),
        select(vec!["username", "password", "other"])
            .prop_map(|key| json!({"valueFrom": {"secretKeyRef": {"name": "theirs", "key": key}}})),
    ];
    let name =
        select(vec!["A", "B", "KAFKA_OPTS", "SERVICE_BINDING_ROOT", "KAFKA_USERNAME", "KAFKA_PASSWORD"]);
    (name, value).prop_map(|(name, mut value)| {
        value["name"] = json!(name);
        value
    })
}

fn mount() -> impl Strategy<Value = Value> {
    (select(vec!["data", "tmp"]), 0..5_u8, option::of(Just("part"))).prop_map(|(name, at, sub_path)| {
        let mut mount =
            json!({"name": name, "mountPath": format!("/mnt/{at}/credentials"), "mountPropagation": "None"});
        if let Some(sub_path) = sub_path {
            mount["subPath"] = json!(sub_path);
        }
        mount
    })
}

fn volume() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"name": "data", "emptyDir": {}}),
        json!({"name": "tmp", "secret": {"secretName": "theirs", "optional": true}}),
        json!({"name": "kafka", "projected": {"sources": []}}),
    ])
}

fn container() -> impl Strategy<Value = Map<String, Value>> {
    (list(variable(), 4), list(mount(), 3), any::<bool>()).prop_map(|(env, mounts, sidecar)| {
        let mut container = Map::from_iter([("image".to_owned(), json!("registry.example/app:1"))]);
        if sidecar {
            container.insert("restartPolicy".to_owned(), json!("Always"));
        }
        container.extend(env.map(|env| ("env".to_owned(), env)));
        container.extend(mounts.map(|mounts| ("volumeMounts".to_owned(), mounts)));
        container
    })
}

fn pod() -> impl Strategy<Value = Value> {
    (vec(container(), 1..4), option::of(vec(container(), 0..3)), list(volume(), 3)).prop_map(
        |(containers, init, volumes)| {
            let named = |prefix: &str, containers: Vec<Map<String, Value>>| {
                let containers = containers.into_iter().enumerate().map(|(at, mut container)| {
                    container.insert("name".to_owned(), json!(format!("{prefix}{at}")));
                    Value::Object(container)
                });
                Value::Array(containers.collect())
            };
            let mut spec =
                json!({"containers": named("app", containers), "futureField": {"of": ["Kubernetes"]}});
            if let Some(init) = init {
                spec["initContainers"] = named("init", init);
            }
            if let Some(volumes) = volumes {
                spec["volumes"] = volumes;
            }
            spec
        },
    )
}

/// Annotations that any of those pods can fulfil: it always has a container `app0`.
fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    (
        select(vec![None, Some("files"), Some("env"), Some("files,env"), Some("none")]),
        option::of(Just("app0")),
        option::of(select(vec!["one", "two"])),
        any::<bool>(),
    )
        .prop_map(|(inject, containers, secret, asks)| {
            let mut annotations = BTreeMap::new();
            let mut put = |key: &str, value: Option<&str>| {
                annotations.extend(value.map(|value| (format!("topic.kafka.nb/{key}"), value.to_owned())));
            };
            put("consumes", asks.then_some("orders,audit*"));
            put("inject", inject);
            put("containers", containers);
            put("topic-secret", secret);
            annotations
        })
}

fn object(kind: &str, pod: &Value, annotations: &BTreeMap<String, String>, labelled: bool) -> Value {
    let template = json!({"spec": pod});
    let spec = match kind {
        "CronJob" => json!({"jobTemplate": {"spec": {"template": template}}}),
        "Pod" => pod.clone(),
        _ => json!({"template": template}),
    };
    let labels = if labelled { json!({"kafka-operator": "inject-credentials"}) } else { json!({}) };
    json!({"metadata": {"name": "orders", "labels": labels, "annotations": annotations}, "spec": spec})
}

fn pod_of<'o>(kind: &str, object: &'o Value) -> &'o Value {
    let path = match kind {
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        "Pod" => "/spec",
        _ => "/spec/template/spec",
    };
    object.pointer(path).unwrap()
}

const STAMP: &str = "topic.kafka.nb/credentials";

fn template_of(kind: &str) -> &'static str {
    if kind == "CronJob" { "/spec/jobTemplate/spec/template" } else { "/spec/template" }
}

/// As topicops writes it while it rotates credentials.
fn stamped(kind: &str, object: &Value) -> Value {
    let mut object = object.clone();
    let template = object.pointer_mut(template_of(kind)).unwrap();
    template["metadata"]["annotations"][STAMP] = json!("topicops.shop.orders_2 2026-11-21T12:00:00Z");
    object
}

fn is_stamped(kind: &str, object: &Value) -> bool {
    !object.pointer(template_of(kind)).unwrap()["metadata"]["annotations"][STAMP].is_null()
}

/// The object after admission, and whether that changed it.
fn admit(kind: &str, object: &Value, old: &Value) -> (Value, bool) {
    let group = match kind {
        "Pod" => "",
        "Job" | "CronJob" => "batch",
        _ => "apps",
    };
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u", "kind": {"group": group, "version": "v1", "kind": kind}, "namespace": "shop", "name": "orders",
            "operation": if old.is_null() { "CREATE" } else { "UPDATE" }, "object": object, "oldObject": old,
        },
    });
    let body = serde_json::to_vec(&review).unwrap();
    let answer = mutate(&Review::read(&body).unwrap(), &Unquestioned);
    assert!(matches!(answer, Answer::Allowed { .. }), "{answer:?}");
    let mut result = object.clone();
    let Some(patch) = answer.patch() else { return (result, false) };
    json_patch::patch(&mut result, patch.operations()).unwrap();
    (result, true)
}

/// The API server does not tell absent, null and empty lists apart.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null() && **value != json!([]))
            .map(|(key, value)| (key.clone(), normal(value)))
            .collect(),
        Value::Array(items) => items.iter().map(normal).collect(),
        other => other.clone(),
    }
}

/// As [`normal`], with our additions in one order.
fn sorted(value: &Value) -> Value {
    match normal(value) {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect(),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        other => other,
    }
}

fn items<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Every list begins as it was, and every other field is as it was.
fn only_added(before: &Value, after: &Value) -> Result<(), TestCaseError> {
    prop_assert!(items(after, "volumes").starts_with(items(before, "volumes")));
    for list in ["initContainers", "containers"] {
        prop_assert_eq!(items(before, list).len(), items(after, list).len());
        for (before, after) in items(before, list).iter().zip(items(after, list)) {
            for field in ["env", "volumeMounts"] {
                prop_assert!(items(after, field).starts_with(items(before, field)), "{} {}", before, after);
            }
            let rest = |container: &Value| {
                let mut rest = container.clone();
                rest.as_object_mut().unwrap().retain(|key, _| key != "env" && key != "volumeMounts");
                rest
            };
            prop_assert_eq!(rest(before), rest(after));
        }
    }
    prop_assert_eq!(&before["futureField"], &after["futureField"]);
    Ok(())
}

fn kind() -> impl Strategy<Value = &'static str> {
    select(vec!["Deployment", "StatefulSet", "DaemonSet", "CronJob"])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn injection_is_stable_and_reversible_and_only_adds(
        kind in kind(), pod in pod(), annotations in annotations(),
    ) {
        let original = object(kind, &pod, &annotations, true);
        let (injected, _) = admit(kind, &original, &Value::Null);
        only_added(&pod, pod_of(kind, &injected))?;

        let (again, changed) = admit(kind, &injected, &injected);
        prop_assert!(!changed, "{injected}\nbecame\n{again}");

        // The label goes, and with it perhaps the annotations.
        for rest in [annotations.clone(), BTreeMap::new()] {
            let bare = object(kind, pod_of(kind, &injected), &rest, false);
            let (reverted, _) = admit(kind, &bare, &injected);
            prop_assert_eq!(normal(&pod), normal(pod_of(kind, &reverted)));
        }
    }

    #[test]
    fn what_cannot_be_changed_later_is_right_from_the_beginning(
        kind in select(vec!["Job", "Pod"]), pod in pod(), annotations in annotations(),
    ) {
        let (injected, _) = admit(kind, &object(kind, &pod, &annotations, true), &Value::Null);
        only_added(&pod, pod_of(kind, &injected))?;
        prop_assert!(!admit(kind, &injected, &Value::Null).1, "asked again, it changes more");
        let other = object(kind, pod_of(kind, &injected), &BTreeMap::new(), false);
        prop_assert!(!admit(kind, &other, &injected).1, "the API server would refuse a change");
    }

    #[test]
    fn whose_credentials_the_pods_have_is_left_alone_while_it_asks_for_some_and_goes_as_it_begins_or_asks_no_more(
        kind in kind(), pod in pod(), annotations in annotations(),
    ) {
        let asks = annotations.contains_key("topic.kafka.nb/consumes");
        let copied = stamped(kind, &object(kind, &pod, &annotations, true));
        let (begun, _) = admit(kind, &copied, &Value::Null);
        prop_assert!(!is_stamped(kind, &begun), "{begun}");

        let rotated = stamped(kind, &begun);
        let (again, _) = admit(kind, &rotated, &rotated);
        prop_assert_eq!(is_stamped(kind, &again), asks, "{}", again);
        let workload = Workload::new("shop", kind.parse().unwrap(), "orders");
        let healed = mutate_stored(&workload, &rotated.to_string());
        prop_assert_eq!(healed.patch().is_none(), asks, "{:?}", healed);

        let mut bare = rotated.clone();
        bare["metadata"]["labels"] = json!({});
        let (over, _) = admit(kind, &bare, &rotated);
        prop_assert!(!is_stamped(kind, &over), "{over}");
    }

    #[test]
    fn changed_annotations_lead_where_a_new_object_with_them_would_be(
        kind in kind(), pod in pod(), before in annotations(), after in annotations(),
    ) {
        let (old, _) = admit(kind, &object(kind, &pod, &before, true), &Value::Null);
        let (moved, _) = admit(kind, &object(kind, pod_of(kind, &old), &after, true), &old);
        let (fresh, _) = admit(kind, &object(kind, &pod, &after, true), &Value::Null);
        prop_assert_eq!(sorted(pod_of(kind, &moved)), sorted(pod_of(kind, &fresh)));
        prop_assert!(!admit(kind, &moved, &moved).1);
    }

    #[test]
    fn no_body_makes_it_panic(body in vec(any::<u8>(), 0..200), text in ".{0,80}") {
        let _ = Review::read(&body).map(|review| mutate(&review, &Unquestioned));
        let object = format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u",
            "kind":{{"group":"apps","kind":"Deployment"}},"operation":"CREATE","object":{}}}}}"#,
            json!({"metadata": {"labels": {"kafka-operator": "inject-credentials"},
                "annotations": {"topic.kafka.nb/consumes": text}}, "spec": text}),
        );
        let review = Review::read(object.as_bytes()).unwrap();
        let _ = mutate(&review, &Unquestioned);
    }
}
