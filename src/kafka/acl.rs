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

/// One rule as the brokers have it, whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclRule {
    /// With its type: `User:orders`; `User:*` is everybody who logs in.
    pub principal: String,
    /// `*`, or the one address that it is about.
    pub host: String,
    /// Whether it allows; what is denied is denied whatever else allows it.
    pub allow: bool,
    pub resource: AclResource,
    pub operation: AclOperation,
}

impl AclRule {
    const USER: &str = "User:";

    /// The rule in the form that topicops writes; `None` for one that it never would: denials, single hosts, other kinds of
    /// principal.
    pub fn acl(&self) -> Option<Acl> {
        let username = self.principal.strip_prefix(Self::USER).filter(|_| self.allow && self.host == "*")?;
        Some(Acl {
            username: username.to_owned(),
            resource: self.resource.clone(),
            operation: self.operation,
        })
    }

    /// Whether it is about a principal: its own, or everybody.
    pub fn is_about(&self, principal: &str) -> bool {
        self.principal == principal || (self.principal == "User:*" && principal.starts_with(Self::USER))
    }
}

impl AclResource {
    /// Whether a resource of this type and name is meant. The name `*` stands for all of them.
    pub fn covers(&self, resource_type: ResourceType, name: &str) -> bool {
        self.resource_type == resource_type
            && match self.pattern {
                PatternType::Literal => self.name == name || self.name == "*",
                PatternType::Prefixed => name.starts_with(&self.name),
            }
    }
}

impl fmt::Display for AclRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.allow { "ALLOW" } else { "DENY" };
        let AclResource { resource_type, name, pattern } = &self.resource;
        let star = if *pattern == PatternType::Prefixed { "*" } else { "" };
        write!(f, "{word} {:?} {resource_type:?} {name}{star}", self.operation)?;
        if self.host == "*" { Ok(()) } else { write!(f, " from {}", self.host) }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(principal: &str, name: &str, pattern: PatternType) -> AclRule {
        AclRule {
            principal: principal.to_owned(),
            host: "*".to_owned(),
            allow: true,
            resource: AclResource { resource_type: ResourceType::Topic, name: name.to_owned(), pattern },
            operation: AclOperation::Read,
        }
    }

    #[test]
    fn a_rule_covers_its_name_its_prefix_or_everything() {
        for (name, pattern, covered) in [
            ("orders", PatternType::Literal, true),
            ("order", PatternType::Literal, false),
            ("*", PatternType::Literal, true),
            ("ord", PatternType::Prefixed, true),
            ("*", PatternType::Prefixed, false),
        ] {
            let rule = rule("User:a", name, pattern);
            assert_eq!(rule.resource.covers(ResourceType::Topic, "orders"), covered, "{rule}");
            assert!(!rule.resource.covers(ResourceType::Group, "orders"), "{rule}");
        }
    }

    #[test]
    fn what_topicops_never_writes_is_no_acl_of_its() {
        let plain = rule("User:a", "t", PatternType::Literal);
        assert!(plain.acl().is_some());
        assert_eq!(AclRule { allow: false, ..plain.clone() }.acl(), None);
        assert_eq!(AclRule { host: "10.0.0.1".to_owned(), ..plain }.acl(), None);
        assert_eq!(rule("Group:a", "t", PatternType::Literal).acl(), None);
    }

    #[test]
    fn everybody_is_every_user() {
        let everybody = rule("User:*", "t", PatternType::Literal);
        assert!(everybody.is_about("User:a") && !everybody.is_about("Group:a"));
        assert!(!rule("User:b", "t", PatternType::Literal).is_about("User:a"));
    }
}
