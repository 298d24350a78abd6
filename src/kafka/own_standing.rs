use std::collections::BTreeSet;

use super::{AclOperation, OwnRight, ResourceType};

/// What the brokers let us do, by their own word, whatever it comes from: ACLs, denials, or being a super user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnStanding {
    /// On the cluster. `None`: only who may describe it is told.
    pub cluster: Option<BTreeSet<AclOperation>>,
    /// On a topic that does not exist, and so on topics of any name. `None`: only who may describe it is told.
    pub topic: Option<BTreeSet<AclOperation>>,
    /// Whether groups of any name may be described.
    pub describes_groups: bool,
}

impl OwnStanding {
    /// Whether we have a right; `None` where brokers do not tell.
    pub fn has(&self, right: &OwnRight) -> Option<bool> {
        let told = match right.resource {
            ResourceType::Cluster => &self.cluster,
            ResourceType::Topic => &self.topic,
            ResourceType::Group if right.operation == AclOperation::Describe => {
                return Some(self.describes_groups);
            }
            ResourceType::Group
            | ResourceType::TransactionalId
            | ResourceType::DelegationToken
            | ResourceType::User => return None,
        };
        match told {
            Some(operations) => Some(operations.contains(&right.operation)),
            None => (right.operation == AclOperation::Describe).then_some(false),
        }
    }

    /// What we may do on the cluster and on topics, and do not need.
    pub fn beyond(&self) -> Vec<(ResourceType, AclOperation)> {
        let told = [(ResourceType::Cluster, &self.cluster), (ResourceType::Topic, &self.topic)];
        let all = told.into_iter().flat_map(|(resource, operations)| {
            operations.iter().flatten().map(move |operation| (resource, *operation))
        });
        all.filter(|(resource, operation)| {
            !OwnRight::ALL.iter().any(|right| right.resource == *resource && right.operation == *operation)
        })
        .collect()
    }
}

/// What the brokers can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerAbilities {
    /// Requests that topicops sends and that they do not know, each with why.
    pub lacking: Vec<String>,
    /// The level of `metadata.version`; `None` where there is none, as with ZooKeeper.
    pub metadata_version: Option<i16>,
}

impl BrokerAbilities {
    /// From this level on (Kafka 3.5) KRaft keeps SCRAM users.
    pub const SCRAM: i16 = 11;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_may_describe_is_told_of_the_rest() {
        let blind = OwnStanding::default();
        let known: Vec<_> = OwnRight::ALL.iter().filter(|right| blind.has(right).is_some()).collect();
        assert!(known.iter().all(|right| right.operation == AclOperation::Describe), "{known:?}");
        assert_eq!(known.len(), 3);
    }

    #[test]
    fn what_is_not_needed_is_told_apart() {
        let needed = |resource| {
            let rights = OwnRight::ALL.iter().filter(move |right| right.resource == resource);
            rights.map(|right| right.operation).collect::<BTreeSet<_>>()
        };
        let mut standing = OwnStanding {
            cluster: Some(needed(ResourceType::Cluster)),
            topic: Some(needed(ResourceType::Topic)),
            describes_groups: true,
        };
        assert!(OwnRight::ALL.iter().all(|right| standing.has(right) == Some(true)));
        assert!(standing.beyond().is_empty());
        standing.topic.as_mut().unwrap().insert(AclOperation::Read);
        assert_eq!(standing.beyond(), [(ResourceType::Topic, AclOperation::Read)]);
    }
}
