use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use topicops_contract::TopicName;

use crate::{Reason, moves::RebalanceRequest};

/// Where the topic controller and the mover tell each other what they want and what they do.
#[derive(Debug, Default)]
pub struct MoveDesk {
    inner: Mutex<Inner>,
    /// Woken when the mover has something new to look at.
    pub changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// The replication factors that are declared and not there.
    wishes: BTreeMap<TopicName, i16>,
    /// Topics that a ConfigMap declares and owns: no others are touched.
    owned: BTreeSet<TopicName>,
    paused: BTreeSet<TopicName>,
    /// Whether all topics have been looked at since this replica leads.
    whole: bool,
    /// `None`: not known yet.
    request: Option<Option<RebalanceRequest>>,
    moving: Arc<BTreeMap<TopicName, Moving>>,
    /// Topics that have a wish and are moved by somebody else.
    held_up: BTreeSet<TopicName>,
}

/// What is done about one topic, for its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// The replication factor it is to have in the end.
    pub factor: i16,
    /// An administrator rebalances: to its author, the topic is as declared all the while.
    pub rebalance: bool,
    /// What is said of it; `None`: nothing, its turn has not come.
    pub said: Option<(Reason, String)>,
}

/// How a topic stands with its ConfigMaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody that may declares it.
    Unowned,
    Owned,
    /// Owned, and its author wants nothing touched.
    Paused,
}

impl MoveDesk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the topic controller saw of a topic. `wish`: the replication factor that it is to be moved to.
    pub fn note(&self, topic: &TopicName, standing: Standing, wish: Option<i16>) {
        let mut inner = self.lock();
        let mut changed = match standing {
            Standing::Unowned => inner.owned.remove(topic),
            Standing::Owned | Standing::Paused => inner.owned.insert(topic.clone()),
        };
        changed |= match standing {
            Standing::Paused => inner.paused.insert(topic.clone()),
            Standing::Owned | Standing::Unowned => inner.paused.remove(topic),
        };
        changed |= match wish {
            Some(factor) => inner.wishes.insert(topic.clone(), factor) != Some(factor),
            None => inner.wishes.remove(topic).is_some(),
        };
        drop(inner);
        if changed {
            self.changed.notify_one();
        }
    }

    /// All topics have been looked at.
    pub fn note_whole(&self) {
        if !std::mem::replace(&mut self.lock().whole, true) {
            self.changed.notify_one();
        }
    }

    /// Another replica leads: what was noted is not known any more.
    pub fn forget(&self) {
        let mut inner = self.lock();
        let request = inner.request.take();
        *inner = Inner { request, ..Inner::default() };
    }

    /// The rebalance that is asked for; `None` when there is none any more.
    pub fn request(&self, request: Option<RebalanceRequest>) {
        self.lock().request = Some(request);
        self.changed.notify_one();
    }

    /// `None` as long as that is not known.
    pub(super) fn requested(&self) -> Option<Option<RebalanceRequest>> {
        self.lock().request.clone()
    }

    /// Brokers that are to get nothing new.
    pub fn draining(&self) -> BTreeSet<i32> {
        let inner = self.lock();
        let standing = inner.request.iter().flatten().find(|request| !request.cancel);
        standing.map(|request| request.drain.clone()).unwrap_or_default()
    }

    /// What is moved, for plans and statuses.
    pub fn moving(&self) -> Arc<BTreeMap<TopicName, Moving>> {
        Arc::clone(&self.lock().moving)
    }

    /// Whether a topic's replication factor cannot be changed yet, because somebody else moves the topic.
    pub fn is_held_up(&self, topic: &TopicName) -> bool {
        self.lock().held_up.contains(topic)
    }

    pub(super) fn is_held_up_otherwise(&self, others: &BTreeSet<TopicName>) -> bool {
        self.lock().held_up != *others
    }

    /// Shows what is moved, and what others keep from being moved; gives the topics of which something else is to be said
    /// than before.
    pub(super) fn show(
        &self,
        moving: BTreeMap<TopicName, Moving>,
        held_up: BTreeSet<TopicName>,
    ) -> Vec<TopicName> {
        let mut inner = self.lock();
        let before = std::mem::replace(&mut inner.moving, Arc::new(moving));
        let held_before = std::mem::replace(&mut inner.held_up, held_up);
        let now = &inner.moving;
        let differs = before.keys().chain(now.keys()).filter(|topic| before.get(*topic) != now.get(*topic));
        let differs = differs.chain(held_before.symmetric_difference(&inner.held_up));
        differs.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn wishes(&self) -> BTreeMap<TopicName, i16> {
        self.lock().wishes.clone()
    }

    /// A wish has come true, or was another's mistake: the topic controller says so again if it is not.
    pub(super) fn fulfilled(&self, topic: &TopicName, factor: i16) {
        let mut inner = self.lock();
        if inner.wishes.get(topic) == Some(&factor) {
            inner.wishes.remove(topic);
        }
    }

    pub(super) fn paused(&self) -> BTreeSet<TopicName> {
        self.lock().paused.clone()
    }

    /// The topics that may be moved; `None` while not all have been looked at.
    pub(super) fn owned(&self) -> Option<BTreeSet<TopicName>> {
        let inner = self.lock();
        inner.whole.then(|| inner.owned.clone())
    }
}
