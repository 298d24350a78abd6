//! A policy file's text, read by hand: so that all mistakes come at once, each with its path, its value, and what would be
//! right.

use std::cmp::Ordering;

use serde_norway::Value;
use topicops_contract::{
    NamePattern, PartitionCount, Problem, Problems, ReplicationFactor, Retention, TopicConfig, nearest,
};

use super::{
    Action, Limit, PropertyRule, RuleSet, Said, TopicRules,
    client_rules::KINDS,
    namespace_rules::{RETENTION_BYTES, RETENTION_MS, compile},
    node::Node,
    property_rule::order,
};

/// A namespace as long as they get: what can be compiled for it can be for all.
const LONGEST_NAMESPACE: usize = 63;
const LONGEST_PATTERN: usize = 1_000;

pub(super) const DEFAULTS: [&str; 7] = [
    "partitions",
    "replication-factor",
    "retention",
    "properties",
    "producer-byte-rate",
    "consumer-byte-rate",
    "request-percentage",
];
pub(super) const LIMITS: [&str; 13] = [
    "partitions",
    "replication-factor",
    "retention",
    "retention-bytes",
    "retention-disk-share",
    "name",
    "properties",
    "topics",
    "total-partitions",
    "total-bytes",
    "producer-byte-rate",
    "consumer-byte-rate",
    "request-percentage",
];

pub(super) fn read(text: &str) -> Result<TopicRules, Problems> {
    if text.len() > TopicRules::LONGEST {
        let expected = format!("{} bytes long; at most {} are read", text.len(), TopicRules::LONGEST);
        return Err(Problem::missing("file", expected).into());
    }
    let value: Value = serde_norway::from_str(text)
        .map_err(|error| Problem::missing("YAML", error.to_string().replace('\n', " ")))?;
    let mut problems = Problems::new();
    let mut cluster = RuleSet::default();
    let mut namespaces = Vec::new();
    let root = Node { path: String::new(), value: &value };
    for (key, node) in root.entries(&["defaults", "limits", "namespaces"], &mut problems) {
        match key {
            "defaults" => defaults(&node, &mut cluster, &mut problems),
            "limits" => limits(&node, &mut cluster, &mut problems),
            _ => namespaces = patterns(&node, &mut problems),
        }
    }
    let rules = TopicRules::new(cluster, namespaces);
    if problems.is_empty() {
        agree("", &rules.cluster, &mut problems);
        for (pattern, _) in &rules.namespaces {
            let covers = |wider: &NamePattern| {
                wider == pattern
                    || matches!(wider, NamePattern::Prefix(prefix) if pattern.text().starts_with(prefix.as_str()))
            };
            agree(&format!("namespaces.{pattern}."), &rules.merged(covers), &mut problems);
        }
    }
    problems.into_result(rules)
}

fn patterns(node: &Node<'_>, problems: &mut Problems) -> Vec<(NamePattern, RuleSet)> {
    let mut found = Vec::new();
    for (key, node) in node.all_entries(problems) {
        let body = key.strip_suffix('*').unwrap_or(key);
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if key.is_empty() || body.len() > LONGEST_NAMESPACE || !body.chars().all(legal) {
            problems.push(Problem::new(&node.path, key, "the name of a namespace, or prefix*"));
            continue;
        }
        let mut rules = RuleSet::default();
        for (key, node) in node.entries(&["defaults", "limits"], problems) {
            match key {
                "defaults" => defaults(&node, &mut rules, problems),
                _ => limits(&node, &mut rules, problems),
            }
        }
        found.push((NamePattern::read(key), rules));
    }
    found
}

fn defaults(node: &Node<'_>, rules: &mut RuleSet, problems: &mut Problems) {
    for (key, node) in node.entries(&DEFAULTS, problems) {
        match key {
            "partitions" => rules.default_partitions = node.said(problems, Node::whole_number),
            "replication-factor" => {
                rules.default_replication_factor = node.said(problems, Node::whole_number);
            }
            "retention" => {
                let retention = node.said(problems, |node, problems| {
                    node.text::<Retention>(problems).map(|retention| retention.as_ms().to_string())
                });
                rules.default_configs.insert(RETENTION_MS.to_owned(), retention);
            }
            "producer-byte-rate" => {
                rules.producer_byte_rate.default = node.said(problems, Node::byte_rate);
            }
            "consumer-byte-rate" => {
                rules.consumer_byte_rate.default = node.said(problems, Node::byte_rate);
            }
            "request-percentage" => {
                rules.request_percentage.default = node.said(problems, Node::percentage);
            }
            _ => {
                for (key, node) in node.all_entries(problems) {
                    if key == RETENTION_MS {
                        problems
                            .push(Problem::missing(&node.path, "write it as retention, e.g. retention: 7d"));
                        continue;
                    }
                    let value = node.said(problems, |node, problems| node.config_value(key, problems));
                    rules.default_configs.insert(key.to_owned(), value);
                }
            }
        }
    }
}

fn limits(node: &Node<'_>, rules: &mut RuleSet, problems: &mut Problems) {
    for (key, node) in node.entries(&LIMITS, problems) {
        match key {
            "partitions" => {
                rules.partitions = node.limit(problems, |node, problems| {
                    node.whole_number::<PartitionCount>(problems).map(|count| count.get().into())
                });
            }
            "replication-factor" => {
                rules.replication_factor = node.limit(problems, |node, problems| {
                    node.whole_number::<ReplicationFactor>(problems).map(|factor| factor.get().into())
                });
            }
            "retention" => rules.retention = node.limit(problems, Node::duration),
            "retention-bytes" => rules.retention_bytes = node.limit(problems, Node::size),
            "retention-disk-share" => rules.retention_disk_share = node.limit(problems, Node::share),
            "name" => rules.name = node.said(problems, name),
            "properties" => {
                for (key, node) in node.all_entries(problems) {
                    let limit = node.said(problems, |node, problems| property(key, node, problems));
                    rules.properties.insert(key.to_owned(), limit);
                }
            }
            "topics" => rules.topics = node.total(problems, Node::count),
            "producer-byte-rate" => rules.producer_byte_rate.limit = node.limit(problems, Node::byte_rate),
            "consumer-byte-rate" => rules.consumer_byte_rate.limit = node.limit(problems, Node::byte_rate),
            "request-percentage" => rules.request_percentage.limit = node.limit(problems, Node::percentage),
            "total-partitions" => rules.total_partitions = node.total(problems, Node::count),
            _ => rules.total_bytes = node.total(problems, Node::size),
        }
    }
}

fn name(node: &Node<'_>, problems: &mut Problems) -> Option<Limit<String>> {
    let mut pattern = None;
    let mut action = Action::default();
    for (key, node) in node.entries(&["pattern", "action"], problems) {
        match key {
            "pattern" => pattern = node.string(problems, "a regular expression for the whole name"),
            _ => action = node.action(&[Action::Refuse, Action::Warn], problems),
        }
    }
    let Some(pattern) = pattern else {
        node.lacks("pattern", problems);
        return None;
    };
    let path = format!("{}.pattern", node.path);
    if pattern.len() > LONGEST_PATTERN {
        let expected = format!("at most {LONGEST_PATTERN} bytes long");
        problems.push(Problem::new(path, &pattern, expected));
        return None;
    }
    if let Err(error) = compile(&pattern, &"n".repeat(LONGEST_NAMESPACE)) {
        // The last line of what the crate says is the mistake itself.
        let error = error.to_string();
        let expected = format!(
            "no regular expression: {}",
            error.lines().last().unwrap_or_default().trim_start_matches("error: ")
        );
        problems.push(Problem::new(path, &pattern, expected));
        return None;
    }
    Some(Limit { rule: pattern, action, path: node.path.clone() })
}

fn property(config: &str, node: &Node<'_>, problems: &mut Problems) -> Option<Limit<PropertyRule>> {
    let before = problems.len();
    if !TopicConfig::keys().any(|known| known == config) {
        problems.push(node.problem(unknown_config(config)));
    }
    let mut rule = PropertyRule::default();
    let mut action = Action::default();
    for (key, node) in node.entries(&["required", "forbidden", "min", "max", "one-of", "action"], problems) {
        match key {
            "required" => rule.required = node.flag(problems),
            "forbidden" => rule.forbidden = node.flag(problems),
            "min" => rule.min = node.config_number(config, problems),
            "max" => rule.max = node.config_number(config, problems),
            "one-of" => rule.one_of = node.config_values(config, problems),
            _ => action = node.action(&[Action::Refuse, Action::Warn, Action::Adjust], problems),
        }
    }
    if problems.len() > before {
        return None;
    }
    let bounds = rule.min.is_some() || rule.max.is_some();
    let mut wrong = |expected: &str| problems.push(node.problem(expected));
    if !bounds && !rule.required && !rule.forbidden && rule.one_of.is_none() {
        wrong("limits nothing: give required, forbidden, min, max or one-of (or null to lift a wider limit)");
    }
    if rule.forbidden && (bounds || rule.required || rule.one_of.is_some()) {
        wrong("what is forbidden has no other limit; keep forbidden or the rest");
    }
    if bounds && rule.one_of.is_some() {
        wrong("has min or max, and one-of; keep one");
    }
    if action == Action::Adjust && (rule.required || rule.one_of.is_some()) {
        wrong("adjust is for min, max and forbidden; for what is required, give a default");
    }
    if let (Some(min), Some(max)) = (&rule.min, &rule.max)
        && order(min, max) == Some(Ordering::Greater)
    {
        wrong(&format!("min {min} is greater than max {max}"));
    }
    let instead = match config {
        RETENTION_MS => "limits.retention",
        RETENTION_BYTES => "limits.retention-bytes",
        _ => {
            "min.insync.replicas or another key whose numbers are only numbers: -1 and -2 have meanings of their own here"
        }
    };
    if bounds && (instead.starts_with("limits") || config.starts_with("local.retention.")) {
        wrong(&format!("has no min and max here; use {instead}"));
    }
    (problems.len() == before).then(|| Limit { rule, action, path: node.path.clone() })
}

fn unknown_config(key: &str) -> String {
    match nearest(key, TopicConfig::keys()) {
        Some(near) => format!("no topic configuration key of Kafka; did you mean {near}?"),
        None => "no topic configuration key of Kafka; see Kafka's documentation, Topic Configs".to_owned(),
    }
}

/// Defaults have to keep to the limits that count beside them, and totals need something to count.
fn agree(path: &str, rules: &RuleSet, problems: &mut Problems) {
    let mut wrong = |key: &str, value: &str, limit: &str| {
        let expected = format!("a default has to keep to {limit}");
        problems.push(Problem::new(format!("{path}defaults.{key}"), value, expected));
    };
    if let (Some(count), Some(limit)) = (rules.default_partitions.get(), rules.partitions.get())
        && limit.rule.nearest(count.get().into()).is_some()
    {
        wrong("partitions", &count.to_string(), &limit.path);
    }
    if let (Some(factor), Some(limit)) =
        (rules.default_replication_factor.get(), rules.replication_factor.get())
        && limit.rule.nearest(factor.get().into()).is_some()
    {
        wrong("replication-factor", &factor.to_string(), &limit.path);
    }
    for kind in &KINDS {
        let rule = (kind.rule)(rules);
        if let (Some(value), Some(limit)) = (rule.default.get(), rule.limit.get())
            && limit.rule.nearest(*value).is_some()
        {
            wrong(kind.key, &(kind.show)(*value), &limit.path);
        }
    }
    let amount = |key: &str| -> Option<i64> {
        let number: i64 = rules.default_configs.get(key)?.get()?.parse().ok()?;
        Some(if number < 0 { i64::MAX } else { number })
    };
    for (config, limit, key) in [
        (RETENTION_MS, &rules.retention, "retention"),
        (RETENTION_BYTES, &rules.retention_bytes, "properties.retention.bytes"),
    ] {
        if let (Some(number), Some(limit)) = (amount(config), limit.get())
            && limit.rule.nearest(number).is_some()
        {
            let shown = rules.default_configs.get(config).and_then(Said::get);
            wrong(key, shown.map_or("", String::as_str), &limit.path);
        }
    }
    for (config, limit) in &rules.properties {
        let (Some(limit), Some(value)) = (limit.get(), rules.default_configs.get(config).and_then(Said::get))
        else {
            continue;
        };
        if limit.rule.forbidden || limit.rule.nearest(value).is_some() || !limit.rule.lists(config, value) {
            wrong(&format!("properties.{config}"), value, &limit.path);
        }
    }
    let mut needs = |limit: &Said<Limit<i64>>, missing: bool, key: &str| {
        if let Some(limit) = limit.get().filter(|_| missing) {
            let expected = format!(
                "is needed by {}: what a manifest leaves to the brokers could not be counted",
                limit.path
            );
            problems.push(Problem::missing(format!("{path}defaults.{key}"), expected));
        }
    };
    let no_partitions = rules.default_partitions.get().is_none();
    needs(&rules.total_partitions, no_partitions, "partitions");
    needs(&rules.total_bytes, no_partitions, "partitions");
    needs(&rules.total_bytes, rules.default_replication_factor.get().is_none(), "replication-factor");
}
