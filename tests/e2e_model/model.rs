//! What is declared, and what follows from it, written down as one would by hand.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

pub(crate) const NAMESPACES: usize = 2;
pub(crate) const TOPICS: usize = 4;
pub(crate) const WORKLOADS: [(&str, &str); 4] =
    [("Deployment", "one"), ("Deployment", "two"), ("StatefulSet", "three"), ("CronJob", "four")];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) namespace: usize,
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Asks {
    pub(crate) labelled: bool,
    pub(crate) consumes: BTreeSet<usize>,
    /// Reads all topics of [`Names::pattern`].
    pub(crate) pattern: bool,
    pub(crate) produces: BTreeSet<usize>,
    /// A group that nobody else names.
    pub(crate) group: bool,
    /// One that others name, too.
    pub(crate) contested: bool,
    /// Bytes that it may write.
    pub(crate) quota: Option<u32>,
    pub(crate) rotations: usize,
    /// When the API server made it.
    pub(crate) created: Option<Timestamp>,
}

impl Asks {
    fn for_something(&self) -> bool {
        let topics = !self.consumes.is_empty() || self.pattern || !self.produces.is_empty();
        self.labelled && (topics || self.group || self.contested)
    }
}

/// A topic is always declared in the namespace of its number.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Who else may read and write, as lines.
    pub(crate) topics: BTreeMap<usize, [BTreeSet<String>; 2]>,
    pub(crate) workloads: BTreeMap<Who, Asks>,
}

/// What is called how.
pub(crate) struct Names {
    pub(crate) namespaces: Vec<String>,
    pub(crate) topics: Vec<String>,
    /// Some of the topics begin so, one of each namespace.
    pub(crate) beginning: String,
}

impl Names {
    pub(crate) fn new(namespaces: Vec<String>, unique: &str) -> Self {
        let topics = ["few.0", "few.1", "rest.2", "rest.3"].map(|name| format!("{unique}.{name}"));
        Self { namespaces, topics: topics.into(), beginning: format!("{unique}.few.") }
    }

    pub(crate) fn home(&self, topic: usize) -> &str {
        &self.namespaces[topic % NAMESPACES]
    }

    pub(crate) fn pattern(&self) -> String {
        format!("{}*", self.beginning)
    }

    pub(crate) fn first_username(&self, who: &Who) -> String {
        let base = format!("topicops.{}", self.own_group(who));
        if who.kind == "Deployment" { base } else { format!("{base}_{}", who.kind.to_lowercase()) }
    }

    pub(crate) fn secret(who: &Who) -> String {
        format!("{}-{}", who.kind.to_lowercase(), who.name)
    }

    pub(crate) fn own_group(&self, who: &Who) -> String {
        format!("{}.{}", self.namespaces[who.namespace], who.name)
    }

    pub(crate) fn group(&self, who: &Who) -> String {
        format!("extra-{}-{}", self.namespaces[who.namespace], Self::secret(who))
    }

    pub(crate) fn contested_group(&self) -> String {
        format!("contested-{}", self.namespaces[0])
    }
}

impl Model {
    /// The workloads that are to have a user.
    pub(crate) fn clients(&self) -> impl Iterator<Item = (&Who, &Asks)> {
        self.workloads.iter().filter(|(_, asks)| asks.for_something())
    }

    /// The rules of each workload that is to have a user.
    pub(crate) fn rules(&self, names: &Names) -> BTreeMap<Who, BTreeSet<String>> {
        let holder = self.holder_of_the_contested_group(names);
        self.clients().map(|(who, asks)| (who.clone(), self.rules_of(who, asks, holder, names))).collect()
    }

    /// The namespace of whoever was there first; among those of one second, of the first by name.
    fn holder_of_the_contested_group(&self, names: &Names) -> Option<usize> {
        let named = self.clients().filter(|(_, asks)| asks.contested);
        let first =
            named.min_by_key(|(who, asks)| (asks.created, &names.namespaces[who.namespace], who.name));
        first.map(|(who, _)| who.namespace)
    }

    fn rules_of(&self, who: &Who, asks: &Asks, holder: Option<usize>, names: &Names) -> BTreeSet<String> {
        let namespace = &names.namespaces[who.namespace];
        let lets = |topic: usize, side: usize| {
            let Some(lines) = self.topics.get(&topic) else { return false };
            let lets = |line: &String| {
                *line == format!("{namespace}/*") || *line == format!("{namespace}/{}", who.name)
            };
            names.home(topic) == namespace || lines[side].iter().any(lets)
        };
        let asked = |topic: &usize| {
            let begins = names.topics[*topic].starts_with(&names.beginning);
            asks.consumes.contains(topic) || asks.pattern && begins
        };
        let reads: Vec<usize> = (0..TOPICS).filter(asked).filter(|topic| lets(*topic, 0)).collect();
        let writes = asks.produces.iter().copied().filter(|topic| lets(*topic, 1));
        let mut rules = BTreeSet::new();
        for (topic, operation) in
            reads.iter().map(|topic| (*topic, "Read")).chain(writes.map(|topic| (topic, "Write")))
        {
            rules.insert(format!("{operation} Topic {}", names.topics[topic]));
            rules.insert(format!("Describe Topic {}", names.topics[topic]));
        }
        let mut groups = Vec::new();
        if !reads.is_empty() || asks.group || asks.contested {
            let own = names.own_group(who);
            groups.extend([format!("{own}_*"), own]);
        }
        if asks.group {
            groups.push(names.group(who));
        }
        if asks.contested && holder == Some(who.namespace) {
            groups.push(names.contested_group());
        }
        for group in groups {
            rules.insert(format!("Read Group {group}"));
            rules.insert(format!("Describe Group {group}"));
        }
        rules
    }
}
