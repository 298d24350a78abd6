use topicops_contract::{NamePattern, TopicName, Workload};

use super::{GrantsMode, trespass::Trespass};
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
            let prefix = NamePattern::Prefix(acl.resource.name.clone());
            Trespass::find(grants, workload.namespace(), &prefix).is_none()
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
    fn a_streams_applications_rules_on_topics_stay_until_they_reach_what_is_not_its_namespaces() {
        let application = Some("shop.app".to_owned());
        let acls = Granted { streams_application_id: application, ..Granted::default() }.acls("u");
        let stays = |grants: &TopicGrants| -> Vec<bool> {
            let on_topics = acls.iter().filter(|acl| acl.resource.resource_type == ResourceType::Topic);
            on_topics
                .map(|acl| still_granted(acl, &workload("shop/w"), grants, GrantsMode::Namespace))
                .collect()
        };
        let mut beside = TopicGrants::default();
        beside.hold(&"shop.application".parse().unwrap(), Some("billing"));
        beside.hold(&"shop.app-x".parse().unwrap(), Some("shop"));
        beside.protect([NamePattern::read("shop.audit*")].into());
        assert_eq!(stays(&beside), [true; 6]);
        let mut held = TopicGrants::default();
        held.hold(&"shop.app-x".parse().unwrap(), Some("billing"));
        let mut protected = TopicGrants::default();
        protected.protect([NamePattern::read("shop.*")].into());
        for grants in [held, protected, grants(&[("billing/shop.app-x", &[])])] {
            assert_eq!(stays(&grants), [false; 6], "{grants:?}");
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
