use std::str::FromStr;

use topicops_contract::{NamePattern, Problem, TopicName};

/// Which namespaces may own topics that already exist and that nobody declares, whoever had them before: rules `namespace=pattern`, each part a name or
/// a prefix with a trailing `*`. `*=*` suits a cluster of one tenant; no rule at all lets nobody adopt anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerRules {
    rules: Vec<OwnerRule>,
}

/// One `namespace=pattern`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRule {
    namespace: NamePattern,
    topic: NamePattern,
}

impl OwnerRules {
    pub fn new(rules: Vec<OwnerRule>) -> Self {
        Self { rules }
    }

    pub fn allow(&self, namespace: &str, topic: &TopicName) -> bool {
        self.rules.iter().any(|rule| rule.namespace.matches(namespace) && rule.topic.matches(topic.as_str()))
    }
}

impl FromStr for OwnerRule {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = || {
            let expected = "namespace=topic-pattern, e.g. shop=shop.* or *=*";
            Problem::new("topic-owners", text, expected)
        };
        let (namespace, topic) = text.split_once('=').ok_or_else(wrong)?;
        let (namespace, topic) = (namespace.trim(), topic.trim());
        let legal = |text: &str, more: &str| {
            let body = text.strip_suffix('*').unwrap_or(text);
            !text.is_empty() && body.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !legal(namespace, "-") || !legal(topic, "._-") {
            return Err(wrong());
        }
        Ok(Self { namespace: NamePattern::read(namespace), topic: NamePattern::read(topic) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_let_only_their_namespaces_own_only_their_names() {
        let rules = OwnerRules::new(vec!["shop=shop.*".parse().unwrap(), "ops-*=audit".parse().unwrap()]);
        let topic = |name: &str| name.parse::<TopicName>().unwrap();
        assert!(rules.allow("shop", &topic("shop.orders")));
        assert!(!rules.allow("shop", &topic("billing.orders")));
        assert!(rules.allow("ops-eu", &topic("audit")));
        assert!(!rules.allow("ops", &topic("audit")));
        assert!(!OwnerRules::default().allow("shop", &topic("x")));
    }

    #[test]
    fn malformed_rules_are_refused() {
        for bad in ["", "=", "a", "a=", "=b", "a=b c", "a/b=c", "a=*b", "*a=b"] {
            assert!(bad.parse::<OwnerRule>().is_err(), "{bad:?} was accepted");
        }
    }
}
