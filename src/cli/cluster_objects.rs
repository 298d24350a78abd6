use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Client as KubeClient, api::ListParams};
use topicops_contract::{OperatorId, TopicName, TopicObjectKind, Workload, keys};

use super::{WorkloadName, access::GrantLines};
use crate::{
    KafkaTopic, ObjectKey,
    access::{Client, Decision, GrantsMode, Lineage, Observed, ObservedSecret, RotationRules},
    controller::{
        Index, Scope,
        access::{ClientIndex, SecretIndex},
        topics::{ConfigMapLedger, Ledger, LedgerError, TopicIndex, grant_of},
    },
    topic::{Ownership, TopicGrants, TopicObjectKey, TopicPolicy},
};

/// The objects that say who may use what, read once: topics and workloads, of the namespaces that are looked after.
pub(super) struct ClusterObjects {
    topics: TopicIndex,
    /// Of every object that declares a topic.
    pub(super) declared: BTreeMap<TopicObjectKey, DeclaredBy>,
    pub(super) clients: Vec<Arc<Client>>,
    /// Of every workload among the clients.
    pub(super) workloads: BTreeMap<Workload, ObjectMeta>,
    /// All Secrets with topicops' label: they say which user each workload has by now.
    pub(super) secrets: BTreeMap<ObjectKey, ObservedSecret>,
}

/// An object that declares a topic, as its author wrote it.
pub(super) struct DeclaredBy {
    pub(super) meta: ObjectMeta,
    pub(super) lines: GrantLines,
}

impl ClusterObjects {
    /// # Errors
    /// The API server does not list them.
    pub(super) async fn read(client: &KubeClient, scope: &Scope) -> Result<Self> {
        Self::list(client, scope).await.map_err(|error| match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) if status.code == 403 && *scope == Scope::All => {
                error.context("not in all namespaces; with --namespaces, others are not asked for")
            }
            _ => error,
        })
    }

    async fn list(client: &KubeClient, scope: &Scope) -> Result<Self> {
        let labels = format!("{}={}", keys::CONFIG_LABEL, keys::CONFIG_LABEL_TOPIC);
        let labelled = ListParams::default().labels(&labels);
        let mut config_maps = Vec::new();
        for api in scope.apis::<ConfigMap>(client) {
            config_maps.extend(api.list(&labelled).await.context("listing topic ConfigMaps")?.items);
        }
        let mut custom = Vec::new();
        for api in scope.apis::<KafkaTopic>(client) {
            match api.list(&ListParams::default()).await {
                Ok(listed) => custom.extend(listed.items),
                // The custom resource is not installed.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error).context("listing KafkaTopics"),
            }
        }
        let clients = ClientIndex::list(client, scope).await.context("listing labelled workloads")?;
        let labels = format!("{}={}", keys::CONFIG_LABEL, keys::CONFIG_LABEL_CREDENTIALS);
        let labelled = ListParams::default().labels(&labels);
        let index = SecretIndex::default();
        for api in scope.apis::<Secret>(client) {
            let secrets = api.list_metadata(&labelled).await;
            let secrets = secrets.context("listing credentials Secrets, without their content")?;
            secrets.items.into_iter().for_each(|secret| index.apply(secret));
        }
        Ok(Self { secrets: index.observed(), ..Self::of(config_maps, custom, clients) })
    }

    pub(super) fn of(
        config_maps: Vec<ConfigMap>,
        custom: Vec<KafkaTopic>,
        clients: Vec<(Client, ObjectMeta)>,
    ) -> Self {
        let (topics, mut declared) = (TopicIndex::default(), BTreeMap::new());
        let mut note = |kind, meta: &ObjectMeta, lines| {
            declared.insert(TopicObjectKey::of(kind, meta), DeclaredBy { meta: meta.clone(), lines });
        };
        for object in config_maps {
            note(TopicObjectKind::ConfigMap, &object.metadata, GrantLines::from(&object));
            topics.apply(object);
        }
        for object in custom {
            note(TopicObjectKind::KafkaTopic, &object.metadata, GrantLines::from(&object));
            topics.apply(object);
        }
        let (clients, workloads) = clients
            .into_iter()
            .map(|(client, meta)| (Arc::new(client.clone()), (client.workload, meta)))
            .unzip();
        Self { topics, declared, clients, workloads, secrets: BTreeMap::new() }
    }

    /// All labelled workloads of this name, of whatever kind.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn named(&self, name: &WorkloadName) -> Result<Vec<Arc<Client>>> {
        let bears =
            |workload: &Workload| workload.namespace() == name.namespace && workload.name() == name.name;
        let named: Vec<_> = self.clients.iter().filter(|client| bears(&client.workload)).cloned().collect();
        if named.is_empty() {
            let (label, value) = (keys::INJECT_LABEL, keys::INJECT_LABEL_VALUE);
            bail!("there is no workload {name} with the label {label}: {value}");
        }
        Ok(named)
    }

    /// What is decided about all workloads, by user name; no rotation begins or ends by that. Of what is on the brokers that of
    /// topicops counts, as far as it is known.
    pub(super) fn decisions(
        &self,
        operator: &OperatorId,
        grants: &TopicGrants,
        mode: GrantsMode,
        policy: &TopicPolicy,
        mut observed: Observed,
    ) -> BTreeMap<String, Decision> {
        let ours = format!("{operator}.");
        observed.users.retain(|user| user.starts_with(&ours));
        observed.acls.retain(|acl| acl.username.starts_with(&ours));
        observed.secrets.clone_from(&self.secrets);
        Decision::all(&self.clients, operator, grants, mode, policy, &observed, &RotationRules::default())
    }

    /// Whom the owners of topics let in, as the statuses tell who owns which. Of topics that stayed when their objects went
    /// they tell nothing.
    pub(super) fn grants_by_status(&self, policy: &TopicPolicy) -> TopicGrants {
        let mut grants = self.topics.with_grants(Clone::clone);
        grants.protect(policy.protected.as_slice().into());
        grants
    }

    /// The same as the replica that leads settles it, from its ledger; `None` where we may not read that.
    ///
    /// # Errors
    /// The ledger cannot be read for another reason.
    pub(super) async fn grants_by_ledger(
        &self,
        ledger: &ConfigMapLedger,
        policy: &TopicPolicy,
        existing: &BTreeSet<String>,
    ) -> Result<Option<TopicGrants>> {
        let ledger = match Ledger::load(ledger).await {
            Ok(ledger) => ledger,
            Err(error) if is_forbidden(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut grants = TopicGrants::default();
        for topic in self.topics.topics() {
            let declarations = self.topics.declarations(&topic);
            let exists = existing.contains(topic.as_str());
            let settled = Ownership::settle(&topic, &declarations, ledger.get(&topic), exists, policy);
            grants.set(&topic, settled.owner.map(grant_of));
        }
        for topic in ledger.topics() {
            grants.hold(topic, ledger.get(topic).map(|holding| holding.namespace.as_str()));
        }
        grants.protect(policy.protected.as_slice().into());
        Ok(Some(grants))
    }

    /// The objects that declare a topic.
    pub(super) fn declarations(&self, topic: &TopicName) -> Vec<TopicObjectKey> {
        self.topics.declarations(topic).into_iter().map(|one| one.object).collect()
    }
}

/// The ledger of the topicops that is asked about.
pub(super) fn ledger(client: &KubeClient, namespace: &str, operator: &OperatorId) -> ConfigMapLedger {
    ConfigMapLedger::new(client.clone(), namespace, operator.clone())
}

fn is_forbidden(error: &LedgerError) -> bool {
    match error {
        LedgerError::Kubernetes { source, .. } => {
            matches!(source.as_ref(), kube::Error::Api(status) if status.code == 403)
        }
        LedgerError::Unreadable { .. } => false,
    }
}

/// The user that a workload has in its Secret by now, and what is to be said of another one, while it has two.
pub(super) fn users_of(
    workload: &Workload,
    operator: &OperatorId,
    decisions: &BTreeMap<String, Decision>,
) -> (String, Option<String>) {
    let decided = decisions.values().find(|decision| decision.client.workload == *workload);
    decided.map_or_else(
        || (workload.username(operator), None),
        |decision| match decision.lineage.clone() {
            Lineage { current, previous: Some(previous), begins: true } => (
                previous,
                Some(format!("user {current}, the next one, comes into the Secret once a login worked")),
            ),
            Lineage { current, previous, .. } => {
                let stays = |user| format!("user {user}, the one before, stays until no Pod runs with it");
                (current, previous.map(stays))
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::{
        Json, Router,
        extract::State,
        http::{StatusCode, Uri},
    };
    use serde_json::{Value, json};

    use super::*;

    /// An API server that lists a labelled Deployment and a Job of namespace shop, and lets nothing else be seen.
    async fn shop(State(asked): State<Arc<Mutex<Vec<String>>>>, uri: Uri) -> (StatusCode, Json<Value>) {
        asked.lock().unwrap().push(uri.path().to_owned());
        if !uri.path().contains("/namespaces/shop/") {
            let status = json!({
                "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "no",
            });
            return (StatusCode::FORBIDDEN, Json(status));
        }
        let name = match uri.path().rsplit('/').next() {
            Some("deployments") => Some("app"),
            Some("jobs") => Some("once"),
            _ => None,
        };
        let object = |name: &str| {
            json!({ "metadata": {
                "namespace": "shop", "name": name, "labels": { "kafka-operator": "inject-credentials" },
            } })
        };
        let items: Vec<Value> = name.map(object).into_iter().collect();
        (StatusCode::OK, Json(json!({ "metadata": {}, "items": items })))
    }

    #[tokio::test]
    async fn of_listed_namespaces_nothing_beyond_them_is_asked_for() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = Router::new().fallback(shop).with_state(Arc::clone(&asked));
        let client = KubeClient::new(server, "default");
        let objects = ClusterObjects::read(&client, &Scope::of(["shop".to_owned()])).await.unwrap();
        let workloads: Vec<String> = objects.workloads.keys().map(ToString::to_string).collect();
        assert_eq!(workloads, ["Deployment shop/app", "Job shop/once"]);
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        assert!(asked.iter().all(|path| path.contains("/namespaces/shop/")), "{asked:?}");
        let Err(error) = ClusterObjects::read(&client, &Scope::All).await else { panic!("it was allowed") };
        assert!(format!("{error:#}").contains("--namespaces"), "{error:#}");
    }
}
