use std::collections::BTreeSet;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    authorization::v1::{SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::{Namespace, Secret},
};
use kube::{Api, Client, api::PostParams};
use topicops_contract::keys::kafka_topic;

use super::{
    check::{Check, On::Kubernetes},
    kubernetes_right::{KubernetesRight, Names},
};

/// Questions under way at the same time.
const IN_FLIGHT: usize = 8;
/// The first minor version of Kubernetes whose admission policies `50-guard.yaml` can use.
const POLICIES: u32 = 30;
/// The Secret with the `client.properties` of topicops itself, and its key.
pub(super) const KAFKA_SECRET: &str = "topicops-kafka";
pub(super) const KAFKA_SECRET_KEY: &str = "client.properties";

/// Looks at everything, as whoever the client is.
pub(super) async fn look(client: &Client, names: Names<'_>) -> Vec<Check> {
    let mut checks = match client.apiserver_version().await {
        Ok(version) => vec![of_version(&version.minor, &version.git_version)],
        Err(error) => return vec![Check::missing(Kubernetes, "the API server", crate::chain(&error))],
    };
    match rights(client, names).await {
        Ok(rights) => checks.extend(rights),
        Err(error) => checks.push(Check::unknown(Kubernetes, "rights", format!("{error:#}"))),
    }
    checks.push(custom_resource(client).await);
    checks.extend(webhooks(client, names).await);
    checks.push(namespace(client, names.namespace).await);
    checks.push(secret(client, names.namespace).await);
    checks
}

/// Some providers write `30+`.
fn of_version(minor: &str, shown: &str) -> Check {
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(minor) if minor < POLICIES => {
            let why = format!("the admission policies of 50-guard.yaml take 1.{POLICIES}");
            Check::warning(Kubernetes, format!("the API server is {shown}"), why)
        }
        _ => Check::ok(Kubernetes, format!("the API server answers: {shown}")),
    }
}

async fn rights(client: &Client, names: Names<'_>) -> Result<Vec<Check>> {
    let rights = KubernetesRight::all(names)?;
    let asked = rights.into_iter().map(|right| async move {
        let mut lacking = BTreeSet::new();
        for verb in &right.verbs {
            if !is_allowed(client, &right, verb).await? {
                lacking.insert(verb.clone());
            }
        }
        Ok::<_, kube::Error>((right, lacking))
    });
    let answers: Vec<_> = stream::iter(asked.collect::<Vec<_>>()).buffered(IN_FLIGHT).try_collect().await?;
    Ok(answers.iter().flat_map(|(right, lacking)| of_right(right, lacking)).collect())
}

async fn is_allowed(client: &Client, right: &KubernetesRight, verb: &str) -> kube::Result<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(right.attributes(verb)),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn of_right(right: &KubernetesRight, lacking: &BTreeSet<String>) -> Vec<Check> {
    let words = |verbs: Vec<&String>| verbs.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let given = words(right.verbs.difference(lacking).collect());
    let mut checks = Vec::new();
    if !given.is_empty() {
        checks.push(Check::ok(Kubernetes, format!("{right}: {given}")));
    }
    if !lacking.is_empty() {
        let what = format!("{right}: {}", words(lacking.iter().collect()));
        checks.push(Check::missing(Kubernetes, what, "that file says what for").todo(&right.apply));
    }
    checks
}

async fn custom_resource(client: &Client) -> Check {
    let what = format!("the custom resource {}.{}", kafka_topic::PLURAL, kafka_topic::GROUP);
    match client.list_api_group_resources(kafka_topic::API_VERSION).await {
        Ok(served) if served.resources.iter().any(|resource| resource.name == kafka_topic::PLURAL) => {
            Check::ok(Kubernetes, format!("{what} is served"))
        }
        Ok(_) | Err(kube::Error::Api(_)) => {
            Check::warning(Kubernetes, what, "it is not there: topics are declared by ConfigMaps alone")
                .todo("kubectl apply -f deploy/install/05-crd-kafkatopics.yaml")
        }
        Err(error) => Check::unknown(Kubernetes, what, crate::chain(&error)),
    }
}

async fn webhooks(client: &Client, names: Names<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for name in names.webhook_configurations {
        let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone()).get_opt(name).await;
        let mutating = mutating.map(|found| {
            let hooks = found?.webhooks.unwrap_or_default();
            Some(hooks.into_iter().all(|hook| hook.client_config.ca_bundle.is_some()))
        });
        checks.push(of_webhooks(format!("MutatingWebhookConfiguration {name}"), mutating));
        let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone()).get_opt(name).await;
        let validating = validating.map(|found| {
            let hooks = found?.webhooks.unwrap_or_default();
            Some(hooks.into_iter().all(|hook| hook.client_config.ca_bundle.is_some()))
        });
        checks.push(of_webhooks(format!("ValidatingWebhookConfiguration {name}"), validating));
    }
    checks
}

/// Whether it is there, and if so whether topicops has written its CA into it.
fn of_webhooks(what: String, found: kube::Result<Option<bool>>) -> Check {
    match found {
        Ok(Some(true)) => Check::ok(Kubernetes, format!("{what} is there, with a CA")),
        Ok(Some(false)) => {
            let why = "no replica of topicops has written its CA into it yet; labelled workloads are refused until one has";
            Check::warning(Kubernetes, what, why)
        }
        Ok(None) => Check::missing(Kubernetes, what, "without it no workload gets its credentials mounted")
            .todo("kubectl apply -f deploy/install/40-webhooks.yaml"),
        Err(error) => Check::unknown(Kubernetes, what, crate::chain(&error)),
    }
}

async fn namespace(client: &Client, name: &str) -> Check {
    let what = format!("namespace {name}");
    match Api::<Namespace>::all(client.clone()).get_opt(name).await {
        Ok(Some(_)) => Check::ok(Kubernetes, format!("{what} is there")),
        Ok(None) => Check::missing(Kubernetes, what, "topicops runs there")
            .todo("kubectl apply -f deploy/install/00-namespace.yaml"),
        Err(error) => Check::unknown(Kubernetes, what, crate::chain(&error)),
    }
}

async fn secret(client: &Client, namespace: &str) -> Check {
    let what = format!("Secret {namespace}/{KAFKA_SECRET}");
    let todo =
        format!("kubectl -n {namespace} create secret generic {KAFKA_SECRET} --from-file={KAFKA_SECRET_KEY}");
    match Api::<Secret>::namespaced(client.clone(), namespace).get_opt(KAFKA_SECRET).await {
        Ok(Some(secret)) if secret.data.as_ref().is_some_and(|data| data.contains_key(KAFKA_SECRET_KEY)) => {
            Check::ok(Kubernetes, format!("{what} is there, with {KAFKA_SECRET_KEY}"))
        }
        Ok(Some(_)) => {
            Check::missing(Kubernetes, what, format!("it has no key {KAFKA_SECRET_KEY}")).todo(todo)
        }
        Ok(None) => Check::missing(Kubernetes, what, "with it topicops logs in at the brokers").todo(todo),
        Err(error) => Check::unknown(Kubernetes, what, crate::chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check::State, *};

    fn right() -> KubernetesRight {
        KubernetesRight {
            group: String::new(),
            resource: "secrets".to_owned(),
            name: None,
            namespace: None,
            verbs: ["get", "list", "delete"].map(str::to_owned).into(),
            apply: "kubectl apply -f deploy/install/20-rbac.yaml".to_owned(),
        }
    }

    #[test]
    fn what_is_given_and_what_is_missing_of_one_rule_are_told_apart() {
        let shown = |lacking: &[&str]| -> Vec<(State, String)> {
            let lacking = lacking.iter().map(|verb| (*verb).to_owned()).collect();
            of_right(&right(), &lacking).into_iter().map(|check| (check.state, check.what)).collect()
        };
        assert_eq!(shown(&[]), [(State::Ok, "secrets: delete, get, list".to_owned())]);
        assert_eq!(
            shown(&["delete"]),
            [(State::Ok, "secrets: get, list".to_owned()), (State::Missing, "secrets: delete".to_owned())]
        );
        assert_eq!(
            shown(&["delete", "get", "list"]),
            [(State::Missing, "secrets: delete, get, list".to_owned())]
        );
    }

    #[test]
    fn an_api_server_without_admission_policies_is_warned_of() {
        for (minor, state) in [("29", State::Warning), ("30", State::Ok), ("36+", State::Ok), ("", State::Ok)]
        {
            assert_eq!(of_version(minor, "v").state, state, "{minor}");
        }
    }

    #[test]
    fn a_webhook_that_is_not_there_is_missing_and_one_without_a_ca_is_warned_of() {
        let state = |found| of_webhooks("w".to_owned(), Ok(found)).state;
        assert_eq!(state(Some(true)), State::Ok);
        assert_eq!(state(Some(false)), State::Warning);
        assert_eq!(state(None), State::Missing);
    }
}
