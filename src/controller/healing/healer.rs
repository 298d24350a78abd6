use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use topicops_contract::{Workload, WorkloadKind};
use tracing::{debug, info, warn};

use super::{
    Checks, Patched, StoredTemplate, Templates, Verdict,
    checks::{Permit, by_kind},
};
use crate::{
    Reason,
    access::Client,
    controller::{
        access::{ClientEvents, ClientIndex, SecretIndex, Template},
        while_leading,
    },
};

/// The loop that looks at what was admitted, on the replica that leads.
#[allow(missing_debug_implementations)]
pub struct Healer {
    pub templates: Arc<dyn Templates>,
    pub clients: Arc<ClientIndex>,
    pub secrets: Arc<SecretIndex>,
    pub events: Arc<dyn ClientEvents>,
    /// Namespaces whose workloads are never sent to the webhook, so that these need neither it nor us.
    pub except: BTreeSet<String>,
    /// The listings of workloads.
    pub ready: Vec<watch::Receiver<bool>>,
}

/// Nothing is read before workloads have come to rest for so long: what comes by the dozen is read at once, and what is being
/// given credentials gets these first.
const QUIET: Duration = Duration::from_secs(2);
/// But no longer than this.
const RESTLESS: Duration = Duration::from_secs(15);
/// So many of a kind are read one by one; and where there are more, unless they are a small part of all.
const ONE_BY_ONE: usize = 20;
const SMALL_PART: usize = 8;
/// For one answer of the API server; admission webhooks of others may take ten seconds each.
const ANSWER: Duration = Duration::from_secs(30);

impl Healer {
    /// Works while this replica leads, for ever.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>) {
        while while_leading(&mut leading, "healing", self.lead()).await {}
    }

    /// Ends only when the process does.
    async fn lead(&mut self) {
        for ready in &mut self.ready {
            if ready.wait_for(|complete| *complete).await.is_err() {
                return;
            }
        }
        let mut checks = Checks::default();
        let mut changes = self.clients.template_changes();
        let mut secrets = self.secrets.all_changes();
        loop {
            changes.mark_unchanged();
            secrets.mark_unchanged();
            let mut all = self.clients.templates();
            all.retain(|one| !self.except.contains(one.client.workload.namespace()));
            let mut due = checks.due(&all, Instant::now());
            let known: BTreeMap<&Workload, &Client> =
                all.iter().map(|one| (&one.client.workload, &*one.client)).collect();
            due.retain(|workload| known.get(workload).is_some_and(|client| self.may_look_at(client)));
            if !due.is_empty() {
                self.look(&mut checks, &all, due).await;
                continue;
            }
            let next = checks.next();
            let open = tokio::select! {
                result = changes.changed() => result.is_ok(),
                result = secrets.changed() => result.is_ok(),
                () = async { sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => true,
            };
            if !open {
                return;
            }
            let began = Instant::now();
            while began.elapsed() < RESTLESS && matches!(timeout(QUIET, changes.changed()).await, Ok(Ok(())))
            {
            }
        }
    }

    /// A volume of a Secret that is not there, or is another's, would keep its Pods from starting: what runs is left alone
    /// until its own is there. Who mounts his Secret himself is left alone altogether.
    fn may_look_at(&self, client: &Client) -> bool {
        match &client.request {
            Ok(Some(request)) => {
                (request.inject.files || request.inject.env) && self.secrets.has_that_of(client)
            }
            Ok(None) => true,
            Err(_) => false,
        }
    }

    async fn look(&self, checks: &mut Checks, all: &[Template], due: Vec<Workload>) {
        let known: BTreeMap<&Workload, &Template> =
            all.iter().map(|one| (&one.client.workload, one)).collect();
        for (kind, due) in by_kind(due) {
            let of_kind = known.keys().filter(|workload| workload.kind() == kind).count();
            if due.len() <= ONE_BY_ONE || due.len() * SMALL_PART < of_kind {
                for workload in &due {
                    let Some(template) = known.get(workload) else { continue };
                    match answer(self.templates.read(workload)).await {
                        Ok(Some(stored)) => self.judge(checks, template, &stored).await,
                        // The watch will tell.
                        Ok(None) => drop(checks.failed(&template.client.uid, Instant::now())),
                        Err(error) => self.could_not(checks, template, "read", &error),
                    }
                }
            } else {
                self.look_at_pages(checks, &known, kind, due.iter().collect()).await;
            }
        }
    }

    async fn look_at_pages(
        &self,
        checks: &mut Checks,
        known: &BTreeMap<&Workload, &Template>,
        kind: WorkloadKind,
        mut due: BTreeSet<&Workload>,
    ) {
        let mut after = None;
        loop {
            match answer(self.templates.page(kind, after.take())).await {
                Ok((page, next)) => {
                    for stored in page {
                        if due.remove(&stored.workload)
                            && let Some(template) = known.get(&stored.workload)
                        {
                            self.judge(checks, template, &stored).await;
                        }
                    }
                    after = next;
                    if after.is_none() {
                        break;
                    }
                }
                Err(error) => {
                    for template in due.iter().filter_map(|workload| known.get(workload)) {
                        self.could_not(checks, template, "read", &error);
                    }
                    return;
                }
            }
        }
        for template in due.iter().filter_map(|workload| known.get(workload)) {
            checks.failed(&template.client.uid, Instant::now());
        }
    }

    async fn judge(&self, checks: &mut Checks, template: &Template, stored: &StoredTemplate) {
        let (client, now) = (&template.client, Instant::now());
        if stored.uid != client.uid {
            // Another one of the same name: the watch will tell.
            checks.failed(&client.uid, now);
            return;
        }
        let operations = match Verdict::of(stored) {
            Verdict::InOrder => {
                checks.settled(template, now);
                return;
            }
            Verdict::Hopeless(why) => {
                checks.settled(template, now);
                self.events.say(client, Reason::NotInjected, &why);
                return;
            }
            Verdict::Heal(operations) => operations,
        };
        if let Permit::Later { heals } = checks.may_heal(&client.uid, now) {
            let note = format!(
                "somebody takes the credentials out of the pod template: topicops put them back {heals} times, and goes on at most \
                 once an hour. What replaces the whole template has to go through topicops' webhook, or keep what it finds there"
            );
            self.events.say(client, Reason::NotInjected, &note);
            return;
        }
        match answer(self.templates.patch(&client.workload, &operations)).await {
            Ok(Patched::Done) => {
                let times = checks.healed(&client.uid, Instant::now());
                info!(workload = %client.workload, times, "credentials are in the pod template now: it was admitted without them");
                let note = "the pod template was admitted while topicops' webhook was away; what it adds is in it now";
                self.events.say(client, Reason::Injected, note);
            }
            Ok(Patched::Overtaken) => {
                checks.failed(&client.uid, Instant::now());
            }
            Err(error) => self.could_not(checks, template, "change", &error),
        }
    }

    fn could_not(&self, checks: &mut Checks, template: &Template, doing: &str, error: &str) {
        let workload = &template.client.workload;
        if checks.failed(&template.client.uid, Instant::now()) {
            warn!(%workload, doing, error, "the pod template could not be looked after; trying again");
            let note =
                format!("the pod template may lack its credentials, and topicops cannot {doing} it: {error}");
            self.events.say(&template.client, Reason::NotInjected, &note);
        } else {
            debug!(%workload, doing, error, "the pod template could not be looked after; trying again");
        }
    }
}

async fn answer<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match timeout(ANSWER, request).await {
        Ok(Ok(value)) => Ok(value),
        // Only the status's own words: an error's debug text could hold more of the request.
        Ok(Err(kube::Error::Api(status))) => Err(status.message.clone()),
        Ok(Err(error)) => Err(crate::chain(&error)),
        Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
    }
}
