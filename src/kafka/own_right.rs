use super::{Acl, AclOperation, AclResource, PatternType, ResourceType};

/// A right on the brokers that topicops itself needs. `deploy/kafka-acls.sh` gives all of them and no others, the tests run
/// topicops with just these, and `topicops preflight` looks for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRight {
    /// On the cluster, or on topics and groups of any name.
    pub resource: ResourceType,
    pub operation: AclOperation,
    /// What does not work without it.
    pub purpose: &'static str,
}

const fn right(resource: ResourceType, operation: AclOperation, purpose: &'static str) -> OwnRight {
    OwnRight { resource, operation, purpose }
}

impl OwnRight {
    pub const ALL: [Self; 11] = [
        right(ResourceType::Cluster, AclOperation::Alter, "users and ACLs of workloads; moves of replicas"),
        right(ResourceType::Cluster, AclOperation::Describe, "to see users, ACLs, moves and disks"),
        right(
            ResourceType::Cluster,
            AclOperation::AlterConfigs,
            "quotas of workloads; throttles on brokers while replicas move",
        ),
        right(
            ResourceType::Cluster,
            AclOperation::DescribeConfigs,
            "to see quotas, and the brokers' own defaults",
        ),
        right(ResourceType::Topic, AclOperation::Create, "new topics"),
        right(ResourceType::Topic, AclOperation::Delete, "topics with the deletion policy delete"),
        right(
            ResourceType::Topic,
            AclOperation::Alter,
            "more partitions; whether a topic that is not shown is gone",
        ),
        right(ResourceType::Topic, AclOperation::AlterConfigs, "settings of topics"),
        right(ResourceType::Topic, AclOperation::Describe, "to see topics"),
        right(ResourceType::Topic, AclOperation::DescribeConfigs, "to see settings of topics"),
        right(ResourceType::Group, AclOperation::Describe, "a topic that somebody is reading is not deleted"),
    ];

    /// The rule that gives it to a user.
    pub fn acl(&self, username: &str) -> Acl {
        let name = if self.resource == ResourceType::Cluster { "kafka-cluster" } else { "*" };
        let resource = AclResource {
            resource_type: self.resource,
            name: name.to_owned(),
            pattern: PatternType::Literal,
        };
        Acl { username: username.to_owned(), resource, operation: self.operation }
    }

    /// The resource as `kafka-acls.sh` takes it: `--topic '*'`.
    pub fn option(&self) -> &'static str {
        match self.resource {
            ResourceType::Cluster => "--cluster",
            ResourceType::Topic => "--topic '*'",
            ResourceType::Group => "--group '*'",
            ResourceType::TransactionalId => "--transactional-id '*'",
            ResourceType::DelegationToken => "--delegation-token '*'",
            ResourceType::User => "--user-principal '*'",
        }
    }
}
