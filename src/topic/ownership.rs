use topicops_contract::TopicName;

use super::{Declaration, Holding, Refusal, TopicPolicy};

/// Who of several objects owns a topic, and why the others do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership<'a> {
    pub owner: Option<&'a Declaration>,
    pub refused: Vec<(&'a Declaration, Refusal)>,
}

impl<'a> Ownership<'a> {
    /// Settles a topic's ownership.
    ///
    /// A topic belongs to the namespace that holds it; otherwise an existing one goes to a namespace that a rule lets have
    /// it, and a name that is free goes to whoever declares it first. Within that, the older object wins, whatever its kind. One that is
    /// being deleted wins only when no other may have the topic, so that a topic with a successor is handed over instead
    /// of deleted.
    pub fn settle(
        topic: &TopicName,
        declarations: &'a [Declaration],
        holding: Option<&Holding>,
        exists: bool,
        policy: &TopicPolicy,
    ) -> Self {
        if let Some(pattern) = policy.protects(topic) {
            let refusal = Refusal::Protected { topic: topic.clone(), pattern };
            return Self {
                owner: None,
                refused: declarations.iter().map(|declaration| (declaration, refusal.clone())).collect(),
            };
        }
        // Nobody of the holding namespace wants it any more and it is gone from the brokers: the name is free.
        let holder = holding
            .map(|holding| holding.namespace.as_str())
            .filter(|holder| exists || declarations.iter().any(|one| one.object.namespace == *holder));
        let held = |one: &Declaration| holder == Some(one.object.namespace.as_str());
        let may_own = |one: &Declaration| {
            held(one) || policy.owners.allow(&one.object.namespace, topic) || (holder.is_none() && !exists)
        };
        let owner = declarations
            .iter()
            .filter(|one| may_own(one))
            .min_by_key(|one| (one.deleting, !held(one), one.seniority()));
        let refused = declarations
            .iter()
            .filter(|one| owner.is_none_or(|owner| owner.object != one.object))
            .map(|one| {
                let asking = one.object.namespace.clone();
                let refusal = match (holder, owner) {
                    _ if may_own(one) => match owner {
                        Some(owner) => {
                            Refusal::OwnedByAnother { topic: topic.clone(), owner: owner.object.clone() }
                        }
                        None => Refusal::AdoptionNotAllowed { topic: topic.clone(), asking },
                    },
                    (Some(namespace), _) => Refusal::OwnedByNamespace {
                        topic: topic.clone(),
                        namespace: namespace.to_owned(),
                        asking,
                    },
                    (None, Some(owner)) => {
                        Refusal::OwnedByAnother { topic: topic.clone(), owner: owner.object.clone() }
                    }
                    (None, None) => Refusal::AdoptionNotAllowed { topic: topic.clone(), asking },
                };
                (one, refusal)
            })
            .collect();
        Self { owner, refused }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use topicops_contract::{Problems, TopicManifest, TopicSource};

    use super::*;
    use crate::{
        Reason,
        topic::{OwnerRules, TopicObjectKey},
    };

    fn declaration(namespace: &str, name: &str, created: i64) -> Declaration {
        let (annotations, data) = (BTreeMap::new(), BTreeMap::new());
        let source = TopicSource { name: "orders", annotations: &annotations, data: &data, binary_keys: &[] };
        Declaration {
            object: TopicObjectKey::config_map(namespace, name),
            created,
            manifest: Arc::new(TopicManifest::parse(source).unwrap()),
            problems: Problems::new(),
            deleting: false,
        }
    }

    fn owner(
        declarations: &[Declaration],
        holder: Option<&str>,
        exists: bool,
        rules: &[&str],
    ) -> (Option<String>, Vec<Reason>) {
        let holding =
            holder.map(|namespace| Holding { namespace: namespace.to_owned(), ..Holding::default() });
        let policy = TopicPolicy {
            owners: OwnerRules::new(rules.iter().map(|rule| rule.parse().unwrap()).collect()),
            ..TopicPolicy::default()
        };
        let topic = "orders".parse().unwrap();
        let settled = Ownership::settle(&topic, declarations, holding.as_ref(), exists, &policy);
        assert_eq!(settled.refused.len() + usize::from(settled.owner.is_some()), declarations.len());
        (
            settled.owner.map(|owner| owner.object.key().to_string()),
            settled.refused.iter().map(|(_, refusal)| refusal.reason()).collect(),
        )
    }

    #[test]
    fn a_free_name_goes_to_the_oldest() {
        let both = [declaration("b", "t", 2), declaration("a", "t", 3)];
        assert_eq!(owner(&both, None, false, &[]), (Some("b/t".to_owned()), vec![Reason::OwnedByAnother]));
        let equal = [declaration("b", "t", 2), declaration("a", "t", 2)];
        assert_eq!(owner(&equal, None, false, &[]).0, Some("a/t".to_owned()));
    }

    #[test]
    fn an_existing_topic_of_nobody_needs_a_rule() {
        let one = [declaration("a", "t", 1)];
        assert_eq!(owner(&one, None, true, &[]), (None, vec![Reason::AdoptionNotAllowed]));
        assert_eq!(owner(&one, None, true, &["b=*"]), (None, vec![Reason::AdoptionNotAllowed]));
        assert_eq!(owner(&one, None, true, &["a=ord*"]).0, Some("a/t".to_owned()));
        assert_eq!(owner(&one, None, true, &["*=*"]).0, Some("a/t".to_owned()));
    }

    #[test]
    fn a_held_topic_stays_with_its_namespace_however_old_the_other_is() {
        let hostile = [declaration("a", "t", 1), declaration("b", "t", 9)];
        assert_eq!(
            owner(&hostile, Some("b"), true, &[]),
            (Some("b/t".to_owned()), vec![Reason::OwnedByNamespace])
        );
        assert_eq!(owner(&hostile[..1], Some("b"), true, &[]), (None, vec![Reason::OwnedByNamespace]));
        assert_eq!(owner(&hostile[..1], Some("b"), true, &["a=orders"]).0, Some("a/t".to_owned()));
    }

    #[test]
    fn a_name_whose_holder_and_topic_are_gone_is_free_again() {
        let other = [declaration("a", "t", 1)];
        assert_eq!(owner(&other, Some("b"), false, &[]).0, Some("a/t".to_owned()));
        let both = [declaration("a", "t", 1), declaration("b", "t", 2)];
        assert_eq!(owner(&both, Some("b"), false, &[]).0, Some("b/t".to_owned()));
    }

    #[test]
    fn a_successor_takes_over_from_one_that_is_being_deleted() {
        let mut both = [declaration("a", "old", 1), declaration("a", "new", 2)];
        both[0].deleting = true;
        assert_eq!(owner(&both, Some("a"), true, &[]).0, Some("a/new".to_owned()));
        assert_eq!(owner(&both[..1], Some("a"), true, &[]).0, Some("a/old".to_owned()));
        let mut foreign = [declaration("a", "old", 1), declaration("b", "new", 2)];
        foreign[0].deleting = true;
        assert_eq!(owner(&foreign, Some("a"), true, &[]).0, Some("a/old".to_owned()));
    }
}
