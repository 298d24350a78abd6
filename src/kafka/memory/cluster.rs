use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use topicops_contract::TopicName;

use super::{Call, state::State};
use crate::kafka::{
    Acl, BrokerConfigs, BrokerDisks, Cluster, ClusterDescription, ClusterError, ConfigChange, ConfigKeys,
    ConsumingGroup, CreatedTopic, DoomedTopic, Item, ItemError, LoginCheck, LoginReport, NewPartitions,
    NewTopic, Quota, QuotaClients, QuotaTarget, QuotaValue, Reassignment, ScramKeys, ScramMechanism,
    ScramUser, TopicDescription, TopicPartition,
};

/// A cluster in memory, for tests of planning and controllers. It passes the contract tests that the real adapter
/// passes against a real broker, and refuses what a broker refuses.
///
/// It can be told to fail ([`MemoryCluster::fail`], [`MemoryCluster::refuse`]), to show old state as a broker does
/// whose image lags ([`MemoryCluster::freeze_reads`]), and it counts its calls ([`MemoryCluster::calls`]). Clones share
/// everything.
#[derive(Clone)]
pub struct MemoryCluster(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    state: State,
    /// What reads see while they are frozen.
    frozen: Option<State>,
    /// What they saw when they last were.
    thawed: Option<State>,
    calls: BTreeMap<Call, usize>,
    failures: HashMap<Call, VecDeque<ClusterError>>,
    refusals: HashMap<(Call, String), ItemError>,
}

impl fmt::Debug for MemoryCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryCluster")
    }
}

impl MemoryCluster {
    /// A cluster of so many brokers, with ids from 1 on and without racks.
    pub fn new(brokers: i32) -> Self {
        Self::of((1..=brokers).map(|id| (id, None)).collect())
    }

    /// A cluster of one broker for each of these racks, with ids from 1 on.
    pub fn with_racks(racks: &[&str]) -> Self {
        Self::of((1..).zip(racks).map(|(id, rack)| (id, Some((*rack).to_owned()))).collect())
    }

    fn of(brokers: Vec<(i32, Option<String>)>) -> Self {
        let state = State { brokers, ..State::default() };
        Self(Arc::new(Mutex::new(Inner { state, ..Inner::default() })))
    }

    /// A broker joins, or stands in this rack from now on.
    pub fn add_broker(&self, id: i32, rack: Option<&str>) {
        let mut inner = self.lock();
        inner.state.brokers.retain(|(broker, _)| *broker != id);
        inner.state.brokers.push((id, rack.map(str::to_owned)));
        inner.state.brokers.sort_unstable();
    }

    /// A broker is gone for good; what it held names it still.
    pub fn lose_broker(&self, id: i32) {
        self.lock().state.lose_broker(id);
    }

    /// How many bytes a partition has on every broker that holds it.
    pub fn set_size(&self, partition: TopicPartition, bytes: u64) {
        self.lock().state.sizes.insert(partition, bytes);
    }

    /// The size of a broker's disk in bytes; 1 TiB unless told. What its replicas do not take is usable.
    pub fn set_disk(&self, broker: i32, total_bytes: u64) {
        self.lock().state.disk_sizes.insert(broker, total_bytes);
    }

    /// What counts on every broker that has no setting of its own for this key.
    pub fn set_broker_default(&self, key: &str, value: &str) {
        self.lock().state.static_configs.insert(key.to_owned(), value.to_owned());
    }

    /// No move comes to an end any more, until [`MemoryCluster::finish_moves`].
    ///
    /// Without this, a move ends at once when no throttle covers it, and else copies what its throttle lets through in
    /// one second at each [`Cluster::list_reassignments`].
    pub fn hold_moves(&self) {
        self.lock().state.moves_held = true;
    }

    /// Ends all moves that are under way, and holds no more of them.
    pub fn finish_moves(&self) {
        let mut inner = self.lock();
        inner.state.moves_held = false;
        inner.state.finish_moves();
    }

    /// The next call of this kind ends with this error and changes nothing. Several are used up in order.
    pub fn fail(&self, call: Call, error: ClusterError) {
        self.lock().failures.entry(call).or_default().push_back(error);
    }

    /// From now on, calls of this kind answer for the item of this name (topic, broker id, user, or the `Display` of a partition or ACL) with this
    /// error and leave it as it is; `None` ends that.
    pub fn refuse(&self, call: Call, name: &str, error: Option<ItemError>) {
        let key = (call, name.to_owned());
        match error {
            Some(error) => self.lock().refusals.insert(key, error),
            None => self.lock().refusals.remove(&key),
        };
    }

    /// Reads show the present state until [`MemoryCluster::thaw_reads`], whatever is written meanwhile.
    pub fn freeze_reads(&self) {
        let mut inner = self.lock();
        inner.frozen = Some(inner.state.clone());
    }

    pub fn thaw_reads(&self) {
        let mut inner = self.lock();
        if let Some(frozen) = inner.frozen.take() {
            inner.thawed = Some(frozen);
        }
    }

    /// Reads show again what they did before they were last thawed: another broker is asked, that lags still.
    pub fn freeze_reads_again(&self) {
        let mut inner = self.lock();
        inner.frozen = inner.thawed.clone();
    }

    /// The consumer groups that have members from now on.
    pub fn set_consuming_groups(&self, groups: Vec<ConsumingGroup>) {
        self.lock().state.groups = groups;
    }

    /// How often each call was made since the start or the last [`MemoryCluster::forget_calls`]; empty batches and calls
    /// never made are left out.
    pub fn calls(&self) -> BTreeMap<Call, usize> {
        self.lock().calls.clone()
    }

    pub fn forget_calls(&self) {
        self.lock().calls.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, call: Call, look: impl FnOnce(&State) -> T) -> Result<T, ClusterError> {
        let mut inner = self.lock();
        inner.begin(call)?;
        Ok(look(inner.frozen.as_ref().unwrap_or(&inner.state)))
    }

    /// One outcome per item; an empty batch is no call.
    fn batch<I, T>(
        &self,
        call: Call,
        items: &[I],
        name: impl Fn(&I) -> String,
        mut each: impl FnMut(&mut State, &I) -> Item<T>,
    ) -> Result<Vec<Item<T>>, ClusterError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let mut inner = self.lock();
        inner.begin(call)?;
        let Inner { state, refusals, .. } = &mut *inner;
        let outcomes = items.iter().map(|item| match refusals.get(&(call, name(item))) {
            Some(error) => Err(error.clone()),
            None => each(state, item),
        });
        Ok(outcomes.collect())
    }
}

impl Inner {
    fn begin(&mut self, call: Call) -> Result<(), ClusterError> {
        *self.calls.entry(call).or_default() += 1;
        match self.failures.get_mut(&call).and_then(VecDeque::pop_front) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Cluster for MemoryCluster {
    async fn describe_cluster(&self) -> Result<ClusterDescription, ClusterError> {
        self.read(Call::DescribeCluster, |state| ClusterDescription {
            cluster_id: "memory".to_owned(),
            brokers: state.brokers.clone(),
        })
    }

    async fn list_topics(&self) -> Result<Vec<String>, ClusterError> {
        self.read(Call::ListTopics, |state| state.topics.keys().cloned().collect())
    }

    async fn describe_topics(
        &self,
        names: &[TopicName],
        keys: &ConfigKeys,
    ) -> Result<Vec<Item<Option<TopicDescription>>>, ClusterError> {
        let frozen = self.lock().frozen.clone();
        self.batch(Call::DescribeTopics, names, ToString::to_string, |state, name| {
            Ok(frozen.as_ref().unwrap_or(state).describe(name, keys))
        })
    }

    async fn create_topics(&self, topics: &[NewTopic]) -> Result<Vec<Item<CreatedTopic>>, ClusterError> {
        self.batch(Call::CreateTopics, topics, |topic| topic.name.to_string(), State::create)
    }

    async fn create_partitions(&self, topics: &[NewPartitions]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch(Call::CreatePartitions, topics, |more| more.topic.to_string(), State::grow)
    }

    async fn alter_configs(
        &self,
        changes: &[(TopicName, ConfigChange)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let name = |(name, _): &(TopicName, ConfigChange)| name.to_string();
        self.batch(Call::AlterConfigs, changes, name, |state, (name, change)| state.alter(name, change))
    }

    async fn delete_topics(&self, topics: &[DoomedTopic]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch(Call::DeleteTopics, topics, |topic| topic.name.to_string(), State::delete)
    }

    async fn list_reassignments(&self) -> Result<Vec<Reassignment>, ClusterError> {
        let mut inner = self.lock();
        inner.begin(Call::ListReassignments)?;
        inner.state.tick();
        Ok(inner.frozen.as_ref().unwrap_or(&inner.state).reassignments())
    }

    async fn alter_reassignments(
        &self,
        changes: &[(TopicPartition, Option<Vec<i32>>)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let name = |(partition, _): &(TopicPartition, Option<Vec<i32>>)| partition.to_string();
        self.batch(Call::AlterReassignments, changes, name, |state, (partition, target)| {
            match state.reassign(partition, target.as_ref()) {
                Err(error) if target.is_none() && error.is(ItemError::NO_REASSIGNMENT_IN_PROGRESS) => Ok(()),
                outcome => outcome,
            }
        })
    }

    async fn elect_preferred_leaders(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch(Call::ElectPreferredLeaders, partitions, ToString::to_string, State::elect)
    }

    async fn describe_log_dirs(&self) -> Result<BTreeMap<i32, Item<BrokerDisks>>, ClusterError> {
        let mut disks = self.read(Call::DescribeLogDirs, State::disks)?;
        let inner = self.lock();
        for (broker, disks) in &mut disks {
            if let Some(error) = inner.refusals.get(&(Call::DescribeLogDirs, broker.to_string())) {
                *disks = Err(error.clone());
            }
        }
        Ok(disks)
    }

    async fn describe_broker_configs(
        &self,
        brokers: &[i32],
        keys: &ConfigKeys,
    ) -> Result<Vec<Item<BrokerConfigs>>, ClusterError> {
        self.batch(Call::DescribeBrokerConfigs, brokers, ToString::to_string, |state, broker| {
            state.broker_configs(*broker, keys)
        })
    }

    async fn alter_broker_configs(
        &self,
        changes: &[(i32, ConfigChange)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let name = |(broker, _): &(i32, ConfigChange)| broker.to_string();
        self.batch(Call::AlterBrokerConfigs, changes, name, |state, (broker, change)| {
            state.alter_broker(*broker, change)
        })
    }

    async fn consuming_groups(&self) -> Result<Vec<ConsumingGroup>, ClusterError> {
        self.read(Call::ConsumingGroups, |state| state.groups.clone())
    }

    async fn describe_acls(&self, prefix: &str) -> Result<BTreeSet<Acl>, ClusterError> {
        self.read(Call::DescribeAcls, |state| {
            state.acls.iter().filter(|acl| acl.username.starts_with(prefix)).cloned().collect()
        })
    }

    async fn create_acls(&self, acls: &[Acl]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch(Call::CreateAcls, acls, ToString::to_string, State::create_acl)
    }

    async fn delete_acls(&self, acls: &[Acl]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch(Call::DeleteAcls, acls, ToString::to_string, |state, acl| {
            state.acls.remove(acl);
            Ok(())
        })
    }

    async fn describe_quotas(&self, prefix: &str) -> Result<BTreeSet<Quota>, ClusterError> {
        self.read(Call::DescribeQuotas, |state| {
            let ours = state.quotas.iter().filter(|(target, _)| target.username.starts_with(prefix));
            ours.map(|(target, value)| Quota { target: target.clone(), value: *value }).collect()
        })
    }

    async fn alter_quotas(
        &self,
        changes: &[(QuotaTarget, Option<QuotaValue>)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        // One user's changes, for the same clients of it, stand or fall together.
        let mut faults: HashMap<(String, QuotaClients), ItemError> = HashMap::new();
        let entity = |target: &QuotaTarget| (target.username.clone(), target.clients.clone());
        for (target, value) in changes {
            if let Err(error) = State::check_quota(target, *value) {
                faults.entry(entity(target)).or_insert(error);
            }
        }
        let name = |(target, _): &(QuotaTarget, Option<QuotaValue>)| target.username.clone();
        self.batch(Call::AlterQuotas, changes, name, |state, (target, value)| {
            if let Some(error) = faults.get(&entity(target)) {
                return Err(error.clone());
            }
            match value {
                Some(value) => state.quotas.insert(target.clone(), *value),
                None => state.quotas.remove(target),
            };
            Ok(())
        })
    }

    async fn describe_scram_users(&self, prefix: &str) -> Result<Vec<ScramUser>, ClusterError> {
        self.read(Call::DescribeScramUsers, |state| state.users(prefix))
    }

    async fn upsert_scram_users(&self, users: &[(String, ScramKeys)]) -> Result<Vec<Item<()>>, ClusterError> {
        // A broker refuses all mentions of a user that stands twice in one request.
        let mut mentions: HashMap<&str, usize> = HashMap::new();
        for (username, _) in users {
            *mentions.entry(username).or_default() += 1;
        }
        let name = |(username, _): &(String, ScramKeys)| username.clone();
        self.batch(Call::UpsertScramUsers, users, name, |state, (username, keys)| {
            if mentions.get(username.as_str()).is_some_and(|count| *count > 1) {
                let text = "A user credential cannot be altered twice in the same request";
                return Err(ItemError::of(ItemError::DUPLICATE_RESOURCE, Some(text)));
            }
            state.upsert_user(username, keys)
        })
    }

    async fn delete_scram_users(&self, usernames: &[String]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch(Call::DeleteScramUsers, usernames, Clone::clone, |state, username| {
            state.users.remove(username);
            Ok(())
        })
    }

    async fn delete_scram_credentials(
        &self,
        credentials: &[(String, ScramMechanism)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let name = |(username, _): &(String, ScramMechanism)| username.clone();
        self.batch(Call::DeleteScramCredentials, credentials, name, |state, (username, mechanism)| {
            if let Some(held) = state.users.get_mut(username) {
                held.remove(mechanism);
                if held.is_empty() {
                    state.users.remove(username);
                }
            }
            Ok(())
        })
    }

    async fn check_logins(&self, checks: &[LoginCheck]) -> Result<Vec<Item<LoginReport>>, ClusterError> {
        let frozen = self.lock().frozen.clone();
        let name = |check: &LoginCheck| check.username.clone();
        self.batch(Call::CheckLogins, checks, name, |state, check| {
            frozen.as_ref().unwrap_or(state).login(check)
        })
    }
}
