use topicops_contract::{TopicName, Workload};

use super::{GrantsMode, resolve::foreign_topic};
use crate::{
    kafka::{Acl, AclOperation, PatternType, ResourceType},
    topic::{TopicGrants, Use},
};

/// Whether a rule that a workload has may stay while nobody can tell what it asks for (its annotations cannot be read,
/// or it is going away): the topics' owners still decide.
pub fn still_granted(acl: &Acl, workload: &Workload, grants: &TopicGrants, mode: GrantsMode) -> bool {
    match (acl.resource.resource_type, acl.resource.pattern) {
        (ResourceType::Topic, PatternType::Literal) => {
            let Some(grant) =
                acl.resource.name.parse::<TopicName>().ok().and_then(|topic| grants.owner(topic.as_str()))
            else {
                return false;
            };
            let allows = |what| mode == GrantsMode::Open || grant.allows(workload, what);
            match acl.operation {
                AclOperation::Read => allows(Use::Consume),
                AclOperation::Write => allows(Use::Produce),
                AclOperation::Describe => allows(Use::Consume) || allows(Use::Produce),
                _ => false,
            }
        }
        (ResourceType::Topic, PatternType::Prefixed) => {
            foreign_topic(grants, workload.namespace(), &acl.resource.name).is_none()
        }
        (ResourceType::Group | ResourceType::TransactionalId, _) => true,
        (ResourceType::Cluster | ResourceType::DelegationToken | ResourceType::User, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{
            Granted,
            testing::{grants, workload},
        },
        kafka::AclResource,
    };

    #[test]
    fn a_withdrawn_grant_ends_a_rule_that_nobody_asks_about() {
        let topic = "payments".parse().unwrap();
        let acls = Granted { consumes: [topic].into(), ..Granted::default() }.acls("u");
        let who = workload("shop/nosy");
        let granted = grants(&[("billing/payments", &["shop/nosy"])]);
        let withdrawn = grants(&[("billing/payments", &[])]);
        for acl in acls {
            assert!(still_granted(&acl, &who, &granted, GrantsMode::Namespace), "{acl}");
            assert!(!still_granted(&acl, &who, &withdrawn, GrantsMode::Namespace), "{acl}");
            assert!(still_granted(&acl, &who, &withdrawn, GrantsMode::Open), "{acl}");
            assert!(!still_granted(&acl, &who, &grants(&[]), GrantsMode::Open), "{acl}");
        }
    }

    #[test]
    fn what_topicops_never_writes_does_not_stay() {
        let resource = AclResource {
            resource_type: ResourceType::Cluster,
            name: "kafka-cluster".to_owned(),
            pattern: PatternType::Literal,
        };
        let acl = Acl { username: "u".to_owned(), resource, operation: AclOperation::All };
        assert!(!still_granted(&acl, &workload("shop/w"), &grants(&[]), GrantsMode::Open));
    }
}
