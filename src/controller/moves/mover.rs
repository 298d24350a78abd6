use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use topicops_contract::{ReplicationFactor, TopicName};
use tracing::{info, warn};

use super::{
    BrokerDefaults, Movable, MoveDesk, MoveStore, MoveStoreError, Survey, plan_factor, plan_rebalance,
    tell::Telling,
};
use crate::{
    controller::{Reporter, health::Health, topics::TopicIndex, while_leading},
    fail_point::fail_point,
    kafka::{Cluster, ClusterError, TopicPartition},
    metrics::Metrics,
    moves::{Act, BatchLimits, MoveState, Observed, Room, TakenRequest, next},
};

/// The loop that moves replicas, on the replica that leads.
#[allow(missing_debug_implementations)]
pub struct Mover {
    pub cluster: Arc<dyn Cluster>,
    pub store: Arc<dyn MoveStore>,
    pub desk: Arc<MoveDesk>,
    pub index: Arc<TopicIndex>,
    pub limits: BatchLimits,
    pub reporter: Reporter,
    pub health: Health,
    pub metrics: Metrics,
}

/// Between looks while something is moved.
const PACE: Duration = Duration::from_secs(1);
/// Between a step and the look that tells whether it took effect.
const SOON: Duration = Duration::from_millis(100);
/// Until a topic is planned again whose move was refused or called off by somebody else.
const HOLD: Duration = Duration::from_secs(30);
/// Between looks at how much was copied.
const MEASURE: Duration = Duration::from_secs(5);
/// Between tries of what the brokers refuse, at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between looks for a broker that is away with throttles of ours, while there is nothing else to do.
const ABSENCE: Duration = Duration::from_secs(60);
/// After a failure of the brokers or of the API server.
const BACKOFF: Duration = Duration::from_secs(2);

/// What one leadership knows of moves.
pub(super) struct Work {
    /// As it is written, but for what is known to have to be begun again.
    pub(super) state: MoveState,
    pub(super) version: Option<String>,
    /// `min.insync.replicas` of topics that have none of their own; read when it is needed.
    pub(super) min_in_sync: Option<usize>,
    pub(super) copied: BTreeMap<TopicPartition, u64>,
    measured: Option<(Instant, u64)>,
    /// Bytes per second, as measured.
    pub(super) pace: Option<u64>,
    /// Looks that did not find a move which is under way.
    pub(super) unlisted: BTreeMap<TopicPartition, u32>,
    /// Topics that are not planned again before then, and why.
    pub(super) held: BTreeMap<TopicName, (Instant, String)>,
    pub(super) trouble: Option<String>,
    /// Steps that failed one after the other.
    failures: u32,
    /// The room that was left when a topic found none: until there is more, no other is planned.
    crowded: Option<Room>,
    /// A rebalance that cannot be done as asked, and why.
    pub(super) refused: Option<(String, String)>,
    pub(super) telling: Telling,
}

/// What ends a look; nothing is lost, it is looked at again.
#[derive(Debug, Error)]
pub(super) enum MoveError {
    #[error(transparent)]
    Kafka(#[from] ClusterError),
    /// Another replica may have written: everything is loaded again.
    #[error(transparent)]
    Store(#[from] MoveStoreError),
}

impl Mover {
    /// Works while this replica leads, for ever.
    pub async fn run(self, mut leading: watch::Receiver<bool>) {
        while while_leading(&mut leading, "moves", self.lead()).await {
            self.desk.forget();
            self.clear_metrics();
        }
    }

    async fn lead(&self) {
        loop {
            match self.store.load().await {
                Ok(loaded) => {
                    let (state, version) = match loaded {
                        Some((state, version)) => (state, Some(version)),
                        None => (MoveState::new(), None),
                    };
                    let mut work = Work::new(state, version);
                    let error = self.work(&mut work).await;
                    warn!(error = crate::chain(&error), "the state of moves is loaded again");
                }
                Err(error) => {
                    warn!(error = crate::chain(&error), "cannot start to move replicas; trying again");
                }
            }
            sleep(BACKOFF).await;
        }
    }

    /// Ends only when the state has to be loaded again.
    async fn work(&self, work: &mut Work) -> MoveStoreError {
        loop {
            let wait = match self.look(work).await {
                Ok(wait) => wait,
                Err(MoveError::Store(error)) => return error,
                Err(MoveError::Kafka(error)) => {
                    self.health.kafka_failed(&error);
                    warn!(error = crate::chain(&error), "moves could not be looked at; trying again");
                    Some(BACKOFF)
                }
            };
            match wait {
                Some(wait) if wait <= SOON => sleep(wait).await,
                Some(wait) => {
                    let _ = timeout(wait, self.desk.changed.notified()).await;
                }
                None => match work.held.values().map(|(until, _)| *until).min() {
                    Some(until) => {
                        tokio::select! {
                            () = self.desk.changed.notified() => {}
                            () = sleep_until(until) => {}
                        }
                    }
                    None => self.desk.changed.notified().await,
                },
            }
        }
    }

    /// Takes what is wanted, looks at what there is, and does what comes next. How long to wait before the next look; `None`:
    /// until something is wanted.
    async fn look(&self, work: &mut Work) -> Result<Option<Duration>, MoveError> {
        let now = Instant::now();
        work.held.retain(|_, (until, _)| *until > now);
        let waiting = self.take_request(work).await?;
        let waiting = self.take_wishes(work).await? || waiting;
        if work.state.is_idle() {
            self.show(work, None).await;
            if work.version.is_some() {
                fail_point!("moves/nothing-left");
            }
            return Ok(if waiting { Some(PACE) } else { None });
        }
        let limits = self.limits_of(work);
        if work.wants_measuring(now) {
            self.measure(work).await?;
            work.measured(now);
        }
        // Now and then the throttles are looked at again: another's may be gone that ours relied on.
        let throttles = work.measured.is_some_and(|(at, _)| at == now);
        let mut seen = self.observe(work, throttles).await?;
        let mut step = next(&work.state, &seen, limits);
        if step.act == Act::Look {
            seen = self.observe(work, true).await?;
            step = next(&work.state, &seen, limits);
        }
        let busy = step.act != Act::Nothing;
        let shown = self.notice(work, &step);
        self.carry_out(work, step).await?;
        self.show(work, Some((&seen, shown))).await;
        work.failures = if busy && work.trouble.is_some() { work.failures.saturating_add(1) } else { 0 };
        Ok(Some(match (busy, work.failures) {
            (true, 0) => SOON,
            (true, failures) => PACE.saturating_mul(1 << failures.min(5)).min(PATIENCE),
            (false, _) if work.state.topics.is_empty() && !work.state.is_idle() => ABSENCE,
            (false, _) => PACE,
        }))
    }

    pub(super) fn limits_of(&self, work: &Work) -> BatchLimits {
        let of_request = work.state.request.as_ref().and_then(|taken| taken.request.throttle);
        let throttle = of_request.filter(|_| work.state.is_rebalancing()).unwrap_or(self.limits.throttle);
        BatchLimits { throttle, ..self.limits }
    }

    /// Takes up a rebalance that is asked for, or calls off one that is not any more. Whether one waits for others' moves.
    async fn take_request(&self, work: &mut Work) -> Result<bool, MoveError> {
        let Some(request) = self.desk.requested() else { return Ok(false) };
        let taken = work.state.request.as_ref();
        let known = |id: &str| taken.is_some_and(|taken| taken.request.id == id);
        let mut state = work.state.clone();
        match request {
            None => {
                state.cancel_rebalance();
                if !state.is_rebalancing() {
                    state.request = None;
                }
            }
            Some(request) if request.cancel => {
                if !known(&request.id) {
                    state.cancel_rebalance();
                    state.request = Some(TakenRequest::empty(request));
                }
            }
            Some(request)
                if known(&request.id)
                    && (state.is_rebalancing() || taken.is_none_or(|taken| taken.later == 0)) => {}
            // An earlier one goes on when it is the same, and makes room first when it is not.
            Some(request) if state.is_rebalancing() => {
                if !state.take_over_rebalance(&request) {
                    state.cancel_rebalance();
                }
            }
            Some(request) => {
                if work.refused.as_ref().is_some_and(|(id, _)| *id == request.id) {
                    return Ok(false);
                }
                let Some(owned) = self.desk.owned() else { return Ok(false) };
                if self.index.policy().unread {
                    // Every topic is held back for now: a plan would leave all of them where they are.
                    return Ok(true);
                }
                let room = Room::beside(&state);
                let listed = self.cluster.list_reassignments().await?;
                let of_others = listed.iter().any(|one| !state.topics.contains_key(&one.partition.topic));
                if of_others || !room.is_ample() {
                    work.telling.waits = true;
                    return Ok(true);
                }
                let survey = self.survey(work, &request.drain).await?;
                let busy: BTreeSet<TopicName> = state.topics.keys().cloned().collect();
                let (paused, policy) = (self.desk.paused(), self.index.policy());
                let movable = Movable { owned: &owned, paused: &paused, busy: &busy, policy: &policy };
                match plan_rebalance(&survey, &request, movable, room) {
                    Ok((topics, taken, _)) => {
                        info!(
                            id = request.id,
                            partitions = taken.planned,
                            bytes = taken.bytes,
                            "rebalancing"
                        );
                        state.topics.extend(topics);
                        state.request = Some(taken.following(state.request.as_ref()));
                    }
                    Err(message) => {
                        warn!(id = request.id, message, "this rebalance cannot be done");
                        work.refused = Some((request.id, message));
                        return Ok(false);
                    }
                }
            }
        }
        if state != work.state {
            self.remember(work, state).await?;
            fail_point!("moves/request-taken");
        }
        Ok(false)
    }

    /// Plans the topics that are to have another replication factor. Whether some of them wait.
    async fn take_wishes(&self, work: &mut Work) -> Result<bool, MoveError> {
        let wishes = self.desk.wishes();
        let mut state = work.state.clone();
        let mut wanted: Vec<(TopicName, i16)> = Vec::new();
        let mut waiting = false;
        for (topic, factor) in wishes {
            match state.topics.get(&topic) {
                Some(moves) if moves.cancelled => waiting = true,
                Some(moves) if moves.goal.factor() == factor => {}
                Some(_) => state.cancel(&topic),
                None if work.held.contains_key(&topic) => {}
                None => wanted.push((topic, factor)),
            }
        }
        if wanted.is_empty() {
            self.remember(work, state).await?;
            return Ok(waiting);
        }
        // Everything has to fit a ConfigMap: those under way come first.
        let mut room = Room::beside(&state);
        if !state.topics.is_empty() && work.crowded.is_some_and(|before| !room.outgrew(before)) {
            self.remember(work, state).await?;
            return Ok(true);
        }
        work.crowded = None;
        let listed = self.cluster.list_reassignments().await?;
        // Those that topicops moves are not among the wanted.
        let moved_by_others = |topic: &TopicName| listed.iter().any(|one| one.partition.topic == *topic);
        let (others, wanted): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|(topic, _)| moved_by_others(topic));
        waiting |= !others.is_empty();
        work.telling.others = others.into_iter().map(|(topic, _)| topic).collect();
        if wanted.is_empty() {
            self.remember(work, state).await?;
            return Ok(waiting);
        }
        let mut survey = self.survey(work, &self.desk.draining()).await?;
        for (topic, factor) in wanted {
            let Ok(factor) = ReplicationFactor::try_from(factor) else { continue };
            if !survey.topics.contains_key(&topic) {
                work.held.insert(topic, (Instant::now() + HOLD, "the brokers do not show it".to_owned()));
                continue;
            }
            match plan_factor(&mut survey, &topic, factor) {
                Ok(Some(mut moves)) => {
                    let before = room;
                    if !room.fit(&topic, &mut moves) && !state.topics.is_empty() {
                        work.crowded = Some(before);
                        waiting = true;
                        break;
                    }
                    info!(%topic, factor = factor.get(), partitions = moves.partitions.len(), "changing a replication factor");
                    state.topics.insert(topic, moves);
                }
                Ok(None) => {
                    self.desk.fulfilled(&topic, factor.get());
                    self.index.mark([&topic]);
                }
                Err(error) => {
                    work.held.insert(topic, (Instant::now() + HOLD, error.to_string()));
                }
            }
        }
        if state != work.state {
            self.remember(work, state).await?;
            fail_point!("moves/factor-planned");
        }
        Ok(waiting)
    }

    async fn survey(&self, work: &mut Work, draining: &BTreeSet<i32>) -> Result<Survey, ClusterError> {
        let survey = Survey::take(self.cluster.as_ref(), draining).await?;
        let brokers: Vec<i32> = survey.layout.brokers.keys().copied().collect();
        if let Some(defaults) = BrokerDefaults::read(self.cluster.as_ref(), &brokers).await? {
            work.min_in_sync = Some(defaults.min_in_sync);
        }
        Ok(survey)
    }
}

impl Work {
    fn new(state: MoveState, version: Option<String>) -> Self {
        Self {
            state,
            version,
            min_in_sync: None,
            failures: 0,
            copied: BTreeMap::new(),
            measured: None,
            pace: None,
            unlisted: BTreeMap::new(),
            held: BTreeMap::new(),
            trouble: None,
            crowded: None,
            refused: None,
            telling: Telling::default(),
        }
    }

    pub(super) fn hold(&mut self, topic: &TopicName) {
        let why = self.trouble.clone().unwrap_or_default();
        self.held.insert(topic.clone(), (Instant::now() + HOLD, why));
    }

    /// Notes what keeps moves from going on; `None`: nothing does.
    pub(super) fn trouble(&mut self, trouble: Option<String>) {
        if let Some(trouble) = trouble.as_ref().filter(|trouble| self.trouble.as_ref() != Some(*trouble)) {
            warn!("{trouble}");
        }
        self.trouble = trouble;
    }

    fn wants_measuring(&self, now: Instant) -> bool {
        let copying = self.state.partitions().any(|(_, one)| one.is_under_way() && one.to_copy() > 0);
        copying && self.measured.is_none_or(|(at, _)| now.duration_since(at) >= MEASURE)
    }

    fn measured(&mut self, now: Instant) {
        let copied: u64 = self.copied.values().sum();
        if let Some((at, before)) = self.measured {
            let seconds = now.duration_since(at).as_secs().max(1);
            // Between batches the sum falls.
            self.pace =
                copied.checked_sub(before).filter(|more| *more > 0).map(|more| more / seconds).or(self.pace);
        }
        self.measured = Some((now, copied));
    }
}

/// What one look showed that is to be told.
pub(super) type Shown = (Vec<String>, BTreeMap<TopicPartition, String>, BTreeMap<TopicPartition, Vec<i32>>);

/// What was observed, and what it means.
pub(super) type Seen<'a> = (&'a Observed, Shown);
