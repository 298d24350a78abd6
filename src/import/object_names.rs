use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use topicops_contract::TopicName;

/// The longest legal name of an object, in characters.
const LONGEST: usize = 253;

/// The ConfigMap that Kubernetes itself keeps in every namespace.
const TAKEN: &str = "kube-root-ca.crt";

/// A legal name for the object of each of these topics, no two of them the same: the topic's own where it is legal, and else
/// one derived from it, the same whatever the other topics are.
pub fn object_names(topics: &[TopicName]) -> Vec<String> {
    let own = topics.iter().map(TopicName::as_str).filter(|name| is_legal(name));
    let mut taken: BTreeSet<String> = own.map(str::to_owned).collect();
    let names = topics.iter().map(|topic| {
        if is_legal(topic.as_str()) {
            return topic.to_string();
        }
        // More of the hash in the event, not seen so far, that somebody's topic bears the derived name.
        let lengths = [8, 16, 32, 64].into_iter();
        let free = lengths.map(|length| derived(topic, length)).find(|name| taken.insert(name.clone()));
        free.unwrap_or_else(|| derived(topic, 64))
    });
    names.collect()
}

/// RFC 1123: dot-separated labels of lower-case letters, digits and inner hyphens.
fn is_legal(name: &str) -> bool {
    let label = |label: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        edge(label.chars().next()) && edge(label.chars().last()) && label.chars().all(inner)
    };
    name.len() <= LONGEST && name != TAKEN && name.split('.').all(label)
}

fn derived(topic: &TopicName, hash_length: usize) -> String {
    let hash: String = Sha256::digest(topic.as_str()).iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = &hash[..hash_length];
    let mut base = String::new();
    for character in topic.as_str().chars().take(LONGEST - 1 - hash.len()) {
        let lower = character.to_ascii_lowercase();
        let separates = !lower.is_ascii_alphanumeric();
        // Separators in a row, and at the start, would make empty labels, or labels that begin with a hyphen.
        if separates && !base.ends_with(|last: char| last.is_ascii_alphanumeric()) {
            continue;
        }
        base.push(if separates { '-' } else { lower });
    }
    let base = base.trim_end_matches('-');
    if base.is_empty() { format!("topic-{hash}") } else { format!("{base}-{hash}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(topics: &[&str]) -> Vec<String> {
        object_names(&topics.iter().map(|topic| topic.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn a_legal_name_is_the_topics_own_and_others_are_told_apart() {
        let names =
            names(&["orders", "shop.orders-v1", "Orders", "ORDERS", "shop_orders", "kube-root-ca.crt"]);
        assert_eq!(names[..2], ["orders", "shop.orders-v1"]);
        assert!(names[2].starts_with("orders-") && names[3].starts_with("orders-"), "{names:?}");
        assert!(names[4].starts_with("shop-orders-"), "{names:?}");
        assert_ne!(names[5], "kube-root-ca.crt");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn a_topic_that_bears_a_derived_name_keeps_it() {
        let derived = &names(&["Orders"])[0];
        let both = names(&["Orders", derived]);
        assert_eq!(both[1], *derived);
        assert_ne!(both[0], both[1]);
    }

    proptest! {
        #[test]
        fn names_are_legal_distinct_and_independent_of_the_others(
            topics in proptest::collection::btree_set("[a-cA-C._-]{1,12}|[A-Z._-]{240,249}", 1..20),
        ) {
            let topics: Vec<TopicName> = topics.iter().filter_map(|topic| topic.parse().ok()).collect();
            let all = object_names(&topics);
            prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), topics.len());
            for (topic, name) in topics.iter().zip(&all) {
                prop_assert!(is_legal(name), "{topic}: {name}");
                prop_assert_eq!(&object_names(std::slice::from_ref(topic))[0], name);
            }
        }
    }
}
