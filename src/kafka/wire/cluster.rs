use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use topicops_contract::{Problems, TopicName};

use super::{
    acls, broker_configs, configs,
    connection::Endpoint,
    describe, groups, log_dirs,
    login::Login,
    logins::Logins,
    partitions,
    pool::{Pool, Setup},
    quotas, standing,
    text::counted,
    tls, topics, users,
};
use crate::kafka::{
    Acl, AclRule, BrokerAbilities, BrokerConfigs, BrokerDisks, ClientProperties, Cluster, ClusterDescription,
    ClusterError, ClusterGuard, ConfigChange, ConfigKeys, ConsumingGroup, CreatedTopic, DoomedTopic, Item,
    LoginCheck, LoginReport, NewPartitions, NewTopic, OwnStanding, Quota, QuotaTarget, QuotaValue,
    Reassignment, ScramKeys, ScramMechanism, ScramUser, TopicDescription, TopicPartition,
};

/// The cluster behind `--kafka-config`, spoken to in Kafka's own protocol.
///
/// Connections are opened when they are needed, shared TLS sessions are resumed, and nothing stays open while nothing
/// is asked. Every call ends: connecting is bounded by 10 s per address, and each request by `request.timeout.ms`.
/// Clones share their connections.
///
/// Needs a tokio runtime with its time and I/O drivers.
#[derive(Clone)]
pub struct WireCluster {
    pool: Arc<Pool>,
    logins: Logins,
    guard: Option<Arc<dyn ClusterGuard>>,
}

impl fmt::Debug for WireCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireCluster")
    }
}

impl WireCluster {
    /// Reads the trust and key stores; connects to nothing yet. Errors: stores that cannot be read or used.
    pub fn new(properties: ClientProperties) -> Result<Self, Problems> {
        Self::with_clients(properties, None, None)
    }

    /// The same where clients log in elsewhere: credentials are tried there when topicops' own listener takes none of that
    /// kind. Of brokers that the guard does not admit nothing is asked.
    pub fn with_clients(
        properties: ClientProperties,
        clients: Option<ClientProperties>,
        guard: Option<Arc<dyn ClusterGuard>>,
    ) -> Result<Self, Problems> {
        let pool = Pool::new(setup(properties)?, guard.clone());
        let clients = clients.map(setup).transpose()?.map(|setup| Pool::new(setup, None));
        let logins = Logins::new(&pool, clients);
        Ok(Self { pool, logins, guard })
    }

    /// Another, with the same guard.
    ///
    /// # Errors
    /// Stores that cannot be read or used.
    pub fn candidate(
        &self,
        properties: ClientProperties,
        clients: Option<ClientProperties>,
    ) -> Result<Self, Problems> {
        Self::with_clients(properties, clients, self.guard.clone())
    }

    /// Reads the stores anew. Connections of all clones of this are made so from now on. Errors: as above, and all stays as
    /// it was.
    pub fn set_up(
        &self,
        properties: ClientProperties,
        clients: Option<ClientProperties>,
    ) -> Result<(), Problems> {
        let (own, clients) = (setup(properties)?, clients.map(setup).transpose()?);
        self.pool.set_up(own);
        self.logins.set_up(clients);
        Ok(())
    }

    /// Opens a connection, as whom the properties say, and asks nothing.
    ///
    /// # Errors
    /// None of the bootstrap servers takes one.
    pub async fn connect(&self) -> Result<(), ClusterError> {
        self.pool.connect().await.map_err(|fault| fault.during("connect"))
    }

    /// All rules of all principals, denials too.
    ///
    /// # Errors
    /// The brokers do not answer, or do not let us see them.
    pub async fn all_acls(&self) -> Result<Vec<AclRule>, ClusterError> {
        acls::all(&self.pool).await.map_err(|fault| fault.during("describe ACLs"))
    }

    /// What the brokers let us do, by their own word.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub async fn own_standing(&self) -> Result<OwnStanding, ClusterError> {
        standing::of_ourselves(&self.pool).await.map_err(|fault| fault.during("ask for our own rights"))
    }

    /// What the brokers can do.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub async fn abilities(&self) -> Result<BrokerAbilities, ClusterError> {
        standing::abilities(&self.pool).await.map_err(|fault| fault.during("ask what the brokers can do"))
    }

    /// The SASL mechanisms that the first bootstrap server that answers offers. It takes no login.
    ///
    /// # Errors
    /// None of them answers.
    pub async fn sasl_mechanisms(&self) -> Result<Vec<String>, ClusterError> {
        standing::mechanisms(&self.pool).await.map_err(|fault| fault.during("ask how clients may log in"))
    }
}

fn setup(properties: ClientProperties) -> Result<Setup, Problems> {
    let tls = properties.tls.as_ref().map(tls::client_config).transpose()?;
    let login = Login::of(&properties)?;
    let endpoint = Endpoint {
        tls,
        client_id: properties.client_id.unwrap_or_else(|| "topicops".to_owned()),
        request_timeout: properties.request_timeout,
    };
    Ok(Setup { endpoint: Arc::new(endpoint), login, bootstrap: properties.bootstrap_servers })
}

#[async_trait]
impl Cluster for WireCluster {
    async fn describe_cluster(&self) -> Result<ClusterDescription, ClusterError> {
        describe::cluster(&self.pool).await.map_err(|fault| fault.during("describe the cluster"))
    }

    async fn list_topics(&self) -> Result<Vec<String>, ClusterError> {
        describe::topic_names(&self.pool).await.map_err(|fault| fault.during("list the topics"))
    }

    async fn describe_topics(
        &self,
        names: &[TopicName],
        keys: &ConfigKeys,
    ) -> Result<Vec<Item<Option<TopicDescription>>>, ClusterError> {
        let operation = || format!("describe {}", counted(names.len(), "topic"));
        describe::topics(&self.pool, names, keys).await.map_err(|fault| fault.during(operation()))
    }

    async fn create_topics(&self, topics: &[NewTopic]) -> Result<Vec<Item<CreatedTopic>>, ClusterError> {
        let operation = || format!("create {}", counted(topics.len(), "topic"));
        topics::create(&self.pool, topics).await.map_err(|fault| fault.during(operation()))
    }

    async fn create_partitions(&self, topics: &[NewPartitions]) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("add partitions to {}", counted(topics.len(), "topic"));
        topics::grow(&self.pool, topics).await.map_err(|fault| fault.during(operation()))
    }

    async fn alter_configs(
        &self,
        changes: &[(TopicName, ConfigChange)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("change the settings of {}", counted(changes.len(), "topic"));
        configs::alter(&self.pool, changes).await.map_err(|fault| fault.during(operation()))
    }

    async fn delete_topics(&self, topics: &[DoomedTopic]) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("delete {}", counted(topics.len(), "topic"));
        topics::delete(&self.pool, topics).await.map_err(|fault| fault.during(operation()))
    }

    async fn list_reassignments(&self) -> Result<Vec<Reassignment>, ClusterError> {
        partitions::reassignments(&self.pool).await.map_err(|fault| fault.during("list moving partitions"))
    }

    async fn alter_reassignments(
        &self,
        changes: &[(TopicPartition, Option<Vec<i32>>)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("reassign {}", counted(changes.len(), "partition"));
        partitions::reassign(&self.pool, changes).await.map_err(|fault| fault.during(operation()))
    }

    async fn elect_preferred_leaders(
        &self,
        elected: &[TopicPartition],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("elect leaders of {}", counted(elected.len(), "partition"));
        partitions::elect(&self.pool, elected).await.map_err(|fault| fault.during(operation()))
    }

    async fn describe_log_dirs(&self) -> Result<BTreeMap<i32, Item<BrokerDisks>>, ClusterError> {
        log_dirs::describe(&self.pool).await.map_err(|fault| fault.during("describe the brokers' disks"))
    }

    async fn describe_broker_configs(
        &self,
        brokers: &[i32],
        keys: &ConfigKeys,
    ) -> Result<Vec<Item<BrokerConfigs>>, ClusterError> {
        let operation = || format!("describe the settings of {}", counted(brokers.len(), "broker"));
        broker_configs::describe(&self.pool, brokers, keys).await.map_err(|fault| fault.during(operation()))
    }

    async fn alter_broker_configs(
        &self,
        changes: &[(i32, ConfigChange)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("change the settings of {}", counted(changes.len(), "broker"));
        broker_configs::alter(&self.pool, changes).await.map_err(|fault| fault.during(operation()))
    }

    async fn consuming_groups(&self) -> Result<Vec<ConsumingGroup>, ClusterError> {
        groups::consuming(&self.pool).await.map_err(|fault| fault.during("find active consumer groups"))
    }

    async fn describe_acls(&self, prefix: &str) -> Result<BTreeSet<Acl>, ClusterError> {
        acls::describe(&self.pool, prefix).await.map_err(|fault| fault.during("describe ACLs"))
    }

    async fn create_acls(&self, acls: &[Acl]) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("create {}", counted(acls.len(), "ACL"));
        acls::create(&self.pool, acls).await.map_err(|fault| fault.during(operation()))
    }

    async fn delete_acls(&self, acls: &[Acl]) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("delete {}", counted(acls.len(), "ACL"));
        acls::delete(&self.pool, acls).await.map_err(|fault| fault.during(operation()))
    }

    async fn describe_quotas(&self, prefix: &str) -> Result<BTreeSet<Quota>, ClusterError> {
        quotas::describe(&self.pool, prefix).await.map_err(|fault| fault.during("describe quotas"))
    }

    async fn alter_quotas(
        &self,
        changes: &[(QuotaTarget, Option<QuotaValue>)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("change {}", counted(changes.len(), "quota"));
        quotas::alter(&self.pool, changes).await.map_err(|fault| fault.during(operation()))
    }

    async fn describe_scram_users(&self, prefix: &str) -> Result<Vec<ScramUser>, ClusterError> {
        users::describe(&self.pool, prefix).await.map_err(|fault| fault.during("describe SCRAM users"))
    }

    async fn upsert_scram_users(&self, users: &[(String, ScramKeys)]) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("write {}", counted(users.len(), "SCRAM user"));
        users::upsert(&self.pool, users).await.map_err(|fault| fault.during(operation()))
    }

    async fn delete_scram_users(&self, usernames: &[String]) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("delete {}", counted(usernames.len(), "SCRAM user"));
        users::delete(&self.pool, usernames).await.map_err(|fault| fault.during(operation()))
    }

    async fn delete_scram_credentials(
        &self,
        credentials: &[(String, ScramMechanism)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let operation = || format!("delete {}", counted(credentials.len(), "SCRAM credential"));
        users::delete_credentials(&self.pool, credentials).await.map_err(|fault| fault.during(operation()))
    }

    async fn check_logins(&self, checks: &[LoginCheck]) -> Result<Vec<Item<LoginReport>>, ClusterError> {
        let operation = || format!("log in as {}", counted(checks.len(), "user"));
        self.logins.check(checks).await.map_err(|fault| fault.during(operation()))
    }
}
