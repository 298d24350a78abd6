//! `topicops rotate --wait`: how a rotation goes on, as the workload and its Secret tell it.

use std::{collections::BTreeMap, future::Future, io::Write, time::Duration};

use anyhow::{Result, bail};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::DynamicObject};
use tokio::time::{Instant, sleep, timeout};
use topicops_contract::{ClientRequest, Workload, keys};

use super::Rotated;
use crate::workload_resource::workload_resource;

const LOOK: Duration = Duration::from_secs(1);
/// An API server that works answers within milliseconds.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// After an annotation was put back to what it was: topicops may have seen what it was in between, and be at work.
const GRACE: Duration = Duration::from_secs(10);

/// Where it is seen how a rotation goes on.
pub(super) struct Scene {
    workload: Workload,
    workloads: Api<DynamicObject>,
    /// The plural by which rights are given.
    resource: String,
    secret: String,
    secrets: Api<Secret>,
}

/// What was asked for, and what came of it.
struct Wish {
    /// What the credentials were made for before that.
    before: Option<String>,
    /// What was asked for, and what others asked for since.
    tokens: Vec<String>,
    taken_up: bool,
    /// Since when nobody asks any more.
    lost: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stands {
    Waits(String),
    Over(String),
    /// Nothing will come of it.
    Lost(String),
}

impl Scene {
    pub(super) fn new(client: &Client, request: &ClientRequest) -> Self {
        let workload = request.workload.clone();
        let (namespace, resource) = (workload.namespace(), workload_resource(workload.kind()));
        Self {
            workloads: Api::namespaced_with(client.clone(), namespace, &resource),
            secrets: Api::namespaced(client.clone(), namespace),
            resource: resource.plural,
            secret: request.secret_name.clone(),
            workload,
        }
    }

    /// What the credentials that are there were made for. To be asked before others are asked for.
    ///
    /// # Errors
    /// Whoever asks may not look at the Secret, or the API server does not answer.
    pub(super) async fn made_for(&self) -> Result<Option<String>> {
        let secret = self.look_at_secret().await?.map_err(anyhow::Error::msg)?;
        Ok(secret.as_ref().and_then(|secret| says(secret, keys::secret::MADE_FOR)).map(str::to_owned))
    }

    /// Waits until the rotation that was asked for is over.
    ///
    /// # Errors
    /// Nothing will come of it; or whoever waits may not look.
    pub(super) async fn wait(
        &self,
        token: String,
        before: Option<String>,
        timeout: Duration,
        out: &mut (dyn Write + Send),
    ) -> Result<Rotated> {
        let until = Instant::now() + timeout;
        let mut wish = Wish { before, tokens: vec![token], taken_up: false, lost: None };
        let mut told = String::new();
        loop {
            // An API server that does not answer is asked again.
            let stands = match self.look().await? {
                Ok((workload, secret)) => {
                    wish.stands(&workload, secret.as_ref(), &self.secret, Instant::now())
                }
                Err(silence) => Stands::Waits(format!("trying again: {silence}")),
            };
            let (Stands::Waits(message) | Stands::Over(message) | Stands::Lost(message)) = &stands;
            if matches!(stands, Stands::Lost(_)) {
                bail!("{}: {message}", self.workload);
            }
            if *message != told {
                writeln!(out, "{message}")?;
                told.clone_from(message);
            }
            if matches!(stands, Stands::Over(_)) {
                return Ok(Rotated::Done);
            }
            if Instant::now() >= until {
                writeln!(out, "it goes on: the Events of the workload tell how")?;
                return Ok(Rotated::Pending);
            }
            sleep(LOOK).await;
        }
    }

    async fn look(&self) -> Result<Result<(ObjectMeta, Option<ObjectMeta>), String>> {
        let workload = self.workloads.get_metadata_opt(self.workload.name());
        let workload = match self.allowed(workload, &self.workload.to_string(), &self.resource).await? {
            Ok(Some(workload)) => workload.metadata,
            Ok(None) => bail!("{} is gone, and its credentials with it", self.workload),
            Err(silence) => return Ok(Err(silence)),
        };
        Ok(self.look_at_secret().await?.map(|secret| (workload, secret)))
    }

    async fn look_at_secret(&self) -> Result<Result<Option<ObjectMeta>, String>> {
        let secret = self.secrets.get_metadata_opt(&self.secret);
        let what = format!("Secret {}/{}", self.workload.namespace(), self.secret);
        let secret = self.allowed(secret, &what, "secrets").await?;
        Ok(secret.map(|secret| secret.map(|secret| secret.metadata)))
    }

    /// The inner error is one that may pass.
    ///
    /// # Errors
    /// The right is missing.
    async fn allowed<T>(
        &self,
        answer: impl Future<Output = kube::Result<T>>,
        what: &str,
        resource: &str,
    ) -> Result<Result<T, String>> {
        match timeout(ANSWER, answer).await {
            Err(_) => Ok(Err(format!("{what}: no answer within {} s", ANSWER.as_secs()))),
            Ok(Ok(value)) => Ok(Ok(value)),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => bail!(
                "--wait looks at {what}, which takes the right to get {resource} in the namespace {}: {}",
                self.workload.namespace(),
                status.message
            ),
            Ok(Err(error)) => Ok(Err(crate::chain(&error))),
        }
    }
}

impl Wish {
    fn stands(
        &mut self,
        workload: &ObjectMeta,
        secret: Option<&ObjectMeta>,
        secret_name: &str,
        now: Instant,
    ) -> Stands {
        let of_secret = |key: &str| secret.and_then(|secret| says(secret, key));
        let asked = says(workload, keys::client::ROTATE);
        let mut news = None;
        if let Some(asked) = asked
            && self.before.as_deref() != Some(asked)
            && self.tokens.iter().all(|token| token != asked)
        {
            self.tokens.push(asked.to_owned());
            news = Some(asked);
        }
        let is_ours = |token: &str| self.tokens.iter().any(|ours| ours == token);
        self.taken_up |= of_secret(keys::secret::MADE_FOR).is_some_and(is_ours);
        let user = of_secret(keys::secret::USERNAME).unwrap_or("?");
        let previous = of_secret(keys::secret::PREVIOUS);
        if self.taken_up && secret.is_some() {
            return match previous {
                Some(previous) => Stands::Waits(format!(
                    "user {user} is in the Secret; Pods may run with user {previous} still"
                )),
                None => Stands::Over(format!("all Pods have user {user}")),
            };
        }
        let nobody_asks = !asked.is_some_and(is_ours);
        if let Some(since) = self.lost.filter(|_| nobody_asks) {
            if now.duration_since(since) >= GRACE {
                let now = asked.map_or("taken away".to_owned(), |asked| format!("put back to \"{asked}\""));
                return Stands::Lost(format!(
                    "the annotation {} was {now} before topicops took it up, so nothing comes of it: where something else keeps \
                     the annotations, as GitOps tools do, ask there",
                    keys::client::ROTATE
                ));
            }
        } else {
            self.lost = nobody_asks.then_some(now);
        }
        Stands::Waits(match (news, secret, previous) {
            (Some(asked), ..) => {
                format!(
                    "somebody asked again meanwhile ({}: {asked}); waiting for that",
                    keys::client::ROTATE
                )
            }
            (None, None, _) => format!("there is no Secret {secret_name} yet"),
            (None, Some(_), Some(previous)) => {
                format!("waiting for the rotation before, from user {previous} to {user}")
            }
            (None, Some(_), None) => format!("user {user}; topicops has not taken it up yet"),
        })
    }
}

fn says<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref().and_then(|all: &BTreeMap<String, String>| all.get(key)).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use keys::{
        client::ROTATE,
        secret::{MADE_FOR, PREVIOUS, USERNAME},
    };

    use super::*;

    fn meta(pairs: &[(&str, &str)]) -> ObjectMeta {
        let annotations = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() }
    }

    fn wish() -> Wish {
        Wish { before: Some("then".to_owned()), tokens: vec!["now".to_owned()], taken_up: false, lost: None }
    }

    /// How it stands after these looks: what the workload's annotation says, and the Secret's.
    fn after(looks: &[(&str, &[(&str, &str)])]) -> Stands {
        let (mut wish, mut now, mut last) = (wish(), Instant::now(), None);
        for (asked, secret) in looks {
            let workload = if asked.is_empty() { meta(&[]) } else { meta(&[(ROTATE, asked)]) };
            last = Some(wish.stands(&workload, Some(&meta(secret)), "s", now));
            now += GRACE;
        }
        last.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_is_silent_is_waited_for_no_longer_than_was_said() {
        let silent = axum::Router::new().fallback(std::future::pending::<()>);
        let client = Client::new(silent, "default");
        let request = crate::access::testing::request("shop/orders");
        let scene = Scene::new(&client, &request);
        assert!(format!("{:#}", scene.made_for().await.unwrap_err()).contains("no answer within 10 s"));
        let (began, mut out) = (Instant::now(), Vec::new());
        let limit = Duration::from_secs(60);
        let rotated = scene.wait("now".to_owned(), None, limit, &mut out).await.unwrap();
        assert_eq!(rotated, Rotated::Pending);
        assert!(began.elapsed() < limit + 2 * ANSWER, "{:?}", began.elapsed());
        let told = String::from_utf8(out).unwrap();
        let silence = "trying again: Deployment shop/orders: no answer within 10 s\n";
        assert_eq!(told, format!("{silence}it goes on: the Events of the workload tell how\n"));
    }

    const BEFORE: &[(&str, &str)] = &[(USERNAME, "u"), (MADE_FOR, "then")];

    fn waits(stands: &Stands, what: &str) -> bool {
        matches!(stands, Stands::Waits(message) if message.contains(what))
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_secret_says_tells_how_far_it_is() {
        assert!(waits(&after(&[("now", BEFORE)]), "not taken it up"));
        let earlier: &[_] = &[(USERNAME, "u_2"), (PREVIOUS, "u"), (MADE_FOR, "then")];
        assert!(waits(&after(&[("now", earlier)]), "the rotation before"));
        let changing: &[_] = &[(USERNAME, "u_2"), (PREVIOUS, "u"), (MADE_FOR, "now")];
        assert!(waits(&after(&[("now", changing)]), "Pods may run with user u still"));
        let done: &[_] = &[(USERNAME, "u_2"), (MADE_FOR, "now")];
        assert_eq!(after(&[("now", done)]), Stands::Over("all Pods have user u_2".to_owned()));
        let none = wish().stands(&meta(&[(ROTATE, "now")]), None, "s", Instant::now());
        assert!(waits(&none, "no Secret s yet"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_overtaken_by_another_who_asks_waits_for_that() {
        assert!(waits(&after(&[("now", BEFORE), ("later", BEFORE)]), "somebody asked again meanwhile"));
        assert!(waits(&after(&[("later", BEFORE), ("later", BEFORE)]), "not taken it up"));
        let done: &[_] = &[(USERNAME, "u_2"), (MADE_FOR, "later")];
        assert_eq!(
            after(&[("now", BEFORE), ("later", done)]),
            Stands::Over("all Pods have user u_2".to_owned())
        );
        // What was taken up stays so, whatever is asked for after that.
        let changing: &[_] = &[(USERNAME, "u_2"), (PREVIOUS, "u"), (MADE_FOR, "now")];
        let next: &[_] = &[(USERNAME, "u_3"), (PREVIOUS, "u_2"), (MADE_FOR, "then")];
        assert!(waits(&after(&[("now", changing), ("then", next), ("then", next)]), "Pods may run"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_annotation_that_something_else_puts_back_or_takes_away_is_waited_for_no_longer() {
        for (asked, said) in [("then", "put back to \"then\""), ("", "taken away")] {
            assert!(
                waits(&after(&[("now", BEFORE), (asked, BEFORE)]), "not taken it up"),
                "it may be at work"
            );
            assert!(waits(&after(&[(asked, BEFORE), ("now", BEFORE), (asked, BEFORE)]), "not taken it up"));
            let lost = after(&[("now", BEFORE), (asked, BEFORE), (asked, BEFORE)]);
            assert!(matches!(&lost, Stands::Lost(message) if message.contains(said)), "{lost:?}");
        }
    }
}
