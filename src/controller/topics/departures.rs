//! Objects that go: what needs no broker is let go at once, and what nobody can wait for in Kubernetes is remembered.
//!
//! A finalizer is kept only for as long as it has something to wait for. Where an object cannot wait (its namespace is being
//! deleted, or it went before it had its finalizer), the deletion that it asked for is written to the ledger, and carried out
//! from there under the same conditions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout};
use topicops_contract::{DeletionPolicy, TopicName};
use tracing::{debug, info, warn};

use super::{Gone, LedgerError, StatusUpdate, TopicController, lag::goes_by, topic_controller::Tenure};
use crate::{
    Reason,
    fail_point::fail_point,
    topic::{Applied, Declaration, Deletion, Drift, Holding, Ownership, Refusal, TopicPlan, TopicPolicy},
};

/// For one answer of the API server: it is asked again later.
const ANSWER: Duration = Duration::from_secs(2);
/// What was not answered is asked again after this long at most.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long an answer about a namespace counts.
const FRESH: Duration = Duration::from_secs(10);
/// How long the next try waits when the API server does not list ConfigMaps: twice as long each time, up to the longest.
const LIST_AGAIN: Duration = Duration::from_secs(1);
const LIST_AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// Questions under way at the same time.
const IN_FLIGHT: usize = 16;

/// Namespaces that were asked about, whether they are ending, and when.
pub(super) type Endings = BTreeMap<String, (bool, Instant)>;

impl TopicController {
    /// Lets objects go whose topics stay, whatever the brokers have: for that they are not asked.
    pub(super) fn release_undisputed(&self, tenure: &Tenure, topics: &[TopicName]) {
        let policy = self.index.policy();
        for topic in topics {
            let declarations = self.index.declarations(topic);
            for going in declarations.iter().filter(|one| one.deleting) {
                if TopicPlan::leaves_topic(going, &declarations, tenure.ledger.get(topic), &policy) {
                    self.release(&going.object);
                }
            }
        }
    }

    /// Lets go what lost its label while nobody led, and so nobody saw it: asked for once in each leadership.
    pub(super) async fn release_unlabelled(&self) {
        let mut wait = LIST_AGAIN;
        let unlabelled = loop {
            match self.evidence.unlabelled().await {
                Ok(unlabelled) => break unlabelled,
                Err(error) => {
                    let error = crate::chain(&error);
                    warn!(error, "what lost its label cannot be looked for; trying again");
                    sleep(wait).await;
                    wait = wait.saturating_mul(2).min(LIST_AGAIN_AT_MOST);
                }
            }
        };
        for (key, uid) in unlabelled {
            // One that has its label again by now is watched.
            if self.index.object(&key).is_none() {
                info!(object = %key, "letting an object go that lost its label while nobody led");
                self.statuses.update(StatusUpdate { key, uid, status: None, finalizer: false });
            }
        }
    }

    /// What is not watched any more: its finalizer has no reason, and what it asked for when it went is remembered.
    pub(super) async fn see_off(&self, tenure: &mut Tenure, gone: Vec<Gone>) -> Result<(), LedgerError> {
        let mut departed = std::mem::take(&mut tenure.departed);
        let mut afresh = Vec::new();
        for gone in gone {
            self.reporter.forget(&gone.uid);
            afresh.extend(self.declared_afresh(tenure, &gone));
            // An object that lost its label is no topic any more, and must not be kept by our finalizer.
            if gone.finalizer {
                let update = StatusUpdate { key: gone.key, uid: gone.uid, status: None, finalizer: false };
                self.statuses.update(update);
            } else if gone.last.as_ref().is_some_and(|last| asks_for_deletion(last, tenure)) {
                departed.push(gone);
            }
        }
        if let Some(more) = tenure.ledger.record(self.store.as_ref(), afresh).await? {
            warn!(
                error = crate::chain(&more.why),
                "lost topics could not be forgotten; they stay as they are"
            );
        }
        if departed.is_empty() {
            return Ok(());
        }
        let answers = stream::iter(departed).map(|gone| async move {
            let asked = timeout(ANSWER, self.evidence.is_gone(&gone.key, &gone.uid)).await;
            (gone, asked.ok().and_then(Result::ok))
        });
        let mut answers = answers.buffer_unordered(IN_FLIGHT);
        let policy = self.index.policy();
        let (mut changes, mut due) = (Vec::new(), Vec::new());
        while let Some((gone, answer)) = answers.next().await {
            match (answer, &gone.last) {
                (Some(true), Some(last)) => {
                    if let Some(change) = self.due(last, &gone.uid, tenure, &policy) {
                        due.push((change.0.clone(), gone));
                        changes.push(change);
                    }
                }
                (Some(_), _) => {}
                (None, _) => tenure.departed.push(gone),
            }
        }
        drop(answers);
        let left_out = self.remember(tenure, changes).await?;
        tenure
            .departed
            .extend(due.into_iter().filter(|(topic, _)| left_out.contains(topic)).map(|(_, gone)| gone));
        Ok(())
    }

    /// Where all that declared a topic went, somebody had deleted that on the brokers and it was left so: whoever declares it
    /// again, be it at once, means what he says. No pass needs to have come in between.
    fn declared_afresh(&self, tenure: &mut Tenure, gone: &Gone) -> Option<(TopicName, Option<Holding>)> {
        let topic = gone.topic.as_ref()?;
        let drifted = tenure.drifted.get(topic)?;
        let held = tenure.ledger.get(topic).filter(|held| held.namespace == gone.key.namespace)?;
        let stay = self.index.declarations(topic).iter().any(|one| one.object != gone.key);
        if stay || !drifted.contains(&Drift::Missing) {
            return None;
        }
        if let Some(id) = &held.applied.topic_id {
            tenure.undeclared.insert(topic.clone(), (id.clone(), Instant::now()));
        }
        Some((topic.clone(), Some(Holding { applied: Applied::default(), ..held.clone() })))
    }

    /// Remembers the deletions that are held up and that their namespaces cannot wait for, and lets their objects go. The
    /// names of those topics.
    pub(super) async fn give_up_waiting<'a>(
        &self,
        tenure: &mut Tenure,
        held_up: impl IntoIterator<Item = &'a Declaration>,
    ) -> Result<BTreeSet<TopicName>, LedgerError> {
        let mut ending = Vec::new();
        for one in held_up {
            if self.is_ending(&mut tenure.endings, &one.object.namespace).await {
                ending.push(one);
            }
        }
        let policy = self.index.policy();
        let due = |one: &&Declaration| {
            let uid = self.index.object(&one.object).map(|object| object.uid).unwrap_or_default();
            self.due(one, &uid, tenure, &policy)
        };
        let changes: Vec<_> = ending.iter().filter_map(due).collect();
        let left_out = self.remember(tenure, changes).await?;
        // An object that is not waited for any more must not go unremembered.
        ending.retain(|one| !left_out.contains(&one.manifest.topic));
        for one in &ending {
            self.release(&one.object);
        }
        Ok(ending.into_iter().map(|one| one.manifest.topic.clone()).collect())
    }

    /// The objects whose deletions wait for the brokers, which do not answer.
    pub(super) fn waiting_for_brokers(&self, tenure: &Tenure, topics: &[TopicName]) -> Vec<Declaration> {
        let policy = self.index.policy();
        let mut waiting = Vec::new();
        for topic in topics {
            waiting.extend(going(&self.index.declarations(topic), tenure.ledger.get(topic), &policy));
        }
        waiting
    }

    /// Tells the authors of objects that name another topic than before what became of the one they named.
    pub(super) fn tell_renamed(&self, tenure: &Tenure) {
        for renamed in self.index.take_renamed() {
            let held = tenure.ledger.get(&renamed.left);
            if held.is_some_and(|held| held.namespace == renamed.key.namespace) {
                let note = format!(
                    "topic {} stays on the brokers and stays namespace {}'s: it is not renamed, moved or deleted; an object \
                     that declares it takes it up again",
                    renamed.left, renamed.key.namespace
                );
                self.reporter.say(renamed.key.reference(&renamed.uid), Reason::TopicLeft, &note);
            }
        }
    }

    /// The deletion that `last` asked for, if the topic is its to delete and nobody else may have it. One that was never seen
    /// is not: by its name alone, it may be somebody else's.
    fn due(
        &self,
        last: &Declaration,
        uid: &str,
        tenure: &Tenure,
        policy: &TopicPolicy,
    ) -> Option<(TopicName, Option<Holding>)> {
        let topic = &last.manifest.topic;
        let held = tenure.ledger.get(topic)?;
        if !wants_deletion(last) {
            return None;
        }
        let mut declarations = self.index.declarations(topic);
        if declarations.iter().any(|one| one.object == last.object && !one.deleting) {
            // It is there again already.
            return None;
        }
        declarations.retain(|one| one.object != last.object);
        declarations.push(Declaration { deleting: true, ..last.clone() });
        let settled = Ownership::settle(topic, &declarations, Some(held), true, policy);
        settled.owner.filter(|owner| owner.object == last.object)?;
        let mut held = held.clone();
        if let (None, Some((id, _))) = (&held.applied.topic_id, tenure.undeclared.get(topic)) {
            held.applied.topic_id = Some(id.clone());
        }
        held.applied.topic_id = goes_by(tenure, topic, &held).map(str::to_owned);
        let deletion = Deletion::asked_by(last, &held);
        if deletion.topic_id.is_none() {
            let refusal = Refusal::NeverSeen { topic: topic.clone() };
            let note = refusal.message(last.object.kind);
            self.reporter.say(last.object.reference(uid), refusal.reason(), &note);
            return None;
        }
        Some((topic.clone(), Some(Holding { deletion: Some(deletion), ..held })))
    }

    /// The topics of which that could not be written down.
    async fn remember(
        &self,
        tenure: &mut Tenure,
        changes: Vec<(TopicName, Option<Holding>)>,
    ) -> Result<BTreeSet<TopicName>, LedgerError> {
        let is_new =
            |(topic, holding): &&(TopicName, Option<Holding>)| tenure.ledger.get(topic) != holding.as_ref();
        // What is remembered already is looked at in its time.
        let mut topics: Vec<TopicName> =
            changes.iter().filter(is_new).map(|(topic, _)| topic.clone()).collect();
        let mut left_out = BTreeSet::new();
        if let Some(more) = tenure.ledger.record(self.store.as_ref(), changes).await? {
            warn!(error = crate::chain(&more.why), "deletions could not be written down; trying again");
            left_out = more.topics;
            topics.retain(|topic| !left_out.contains(topic));
        }
        for topic in &topics {
            info!(%topic, "remembering to delete a topic once nobody uses it: the object that declared it is gone");
        }
        if !topics.is_empty() {
            fail_point!("topics/deletion-remembered");
        }
        self.index.mark(&topics);
        Ok(left_out)
    }

    async fn is_ending(&self, endings: &mut Endings, namespace: &str) -> bool {
        let now = Instant::now();
        if let Some((ending, at)) = endings.get(namespace)
            && now.duration_since(*at) < FRESH
        {
            return *ending;
        }
        endings.retain(|_, (_, at)| now.duration_since(*at) < FRESH);
        let ending = match timeout(ANSWER, self.evidence.is_ending(namespace)).await {
            Ok(Ok(ending)) => ending,
            Ok(Err(error)) => {
                debug!(namespace, error = %error, "whether the namespace is being deleted cannot be told");
                false
            }
            Err(_) => false,
        };
        endings.insert(namespace.to_owned(), (ending, now));
        ending
    }
}

/// Those of a topic's objects that are being deleted and that the topic is to go with.
pub(super) fn going(
    declarations: &[Declaration],
    held: Option<&Holding>,
    policy: &TopicPolicy,
) -> Vec<Declaration> {
    let takes_it =
        |one: &&Declaration| one.deleting && !TopicPlan::leaves_topic(one, declarations, held, policy);
    declarations.iter().filter(takes_it).cloned().collect()
}

/// Whether an object that went without our finalizer wanted its topic, which its namespace holds, to go with it.
fn asks_for_deletion(last: &Declaration, tenure: &Tenure) -> bool {
    let held = tenure.ledger.get(&last.manifest.topic);
    wants_deletion(last) && held.is_some_and(|held| held.namespace == last.object.namespace)
}

fn wants_deletion(last: &Declaration) -> bool {
    last.manifest.deletion_policy == DeletionPolicy::Delete && !last.manifest.paused
}
