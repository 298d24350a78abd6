use std::fmt;

use serde::{Deserialize, Serialize};

/// One ALLOW rule of one user, from any host (`*`). topicops writes no other kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Acl {
    /// The user's name, without `User:`.
    pub username: String,
    pub resource: AclResource,
    pub operation: AclOperation,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AclResource {
    pub resource_type: ResourceType,
    pub name: String,
    pub pattern: PatternType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResourceType {
    Topic,
    Group,
    Cluster,
    TransactionalId,
    DelegationToken,
    User,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PatternType {
    Literal,
    Prefixed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AclOperation {
    All,
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
    CreateTokens,
    DescribeTokens,
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = match self.resource.pattern {
            PatternType::Literal => "",
            PatternType::Prefixed => "*",
        };
        write!(
            f,
            "User:{} may {:?} {:?} {}{pattern}",
            self.username, self.operation, self.resource.resource_type, self.resource.name
        )
    }
}
