use std::collections::BTreeSet;

use super::{
    check::{Check, On::Kafka},
    clients_listener::ClientsListener,
};
use crate::kafka::{
    BrokerAbilities, BrokerConfigs, Cluster, ClusterError, ConfigKeys, Item, ItemError, OwnRight,
    OwnStanding, ResourceType, WireCluster,
};

/// As whom, and where.
pub(super) struct Asking {
    /// The user's name; `None` where it logs in by another way than with one.
    pub(super) username: Option<String>,
    /// For the commands that are shown.
    pub(super) bootstrap_servers: String,
    /// How the names of topicops' users begin.
    pub(super) prefix: String,
    pub(super) clients: ClientsListener,
}

const DELETE_TOPICS: &str = "delete.topic.enable";
const AUTO_CREATE: &str = "auto.create.topics.enable";

impl Asking {
    fn principal(&self) -> String {
        format!("User:{}", self.username.as_deref().unwrap_or("NAME"))
    }

    fn kafka_acls(&self) -> String {
        let servers = &self.bootstrap_servers;
        format!("kafka-acls.sh --bootstrap-server {servers} --command-config admin.properties")
    }

    /// Looks at everything.
    pub(super) async fn look(&self, cluster: &WireCluster) -> Vec<Check> {
        let reached = match cluster.describe_cluster().await {
            Ok(reached) => reached,
            Err(error) => {
                let what = format!("the brokers at {}", self.bootstrap_servers);
                return vec![Check::missing(Kafka, what, error.message)];
            }
        };
        let (count, id) = (reached.brokers.len(), &reached.cluster_id);
        let login = self.username.as_ref().map_or_else(String::new, |_| format!(", as {}", self.principal()));
        let mut checks = vec![Check::ok(Kafka, format!("{count} brokers of cluster {id} answer{login}"))];
        checks.extend(self.own_name());
        checks.extend(of_abilities(cluster.abilities().await));
        checks.extend(self.authorizer(cluster.describe_acls(&self.prefix).await.err()));
        match cluster.own_standing().await {
            Ok(standing) => checks.extend(self.rights(&standing)),
            Err(error) => checks.push(Check::unknown(Kafka, "rights on the brokers", error.to_string())),
        }
        checks.push(self.clients.look().await);
        let ids: Vec<i32> = reached.brokers.iter().map(|(id, _)| *id).collect();
        let keys = ConfigKeys::Only([DELETE_TOPICS, AUTO_CREATE].map(str::to_owned).into());
        checks.extend(of_settings(cluster.describe_broker_configs(&ids, &keys).await));
        checks
    }

    /// What is under the operator id is removed when no workload asks for it.
    fn own_name(&self) -> Option<Check> {
        let name = self.username.as_ref().filter(|name| name.starts_with(&self.prefix))?;
        let why =
            format!("topicops removes users that begin with {}, and so would remove its own", self.prefix);
        Some(Check::missing(Kafka, format!("another name than {name}"), why))
    }

    fn authorizer(&self, error: Option<ClusterError>) -> Option<Check> {
        match error {
            None => Some(Check::ok(Kafka, "the brokers have an authorizer, and show ACLs")),
            Some(error) if error.message.contains("SECURITY_DISABLED") => {
                let why = "without one, everybody may do everything, and no ACL can be written";
                Some(
                    Check::missing(Kafka, "an authorizer on the brokers", why).todo(
                        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                    ),
                )
            }
            // The rights that follow say what is missing.
            Some(error) if error.trouble == crate::kafka::Trouble::Authorization => None,
            Some(error) => Some(Check::unknown(Kafka, "ACLs", error.to_string())),
        }
    }

    pub(super) fn rights(&self, standing: &OwnStanding) -> Vec<Check> {
        let mut checks: Vec<Check> = OwnRight::ALL.iter().map(|right| self.right(right, standing)).collect();
        let beyond = standing.beyond();
        if !beyond.is_empty() {
            let beyond: Vec<String> =
                beyond.iter().map(|(resource, operation)| format!("{resource:?} {operation:?}")).collect();
            let why = format!("{}; topicops does not need it. Is it a super user?", beyond.join(", "));
            checks.push(Check::warning(Kafka, format!("{} may do more", self.principal()), why));
        }
        checks
    }

    fn right(&self, right: &OwnRight, standing: &OwnStanding) -> Check {
        let on = match right.resource {
            ResourceType::Cluster => "the cluster".to_owned(),
            other => format!("{}s of any name", format!("{other:?}").to_lowercase()),
        };
        let what = format!("{:?} on {on}", right.operation);
        match standing.has(right) {
            Some(true) => Check::ok(Kafka, what),
            Some(false) => Check::missing(Kafka, what, right.purpose).todo(format!(
                "{} --add --allow-principal {} {} --operation {:?}",
                self.kafka_acls(),
                self.principal(),
                right.option(),
                right.operation
            )),
            None => Check::unknown(Kafka, what, "brokers tell that only to who has Describe there"),
        }
    }
}

fn of_abilities(abilities: Result<BrokerAbilities, ClusterError>) -> Vec<Check> {
    let abilities = match abilities {
        Ok(abilities) => abilities,
        Err(error) => return vec![Check::unknown(Kafka, "what the brokers can do", error.to_string())],
    };
    let mut checks = match abilities.lacking.as_slice() {
        [] => vec![Check::ok(Kafka, "the brokers know every request that topicops sends")],
        lacking => lacking.iter().map(|why| Check::missing(Kafka, "newer brokers", why)).collect(),
    };
    checks.push(match abilities.metadata_version {
        Some(level) if level >= BrokerAbilities::SCRAM => {
            Check::ok(Kafka, format!("metadata.version is at level {level}"))
        }
        Some(level) => {
            let why = format!(
                "it is at level {level}, and KRaft keeps SCRAM users from level {} on",
                BrokerAbilities::SCRAM
            );
            Check::missing(Kafka, "a newer metadata.version", why)
                .todo("kafka-features.sh upgrade --release-version 3.5")
        }
        None => {
            Check::warning(Kafka, "metadata.version", "the brokers tell of none: is it Kafka with KRaft?")
        }
    });
    checks
}

fn of_settings(brokers: Result<Vec<Item<BrokerConfigs>>, ClusterError>) -> Vec<Check> {
    let settings: Result<Vec<BrokerConfigs>, ItemError> = match brokers {
        Ok(brokers) => brokers.into_iter().collect(),
        Err(error) => return vec![Check::unknown(Kafka, "settings of the brokers", error.to_string())],
    };
    let settings = match settings {
        Ok(settings) => settings,
        // Who may not see them is told so above.
        Err(error) if error.is(ItemError::CLUSTER_AUTHORIZATION_FAILED) => return Vec::new(),
        Err(error) => return vec![Check::unknown(Kafka, "settings of the brokers", error.to_string())],
    };
    let values = |key: &str| -> BTreeSet<String> {
        settings.iter().filter_map(|broker| broker.effective.get(key).cloned()).collect()
    };
    [
        (DELETE_TOPICS, "false", "topics with the deletion policy delete stay"),
        (AUTO_CREATE, "true", "a wrong name makes a topic that nobody declared, for who may make one"),
    ]
    .into_iter()
    .map(|(key, bad, why)| {
        if values(key).contains(bad) {
            Check::warning(Kafka, format!("{key}={bad}"), why)
        } else {
            Check::ok(Kafka, format!("{key} is not {bad}"))
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::check::State, *};
    use crate::kafka::{AclOperation, Trouble};

    fn asking() -> Asking {
        Asking {
            username: Some("topicops".to_owned()),
            bootstrap_servers: "a:1".to_owned(),
            prefix: "topicops.".to_owned(),
            clients: ClientsListener {
                mechanism: "SCRAM-SHA-512".to_owned(),
                setup: Err("nobody asks".to_owned()),
            },
        }
    }

    fn whole() -> OwnStanding {
        let needed = |resource| {
            let rights = OwnRight::ALL.iter().filter(move |right| right.resource == resource);
            Some(rights.map(|right| right.operation).collect())
        };
        OwnStanding {
            cluster: needed(ResourceType::Cluster),
            topic: needed(ResourceType::Topic),
            describes_groups: true,
        }
    }

    fn error(trouble: Trouble, message: &str) -> ClusterError {
        ClusterError { trouble, operation: "ask".to_owned(), message: message.to_owned() }
    }

    #[test]
    fn one_right_that_is_missing_is_named_with_the_command_that_gives_it() {
        assert!(asking().rights(&whole()).iter().all(|check| check.state == State::Ok));
        let mut standing = whole();
        standing.topic.as_mut().unwrap().remove(&AclOperation::Delete);
        let checks = asking().rights(&standing);
        let wrong: Vec<&Check> = checks.iter().filter(|check| check.state != State::Ok).collect();
        let expected = Check::missing(Kafka, "Delete on topics of any name", "topics with the deletion policy delete")
            .todo(
                "kafka-acls.sh --bootstrap-server a:1 --command-config admin.properties --add --allow-principal User:topicops \
                 --topic '*' --operation Delete",
            );
        assert_eq!(wrong, [&expected]);
    }

    #[test]
    fn a_super_user_is_warned_of() {
        let mut standing = whole();
        standing.cluster.as_mut().unwrap().insert(AclOperation::ClusterAction);
        let checks = asking().rights(&standing);
        let wrong: Vec<&Check> = checks.iter().filter(|check| check.state != State::Ok).collect();
        assert_eq!(wrong.len(), 1);
        assert_eq!(wrong[0].state, State::Warning);
        assert!(wrong[0].why.as_deref().is_some_and(|why| why.starts_with("Cluster ClusterAction; ")));
    }

    #[test]
    fn brokers_without_an_authorizer_are_told_apart_from_those_that_refuse() {
        let state = |error| asking().authorizer(error).map(|check| check.state);
        assert_eq!(state(None), Some(State::Ok));
        let disabled = error(Trouble::Protocol, "SECURITY_DISABLED: No Authorizer is configured.");
        assert_eq!(state(Some(disabled)), Some(State::Missing));
        assert_eq!(state(Some(error(Trouble::Authorization, "no"))), None);
        assert_eq!(state(Some(error(Trouble::Unreachable, "away"))), Some(State::Unknown));
    }

    #[test]
    fn a_user_that_topicops_would_remove_is_refused() {
        assert_eq!(asking().own_name(), None);
        let under = Asking { username: Some("topicops.admin".to_owned()), ..asking() };
        assert_eq!(under.own_name().map(|check| check.state), Some(State::Missing));
    }

    #[test]
    fn old_brokers_are_missing_something() {
        let of = |lacking: &[&str], metadata_version| {
            let lacking = lacking.iter().map(|text| (*text).to_owned()).collect();
            let checks = of_abilities(Ok(BrokerAbilities { lacking, metadata_version }));
            checks.iter().map(|check| check.state).collect::<Vec<_>>()
        };
        assert_eq!(of(&[], Some(25)), [State::Ok, State::Ok]);
        assert_eq!(of(&["CreateAcls"], Some(10)), [State::Missing, State::Missing]);
        assert_eq!(of(&[], None), [State::Ok, State::Warning]);
    }

    #[test]
    fn settings_that_surprise_are_warned_of() {
        let broker = |pairs: &[(&str, &str)]| {
            let effective =
                pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Ok(BrokerConfigs { effective, ..BrokerConfigs::default() })
        };
        let states = |brokers| of_settings(Ok(brokers)).iter().map(|check| check.state).collect::<Vec<_>>();
        let plain = broker(&[(DELETE_TOPICS, "true"), (AUTO_CREATE, "false")]);
        assert_eq!(states(vec![plain.clone()]), [State::Ok, State::Ok]);
        let other = broker(&[(DELETE_TOPICS, "false"), (AUTO_CREATE, "true")]);
        assert_eq!(states(vec![plain, other]), [State::Warning, State::Warning]);
    }
}
