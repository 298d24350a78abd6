use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::SelectAll};
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::Secret,
    },
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;
use tokio::time::{Instant, sleep_until};
use topicops_certs::{
    Bundle, CertificateError, LeafResolver, Policy, ServerName, Step, StoredAuthorities, next,
};
use tracing::{debug, info, warn};

use super::health::Health;

/// Where the certificates live and for which names the leaf is.
#[derive(Clone, Debug)]
pub struct CertificateSettings {
    /// The namespace and name of the Secret with the CA.
    pub namespace: String,
    pub secret: String,
    /// The webhook configurations (mutating and validating) of these names get our caBundle.
    pub configurations: Vec<String>,
    /// Registered instead of the Service, when given: the paths are appended.
    pub url: Option<String>,
    pub names: Vec<ServerName<'static>>,
}

/// Keeps the CA, the live caBundles and this replica's leaf in order, for ever.
///
/// Every replica carries out whatever step is next; writes are conditional, so that of two replicas one wins and the other
/// looks again.
#[allow(missing_debug_implementations)]
pub struct Certificates {
    client: Client,
    settings: CertificateSettings,
    policy: Policy,
    resolver: Arc<LeafResolver>,
    health: Health,
}

/// Server-side apply's name for who owns `caBundle`.
const FIELD_MANAGER: &str = "topicops-certificates";
/// Wall clocks leap, so nothing waits longer for them.
const LOOK_AT_LEAST: Duration = Duration::from_secs(60);
/// Between a failure and the next look.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
enum LookError {
    #[error("{doing}")]
    Kubernetes { doing: String, source: Box<kube::Error> },
    #[error("Secret {0}/{1}")]
    Stored(String, String, #[source] CertificateError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A webhook configuration as it is live.
struct Live {
    kind: &'static str,
    name: String,
    uid: String,
    version: String,
    /// Each webhook's name, the path of its URL or Service, and its bundle.
    webhooks: Vec<(String, String, Bundle)>,
}

impl Certificates {
    pub fn new(
        client: Client,
        settings: CertificateSettings,
        policy: Policy,
        resolver: Arc<LeafResolver>,
        health: Health,
    ) -> Self {
        Self { client, settings, policy, resolver, health }
    }

    /// Looks at each change of the Secret and the configurations, at the times that the rotation names, and every minute.
    pub async fn run(self) {
        let mut changes = self.changes();
        let mut known = String::new();
        loop {
            let wake = match self.look().await {
                Ok(wake) => {
                    known.clear();
                    wake
                }
                Err(error) => {
                    let message = crate::chain(&error);
                    if message == known {
                        debug!(error = message, "certificates are still not in order");
                    } else {
                        warn!(error = message, "certificates are not in order; trying again");
                    }
                    if self.resolver.leaf().is_none() {
                        self.health.set("certificates", Err(message.clone()));
                    }
                    known = message;
                    Instant::now() + RETRY
                }
            };
            tokio::select! {
                () = sleep_until(wake) => {}
                change = changes.next() => if change.is_none() { return },
            }
        }
    }

    /// Carries out steps until nothing is left to do; answers when to look again.
    async fn look(&self) -> Result<Instant, LookError> {
        loop {
            let (stored, version) = self.stored().await?;
            let live = self.live().await?;
            let bundles: Vec<Bundle> = live
                .iter()
                .flat_map(|one| one.webhooks.iter().map(|(_, _, bundle)| bundle.clone()))
                .collect();
            let leaf = self.resolver.leaf();
            let now = Timestamp::now();
            let step = next(stored.as_ref(), &bundles, leaf.as_ref(), now, &self.policy);
            debug!(?step, "certificates");
            match &step {
                Step::PublishBundle(bundle) => {
                    for one in live.iter().filter(|one| self.differs(one, bundle)) {
                        self.publish(one, bundle).await?;
                        info!(kind = one.kind, name = one.name, "published the webhook's CA");
                    }
                }
                Step::IssueLeaf { validity } => {
                    if let Some(stored) = &stored {
                        self.resolver.serve(stored.current().issue(&self.settings.names, *validity)?)?;
                        info!(until = %validity.not_after, "serving a new webhook certificate");
                    }
                }
                Step::WaitForBundle { until } if live.is_empty() => {
                    let names = self.settings.configurations.join(", ");
                    let message =
                        format!("no webhook configuration is named {names}: apply the manifests of deploy/");
                    self.health.set("certificates", Err(message));
                    return Ok(self.wake(*until, now));
                }
                Step::WaitForBundle { until } => {
                    self.check_trust(&bundles, now);
                    return Ok(self.wake(*until, now));
                }
                Step::Nothing { until } => {
                    self.check_trust(&bundles, now);
                    return Ok(self.wake(Some(*until), now));
                }
                Step::CreateAuthority { .. }
                | Step::AddNextAuthority { .. }
                | Step::NoteTrusted { .. }
                | Step::SwitchSigner { .. }
                | Step::RetireOld => {
                    if let Some(after) = StoredAuthorities::after(stored.as_ref(), &step)? {
                        self.store(&after, version).await?;
                    }
                }
            }
        }
    }

    /// Ready means that what the API server trusts now verifies what this replica serves.
    fn check_trust(&self, bundles: &[Bundle], now: Timestamp) {
        let result = match self.resolver.leaf() {
            Some(leaf) if bundles.iter().all(|bundle| bundle.verifies(&leaf, now)) => Ok(()),
            Some(_) => Err("a live caBundle does not verify this replica's certificate".to_owned()),
            None => Err("no certificate yet".to_owned()),
        };
        self.health.set("certificates", result);
    }

    fn wake(&self, until: Option<Timestamp>, now: Timestamp) -> Instant {
        let wait = until.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
        Instant::now() + wait.unwrap_or(LOOK_AT_LEAST).clamp(Duration::from_millis(50), LOOK_AT_LEAST)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    async fn stored(&self) -> Result<(Option<StoredAuthorities>, Option<(String, String)>), LookError> {
        let doing = || format!("reading Secret {}/{}", self.settings.namespace, self.settings.secret);
        let secret =
            self.secrets().get_opt(&self.settings.secret).await.map_err(|error| failed(doing(), error))?;
        let Some(secret) = secret else { return Ok((None, None)) };
        let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
        let stored = StoredAuthorities::read(&data).map_err(|error| {
            LookError::Stored(self.settings.namespace.clone(), self.settings.secret.clone(), error)
        })?;
        let version =
            (secret.metadata.uid.unwrap_or_default(), secret.metadata.resource_version.unwrap_or_default());
        Ok((stored, Some(version)))
    }

    async fn store(
        &self,
        stored: &StoredAuthorities,
        version: Option<(String, String)>,
    ) -> Result<(), LookError> {
        let mut secret = Secret::default();
        secret.metadata.name = Some(self.settings.secret.clone());
        secret.metadata.labels =
            Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), "topicops".to_owned())]));
        let data = stored.to_data()?;
        secret.data = Some(data.into_iter().map(|(key, value)| (key, ByteString(value))).collect());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let result = match version {
            Some((uid, resource_version)) => {
                secret.metadata.uid = Some(uid);
                secret.metadata.resource_version = Some(resource_version);
                self.secrets().replace(&self.settings.secret, &params, &secret).await
            }
            None => self.secrets().create(&params, &secret).await,
        };
        match result {
            // Another replica was faster: look again.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => {
                let doing = format!("writing Secret {}/{}", self.settings.namespace, self.settings.secret);
                Err(failed(doing, error))
            }
            Ok(_) => Ok(()),
        }
    }

    async fn live(&self) -> Result<Vec<Live>, LookError> {
        let mut live = Vec::new();
        let names: BTreeSet<&String> = self.settings.configurations.iter().collect();
        for name in names {
            let doing = || format!("reading the webhook configurations {name}");
            let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
            if let Some(found) = mutating.get_opt(name).await.map_err(|error| failed(doing(), error))? {
                let webhooks = found.webhooks.into_iter().flatten().map(|one| (one.name, one.client_config));
                live.push(look_at("MutatingWebhookConfiguration", name, &found.metadata, webhooks));
            }
            let validating: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
            if let Some(found) = validating.get_opt(name).await.map_err(|error| failed(doing(), error))? {
                let webhooks = found.webhooks.into_iter().flatten().map(|one| (one.name, one.client_config));
                live.push(look_at("ValidatingWebhookConfiguration", name, &found.metadata, webhooks));
            }
        }
        Ok(live)
    }

    fn differs(&self, live: &Live, bundle: &Bundle) -> bool {
        live.webhooks.iter().any(|(_, _, now)| now != bundle)
    }

    /// Server-side apply of nothing but the bundle (and the URL), on condition of the version that was looked at.
    async fn publish(&self, live: &Live, bundle: &Bundle) -> Result<(), LookError> {
        let ca_bundle = ByteString(bundle.to_pem().into_bytes());
        let webhooks: Vec<_> = live
            .webhooks
            .iter()
            .map(|(name, path, _)| {
                let mut client_config = json!({ "caBundle": ca_bundle });
                if let Some(url) = &self.settings.url {
                    client_config["url"] = json!(format!("{}{path}", url.trim_end_matches('/')));
                }
                json!({ "name": name, "clientConfig": client_config })
            })
            .collect();
        let apply = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": live.kind,
            "metadata": { "name": live.name, "uid": live.uid, "resourceVersion": live.version },
            "webhooks": webhooks,
        });
        let result = if live.kind == "MutatingWebhookConfiguration" {
            self.apply::<MutatingWebhookConfiguration>(&live.name, &apply).await
        } else {
            self.apply::<ValidatingWebhookConfiguration>(&live.name, &apply).await
        };
        match result {
            // Somebody changed it meanwhile: look again.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(failed(format!("publishing the CA in {} {}", live.kind, live.name), error)),
            Ok(()) => Ok(()),
        }
    }

    async fn apply<K>(&self, name: &str, apply: &serde_json::Value) -> Result<(), kube::Error>
    where
        K: Resource<Scope = kube::core::ClusterResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(name, &params, &Patch::Apply(apply)).await.map(|_| ())
    }

    fn changes(&self) -> SelectAll<futures::stream::BoxStream<'static, ()>> {
        let mut changes = SelectAll::new();
        let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let secrets: Api<PartialObjectMeta<Secret>> =
            Api::namespaced(self.client.clone(), &self.settings.namespace);
        changes.push(notices(secrets, named(&self.settings.secret)));
        for name in &self.settings.configurations {
            let mutating: Api<PartialObjectMeta<MutatingWebhookConfiguration>> =
                Api::all(self.client.clone());
            let validating: Api<PartialObjectMeta<ValidatingWebhookConfiguration>> =
                Api::all(self.client.clone());
            changes.push(notices(mutating, named(name)));
            changes.push(notices(validating, named(name)));
        }
        changes
    }
}

/// A word at each change, whatever it is: what is there is looked at anew anyway.
fn notices<K>(api: Api<K>, config: watcher::Config) -> futures::stream::BoxStream<'static, ()>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    K::DynamicType: Default,
{
    watcher(api, config)
        .default_backoff()
        .filter_map(|event| async move {
            match event {
                Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => {
                    Some(())
                }
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) | Err(_) => None,
            }
        })
        .boxed()
}

fn look_at(
    kind: &'static str,
    name: &str,
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    webhooks: impl Iterator<Item = (String, k8s_openapi::api::admissionregistration::v1::WebhookClientConfig)>,
) -> Live {
    let webhooks = webhooks.map(|(webhook, config)| {
        let pem = config.ca_bundle.map(|bundle| bundle.0).unwrap_or_default();
        // What cannot be read is somebody's mistake and trusts nobody: it is written over.
        let bundle = Bundle::from_pem("caBundle", &pem).unwrap_or_default();
        let path = match (config.service.and_then(|service| service.path), config.url) {
            (Some(path), _) => path,
            (None, Some(url)) => path_of(&url).to_owned(),
            (None, None) => "/".to_owned(),
        };
        (webhook, path, bundle)
    });
    Live {
        kind,
        name: name.to_owned(),
        uid: metadata.uid.clone().unwrap_or_default(),
        version: metadata.resource_version.clone().unwrap_or_default(),
        webhooks: webhooks.collect(),
    }
}

fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

fn failed(doing: String, source: kube::Error) -> LookError {
    LookError::Kubernetes { doing, source: Box::new(source) }
}
