//! The routes, driven without a socket.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy knows tests by their functions, not by their file

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use topicops_contract::{ClientRequest, Problem, TopicManifest, TopicObjectKind};
use topicops_webhook::{
    BODY_LIMIT, Consent, Finding, MUTATE_PATH, Metrics, TopicPolicy, Unquestioned, VALIDATE_PATH,
    WebhookState, router,
};
use tower::ServiceExt;

fn app(consent: impl Consent + 'static, policy: impl TopicPolicy + 'static) -> Router {
    router(WebhookState::new(Arc::new(consent), Arc::new(policy), Metrics::default()))
}

async fn post(app: Router, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request = Request::post(path).body(body.into()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn admit(app: Router, path: &str, review: &Value) -> Value {
    let (status, body) = post(app, path, review.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}

fn deployment(annotations: &Value) -> Value {
    json!({
        "metadata": { "name": "orders", "labels": {"kafka-operator": "inject-credentials"}, "annotations": annotations },
        "spec": { "template": { "spec": { "containers": [{"name": "app"}] } } },
    })
}

fn review(kind: &str, group: &str, object: &Value, old: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "a-b-c",
            "kind": {"group": group, "version": "v1", "kind": kind},
            "namespace": "shop",
            "name": "orders",
            "operation": if old.is_null() { "CREATE" } else { "UPDATE" },
            "object": object,
            "oldObject": old,
        },
    })
}

fn topic(data: &Value, annotations: &Value) -> Value {
    json!({
        "metadata": { "name": "orders", "labels": {"config": "kafka-topic"}, "annotations": annotations },
        "data": data,
    })
}

/// Says the same to everybody.
struct Always(Vec<Finding>);

impl Consent for Always {
    fn review(&self, request: &ClientRequest, _: Option<&ClientRequest>) -> Vec<Finding> {
        assert_eq!(request.workload.to_string(), "Deployment shop/orders");
        self.0.clone()
    }
}

impl TopicPolicy for Always {
    fn review(
        &self,
        _: TopicObjectKind,
        _: &str,
        _: &str,
        _: &TopicManifest,
        _: Option<&TopicManifest>,
    ) -> Vec<Finding> {
        self.0.clone()
    }
}

struct Faulty;

impl Consent for Faulty {
    fn review(&self, _: &ClientRequest, _: Option<&ClientRequest>) -> Vec<Finding> {
        panic!("a fault");
    }
}

#[tokio::test]
async fn what_is_no_review_is_a_bad_request_that_says_why() {
    for body in ["", "{}", "null", r#"{"kind":"Pod"}"#] {
        let (status, text) = post(app(Unquestioned, Unquestioned), MUTATE_PATH, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains("no AdmissionReview"), "{text}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_with_and_without_its_length() {
    let whole = post(app(Unquestioned, Unquestioned), MUTATE_PATH, vec![b' '; BODY_LIMIT + 1]).await;
    assert_eq!(whole.0, StatusCode::PAYLOAD_TOO_LARGE);
    let chunks = (0..8).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024 * 1024]));
    let stream = Body::from_stream(futures::stream::iter(chunks));
    let chunked = post(app(Unquestioned, Unquestioned), MUTATE_PATH, stream).await;
    assert_eq!(chunked.0, StatusCode::PAYLOAD_TOO_LARGE);
    let largest = post(app(Unquestioned, Unquestioned), MUTATE_PATH, vec![b' '; BODY_LIMIT]).await;
    assert_eq!(largest.0, StatusCode::BAD_REQUEST, "the limit itself is still read");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let body = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let (status, _) = post(app(Unquestioned, Unquestioned), MUTATE_PATH, body).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_do_not_come_keep_others_out_for_a_bounded_time_only() {
    let app = app(Unquestioned, Unquestioned);
    let slow = (0..20).map(|_| {
        let body = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        post(app.clone(), MUTATE_PATH, body)
    });
    for (status, _) in futures::future::join_all(slow).await {
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    }
    let review = review("Deployment", "apps", &deployment(&json!({})), &Value::Null);
    assert_eq!(admit(app, MUTATE_PATH, &review).await["allowed"], true);
}

#[tokio::test]
async fn a_panic_is_an_error_and_never_an_admission() {
    let review = review(
        "Deployment",
        "apps",
        &deployment(&json!({"topic.kafka.nb/consumes": "orders"})),
        &Value::Null,
    );
    let (status, _) = post(app(Faulty, Unquestioned), MUTATE_PATH, review.to_string()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn other_paths_and_methods_are_not_served() {
    let app = app(Unquestioned, Unquestioned);
    assert_eq!(post(app.clone(), "/", "").await.0, StatusCode::NOT_FOUND);
    let get = Request::get(MUTATE_PATH).body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(get).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn missing_consent_is_a_warning_or_a_denial_as_the_operator_is_set() {
    let object = deployment(&json!({"topic.kafka.nb/consumes": "orders"}));
    let new = review("Deployment", "apps", &object, &Value::Null);
    let warn = Always(vec![Finding::Warning("no grant".repeat(100)); 40]);
    let answer = admit(app(warn, Unquestioned), MUTATE_PATH, &new).await;
    assert_eq!(answer["allowed"], true);
    assert!(answer["patch"].is_string());
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.last().unwrap(), "and 25 more warnings");
    assert!(warnings.iter().all(|warning| warning.as_str().unwrap().chars().count() <= 256));

    let denial =
        || Always(vec![Finding::Denial(Problem::new("topic.kafka.nb/consumes", "orders", "granted"))]);
    let answer = admit(app(denial(), Unquestioned), MUTATE_PATH, &new).await;
    assert_eq!((&answer["allowed"], &answer["status"]["code"]), (&json!(false), &json!(422)));
    assert_eq!(answer["status"]["message"], "topic.kafka.nb/consumes: \"orders\": granted");

    let unchanged = review("Deployment", "apps", &object, &object);
    let answer = admit(app(denial(), Unquestioned), MUTATE_PATH, &unchanged).await;
    assert_eq!(answer["allowed"], true, "a grant taken away must not block the workload's controllers");
}

#[tokio::test]
async fn all_mistakes_of_a_topic_are_told_at_once() {
    let object = topic(&json!({"partitions": "0", "retention": "soon", "replicas": "3"}), &json!({}));
    let answer = admit(
        app(Unquestioned, Unquestioned),
        VALIDATE_PATH,
        &review("ConfigMap", "", &object, &Value::Null),
    )
    .await;
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("3 mistakes:\n"), "{message}");
    for part in ["partitions: \"0\"", "retention: \"soon\"", "replicas: "] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_topic_that_was_wrong_before_can_still_be_given_its_status() {
    let app = app(Unquestioned, Unquestioned);
    let old = topic(&json!({"partitions": "0"}), &json!({}));
    let status = topic(&json!({"partitions": "0"}), &json!({"topic.kafka.nb/status": "{}"}));
    let answer = admit(app.clone(), VALIDATE_PATH, &review("ConfigMap", "", &status, &old)).await;
    assert_eq!(answer["allowed"], true);
    assert!(answer["warnings"][0].as_str().unwrap().contains("partitions: \"0\""));
    let worse = topic(&json!({"partitions": "-1"}), &json!({}));
    let answer = admit(app, VALIDATE_PATH, &review("ConfigMap", "", &worse, &old)).await;
    assert_eq!(answer["allowed"], false);
}

#[tokio::test]
async fn fewer_partitions_than_the_topic_has_are_refused_with_both_numbers() {
    let app = app(Unquestioned, Unquestioned);
    let has = json!({"topic.kafka.nb/status":
        r#"{"state":"Ready","reason":"InSync","hash":"0","partitions":6,"time":"2026-11-21T12:00:00Z"}"#});
    let old = topic(&json!({"partitions": "12"}), &has);
    let allowed = topic(&json!({"partitions": "6"}), &has);
    let answer = admit(app.clone(), VALIDATE_PATH, &review("ConfigMap", "", &allowed, &old)).await;
    assert_eq!(answer["allowed"], true, "a number that was never carried out may be corrected");
    let fewer = topic(&json!({"partitions": "5"}), &has);
    let answer = admit(app, VALIDATE_PATH, &review("ConfigMap", "", &fewer, &old)).await;
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(message.contains("\"5\"") && message.contains("6 partitions"), "{message}");
}

#[tokio::test]
async fn limits_of_the_administrator_are_asked_about_changed_topics_only() {
    let denial = || Always(vec![Finding::Denial(Problem::new("partitions", "100", "at most 12"))]);
    let object = topic(&json!({"partitions": "100"}), &json!({}));
    let new = review("ConfigMap", "", &object, &Value::Null);
    let answer = admit(app(Unquestioned, denial()), VALIDATE_PATH, &new).await;
    assert_eq!(answer["status"]["message"], "partitions: \"100\": at most 12");
    let unchanged = review("ConfigMap", "", &object, &object);
    assert_eq!(admit(app(Unquestioned, denial()), VALIDATE_PATH, &unchanged).await["allowed"], true);
}

#[tokio::test]
async fn config_maps_that_are_no_topics_are_none_of_our_business() {
    let mut object = topic(&json!({"partitions": "0"}), &json!({}));
    object["metadata"]["labels"] = json!({"config": "other"});
    let answer = admit(
        app(Unquestioned, Unquestioned),
        VALIDATE_PATH,
        &review("ConfigMap", "", &object, &Value::Null),
    )
    .await;
    assert_eq!(answer["allowed"], true);
}

fn kafka_topic(spec: &Value, status: &Value) -> Value {
    json!({
        "apiVersion": "topic.kafka.nb/v1beta1", "kind": "KafkaTopic",
        "metadata": { "name": "orders", "namespace": "shop" }, "spec": spec, "status": status,
    })
}

#[tokio::test]
async fn a_kafka_topic_is_checked_like_a_config_map_and_told_by_its_fields() {
    let of = |object: &Value, old: &Value| review("KafkaTopic", "topic.kafka.nb", object, old);
    let app = app(Unquestioned, Unquestioned);
    let wrong =
        kafka_topic(&json!({"partitions": 0, "config": {"retention.sm": "1"}, "replicas": 3}), &Value::Null);
    let answer = admit(app.clone(), VALIDATE_PATH, &of(&wrong, &Value::Null)).await;
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("3 mistakes:\n"), "{message}");
    for part in ["spec.partitions: \"0\"", "spec.config[retention.sm]: \"1\"", "spec.replicas: "] {
        assert!(message.contains(part), "{message}");
    }

    let status = json!({"conditions": [], "partitions": 6});
    let old = kafka_topic(&json!({"partitions": 12}), &status);
    for (partitions, allowed) in [(6, true), (5, false)] {
        let now = kafka_topic(&json!({"partitions": partitions}), &status);
        let answer = admit(app.clone(), VALIDATE_PATH, &of(&now, &old)).await;
        assert_eq!(answer["allowed"], allowed, "{partitions}: {answer}");
    }

    let foreign = review("KafkaTopic", "kafka.strimzi.io", &wrong, &Value::Null);
    assert_eq!(admit(app, VALIDATE_PATH, &foreign).await["allowed"], true, "another group's KafkaTopic");
}

#[tokio::test]
async fn what_is_in_a_namespace_that_nobody_looks_after_is_left_alone_and_told() {
    let only_in = |namespace: &str| {
        let state = WebhookState::new(Arc::new(Unquestioned), Arc::new(Unquestioned), Metrics::default());
        router(state.only_in([namespace.to_owned()].into()))
    };
    let object = deployment(&json!({"topic.kafka.nb/consumes": "orders"}));
    let asked = review("Deployment", "apps", &object, &Value::Null);
    let here = admit(only_in("shop"), MUTATE_PATH, &asked).await;
    assert!(here["allowed"] == true && here["patch"].is_string() && here["warnings"].is_null(), "{here}");
    let elsewhere = admit(only_in("billing"), MUTATE_PATH, &asked).await;
    assert!(elsewhere["allowed"] == true && elsewhere["patch"].is_null(), "{elsewhere}");
    assert_eq!(
        elsewhere["warnings"],
        json!(["topicops does not look after namespace shop: nothing comes of this label"])
    );
    let wrong = topic(&json!({"partitions": "none"}), &json!({}));
    let asked = review("ConfigMap", "", &wrong, &Value::Null);
    assert_eq!(admit(only_in("shop"), VALIDATE_PATH, &asked).await["allowed"], false);
    assert_eq!(admit(only_in("billing"), VALIDATE_PATH, &asked).await["allowed"], true);
}
