use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use topicops_contract::{NamePattern, Problems};

use super::{NamespaceRules, RuleSet, reader};

/// The limits and defaults of a policy file. The default has none.
#[derive(Debug, Default)]
pub struct TopicRules {
    pub(super) cluster: RuleSet,
    /// Wider patterns first.
    pub(super) namespaces: Vec<(NamePattern, RuleSet)>,
    /// What counts in each namespace, worked out once.
    resolved: Mutex<HashMap<String, Arc<NamespaceRules>>>,
}

/// Namespaces remembered; a cluster with more of them works some out again.
const REMEMBERED: usize = 10_000;

impl TopicRules {
    /// A policy file is a ConfigMap's key, and those end here.
    pub const LONGEST: usize = 1024 * 1024;

    /// Every key that a policy may have, as a path.
    pub fn keys() -> Vec<String> {
        let under = |section, keys: &'static [&'static str]| {
            keys.iter().map(move |key| format!("{section}.{key}")).collect::<Vec<_>>()
        };
        let mut keys = under("defaults", &reader::DEFAULTS);
        keys.extend(under("limits", &reader::LIMITS));
        keys.push("namespaces".to_owned());
        keys
    }

    /// Reads the text of a policy file; one that is empty says nothing.
    ///
    /// # Errors
    /// All mistakes at once, each with its path in the file, the value, and what would be right.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        reader::read(text)
    }

    pub(super) fn new(cluster: RuleSet, mut namespaces: Vec<(NamePattern, RuleSet)>) -> Self {
        // A longer prefix names fewer namespaces than a shorter one, and a name only one.
        namespaces.sort_by_key(|(pattern, _)| {
            (matches!(pattern, NamePattern::Literal(_)), pattern.text().len(), pattern.text().to_owned())
        });
        Self { cluster, namespaces, resolved: Mutex::default() }
    }

    /// The topic configuration keys that have a default in any namespace; some more than once.
    pub fn default_configs(&self) -> impl Iterator<Item = &str> {
        let narrower = self.namespaces.iter().map(|(_, rules)| rules);
        let all = std::iter::once(&self.cluster).chain(narrower);
        all.flat_map(|rules| rules.default_configs.keys().map(String::as_str))
    }

    /// What counts in a namespace: the cluster's rules, narrowed by each pattern that names it, the most specific last.
    pub fn of(&self, namespace: &str) -> Arc<NamespaceRules> {
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = resolved.get(namespace) {
            return Arc::clone(rules);
        }
        if resolved.len() >= REMEMBERED {
            resolved.clear();
        }
        let rules =
            Arc::new(NamespaceRules::new(namespace, &self.merged(|pattern| pattern.matches(namespace))));
        resolved.insert(namespace.to_owned(), Arc::clone(&rules));
        rules
    }

    pub(super) fn merged(&self, applies: impl Fn(&NamePattern) -> bool) -> RuleSet {
        let mut merged = self.cluster.clone();
        for (_, rules) in self.namespaces.iter().filter(|(pattern, _)| applies(pattern)) {
            merged.narrow(rules);
        }
        merged
    }
}

impl PartialEq for TopicRules {
    fn eq(&self, other: &Self) -> bool {
        (&self.cluster, &self.namespaces) == (&other.cluster, &other.namespaces)
    }
}

impl Eq for TopicRules {}
