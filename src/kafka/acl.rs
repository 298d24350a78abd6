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

impl AclOperation {
    /// Whether who is denied this cannot do that: reading and writing begin with a look at what is there.
    pub fn stops(self, other: Self) -> bool {
        self == other
            || self == Self::All
            || (self == Self::Describe && matches!(other, Self::Read | Self::Write))
    }
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

    /// Whether it keeps the user from what this would allow, or from part of it.
    pub fn denies(&self, acl: &Acl) -> bool {
        !self.allow
            && self.is_about(&format!("{}{}", Self::USER, acl.username))
            && self.operation.stops(acl.operation)
            && self.resource.overlaps(&acl.resource)
    }
}

impl AclResource {
    /// Whether there is a name that both are about.
    fn overlaps(&self, other: &Self) -> bool {
        if other.pattern == PatternType::Literal {
            return self.covers(other.resource_type, &other.name);
        }
        other.covers(self.resource_type, &self.name) || self.covers(other.resource_type, &other.name)
    }

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
    fn a_denial_counts_where_it_takes_away_some_of_what_is_allowed() {
        let deny = |principal: &str, name: &str, pattern, operation| AclRule {
            allow: false,
            operation,
            ..rule(principal, name, pattern)
        };
        let (literal, prefixed) = (PatternType::Literal, PatternType::Prefixed);
        let read = |name: &str, pattern| rule("User:a", name, pattern).acl().unwrap();
        for (denial, name, pattern, counts) in [
            (deny("User:*", "*", literal, AclOperation::All), "orders", literal, true),
            (deny("User:*", "*", literal, AclOperation::All), "ord", prefixed, true),
            (deny("User:a", "orders", literal, AclOperation::Read), "ord", prefixed, true),
            (deny("User:a", "orders-", prefixed, AclOperation::Read), "ord", prefixed, true),
            (deny("User:a", "o", prefixed, AclOperation::Describe), "ord", prefixed, true),
            (deny("User:a", "other", literal, AclOperation::Read), "ord", prefixed, false),
            (deny("User:a", "orders", literal, AclOperation::Write), "orders", literal, false),
            (deny("User:b", "orders", literal, AclOperation::Read), "orders", literal, false),
            (deny("User:a", "orders", literal, AclOperation::Read), "orders-2", literal, false),
        ] {
            assert_eq!(denial.denies(&read(name, pattern)), counts, "{denial} on {name} {pattern:?}");
        }
        assert!(!rule("User:a", "orders", literal).denies(&read("orders", literal)), "it allows");
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
