use std::sync::Arc;

use regex::Regex;
use topicops_contract::{Retention, TopicManifest, TopicName, keys::data};

use super::{Action, At, ByteSize, Field, Judgement, Limit, PropertyRule, Range, RuleSet, Said, Violation};
use crate::Reason;

pub(super) const RETENTION_MS: &str = "retention.ms";
pub(super) const RETENTION_BYTES: &str = "retention.bytes";
const DAY: i64 = 86_400_000;
/// What `{namespace}` in a name pattern stands for.
pub(super) const NAMESPACE: &str = "{namespace}";

/// The limits and defaults of one namespace.
#[derive(Clone, Debug)]
pub struct NamespaceRules {
    namespace: String,
    pub(super) rules: RuleSet,
    name: Option<Regex>,
}

impl NamespaceRules {
    pub(super) fn new(namespace: &str, rules: &RuleSet) -> Self {
        // A pattern that cannot be compiled here, against what reading the file found, matches nothing.
        let name = rules.name.get().and_then(|limit| compile(&limit.rule, namespace).ok());
        Self { namespace: namespace.to_owned(), rules: rules.clone(), name }
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The limits of what the namespace has in all: topics, partitions, bytes.
    pub fn quotas(&self) -> [Option<&Limit<i64>>; 3] {
        [self.rules.topics.get(), self.rules.total_partitions.get(), self.rules.total_bytes.get()]
    }

    pub fn has_totals(&self) -> bool {
        self.quotas().iter().any(Option::is_some)
    }

    /// Puts in what the manifest leaves to the defaults, and compares the result with the limits. `most_partitions`: what
    /// counts where the policy says nothing of it.
    pub fn judge(&self, declared: &Arc<TopicManifest>, most_partitions: Option<i32>) -> Judgement {
        let mut judgement = Judgement::new(declared);
        self.fill(&mut judgement.manifest);
        self.judge_name(&mut judgement);
        self.judge_partitions(&mut judgement, most_partitions);
        self.judge_replication_factor(&mut judgement);
        self.judge_retention(&mut judgement);
        self.judge_retention_bytes(&mut judgement);
        self.judge_disk_share(&mut judgement);
        for (key, limit) in &self.rules.properties {
            if let Some(limit) = limit.get() {
                judge_property(&mut judgement, key, limit);
            }
        }
        self.judge_countable(&mut judgement);
        judgement
    }

    fn fill(&self, manifest: &mut Arc<TopicManifest>) {
        if let (None, Some(partitions)) = (manifest.partitions, self.rules.default_partitions.get()) {
            Arc::make_mut(manifest).partitions = Some(*partitions);
        }
        if let (None, Some(factor)) =
            (manifest.replication_factor, self.rules.default_replication_factor.get())
        {
            Arc::make_mut(manifest).replication_factor = Some(*factor);
        }
        for (key, value) in &self.rules.default_configs {
            let Some(value) = value.get().filter(|_| !manifest.configs.contains_key(key)) else { continue };
            // Retention by disk share is retention by bytes, in other words.
            if key != RETENTION_BYTES || manifest.retention_disk_share.is_none() {
                Arc::make_mut(manifest).configs.insert(key.clone(), value.clone());
            }
        }
    }

    fn judge_name(&self, judgement: &mut Judgement) {
        let Some(limit) = self.rules.name.get() else { return };
        let topic = judgement.manifest.topic.as_str();
        if !self.name.as_ref().is_some_and(|pattern| pattern.is_match(topic)) {
            let what = format!("must match {} in namespace {}", limit.rule, self.namespace);
            let problem = said(At::Data(data::NAME), topic, limit.says(&what));
            judgement.found(limit.action, violation(Reason::NameNotAllowed, problem, &[]));
        }
    }

    fn judge_partitions(&self, judgement: &mut Judgement, most: Option<i32>) {
        let Some(declared) = judgement.manifest.partitions else { return };
        let limit = self.rules.partitions.get();
        let by_policy = limit.and_then(|limit| Some((limit, limit.rule.nearest(declared.get().into())?)));
        if let Some((limit, nearest)) = by_policy {
            let reason = if nearest < declared.get().into() {
                Reason::TooManyPartitions
            } else {
                Reason::TooFewPartitions
            };
            let expected = limit.says(&limit.rule.describe(|count| count.to_string()));
            let problem = said(At::Data(data::PARTITIONS), declared.to_string(), expected);
            let violation = violation(reason, problem, &[Field::Partitions]);
            let adjusted = i32::try_from(nearest).ok().and_then(|count| count.try_into().ok());
            match adjusted.filter(|_| limit.action == Action::Adjust) {
                Some(count) => {
                    Arc::make_mut(&mut judgement.manifest).partitions = Some(count);
                    judgement.adjusted.push((violation, format!("adjusted to {count}")));
                }
                None => judgement.found(limit.action, violation),
            }
        } else if let Some(most) = most.filter(|most| declared.get() > *most)
            && limit.is_none_or(|limit| limit.rule.max.is_none())
        {
            let expected = format!("{most} at most, says the operator (--max-partitions)");
            let problem = said(At::Data(data::PARTITIONS), declared.to_string(), expected);
            let violation = violation(Reason::TooManyPartitions, problem, &[Field::Partitions]);
            judgement.refused.push(Violation { by_flag: true, ..violation });
        }
    }

    fn judge_replication_factor(&self, judgement: &mut Judgement) {
        let (Some(declared), Some(limit)) =
            (judgement.manifest.replication_factor, self.rules.replication_factor.get())
        else {
            return;
        };
        let Some(nearest) = limit.rule.nearest(declared.get().into()) else { return };
        let expected = limit.says(&limit.rule.describe(|factor| factor.to_string()));
        let problem = said(At::Data(data::REPLICATION_FACTOR), declared.to_string(), expected);
        let violation = violation(Reason::ReplicationFactorOutOfBounds, problem, &[Field::ReplicationFactor]);
        let adjusted = i16::try_from(nearest).ok().and_then(|factor| factor.try_into().ok());
        match adjusted.filter(|_| limit.action == Action::Adjust) {
            Some(factor) => {
                Arc::make_mut(&mut judgement.manifest).replication_factor = Some(factor);
                judgement.adjusted.push((violation, format!("adjusted to {factor}")));
            }
            None => judgement.found(limit.action, violation),
        }
    }

    fn judge_retention(&self, judgement: &mut Judgement) {
        // 30d is what people write, and not 4w2d.
        let show = |ms: i64| match ms {
            days if days > 0 && days % DAY == 0 => format!("{}d", days / DAY),
            ms => Retention::from_ms(ms).to_string(),
        };
        judge_amount(judgement, &self.rules.retention, RETENTION_MS, At::Data(data::RETENTION), show);
    }

    pub(super) fn judge_retention_bytes(&self, judgement: &mut Judgement) {
        let show = |bytes: i64| match bytes {
            ..0 => "unlimited".to_owned(),
            bytes => ByteSize::from(bytes).to_string(),
        };
        judge_amount(
            judgement,
            &self.rules.retention_bytes,
            RETENTION_BYTES,
            property(RETENTION_BYTES),
            show,
        );
    }

    /// Where bytes are counted, every topic must say how many it may come to.
    fn judge_countable(&self, judgement: &mut Judgement) {
        let Some(limit) = self.rules.total_bytes.get() else { return };
        if bounded_bytes(&judgement.manifest).is_some() {
            return;
        }
        let counted = format!("the bytes of namespace {} are counted", self.namespace);
        let problem = if let Some(share) = judgement.manifest.retention_disk_share {
            let what = format!(
                "{counted}, and what a share of a disk comes to is known only when the topic is there: declare {RETENTION_BYTES} \
                 in its place"
            );
            said(At::Data(data::RETENTION_DISK_SHARE), share.to_string(), limit.says(&what))
        } else {
            let what = format!("is required, and not unlimited: {counted}");
            said(property(RETENTION_BYTES), "", limit.says(&what))
        };
        let withholds = [Field::Config(RETENTION_BYTES.to_owned())];
        judgement.found(limit.action, violation(Reason::PropertyRequired, problem, &withholds));
    }

    pub(super) fn over_topics(&self, limit: &Limit<i64>, topic: &TopicName, others: u128) -> Violation {
        let what =
            format!("namespace {} has {others} other topics, of {} at most", self.namespace, limit.rule);
        let problem = said(At::Data(data::NAME), topic.as_str(), limit.says(&what));
        violation(Reason::NamespaceQuotaExceeded, problem, &[])
    }

    pub(super) fn over_partitions(&self, limit: &Limit<i64>, own: u128, others: u128) -> Violation {
        let what = format!(
            "the other topics of namespace {} have {others} already, of {} at most in all",
            self.namespace, limit.rule
        );
        let problem = said(At::Data(data::PARTITIONS), own.to_string(), limit.says(&what));
        violation(Reason::NamespaceQuotaExceeded, problem, &[Field::Partitions])
    }

    pub(super) fn over_bytes(&self, limit: &Limit<i64>, own: u128, others: u128) -> Violation {
        let size = |bytes: u128| ByteSize::from(i64::try_from(bytes).unwrap_or(i64::MAX)).to_string();
        let what = format!(
            "is what all replicas of all partitions may come to; the other topics of namespace {} have {} already, of {} \
             at most in all",
            self.namespace,
            size(others),
            ByteSize::from(limit.rule)
        );
        let problem = said(property(RETENTION_BYTES), size(own), limit.says(&what));
        let withholds =
            [Field::Partitions, Field::ReplicationFactor, Field::Config(RETENTION_BYTES.to_owned())];
        violation(Reason::NamespaceQuotaExceeded, problem, &withholds)
    }
}

/// The whole of a name has to match.
pub(super) fn compile(pattern: &str, namespace: &str) -> Result<Regex, regex::Error> {
    /// Generous for what names look like, and nothing to a machine.
    const SIZE: usize = 256 * 1024;
    let text = pattern.replace(NAMESPACE, &regex::escape(namespace));
    // On its own first: what stands around it must not make sense of what makes none.
    let build = |text: &str| regex::RegexBuilder::new(text).size_limit(SIZE).dfa_size_limit(SIZE).build();
    build(&text)?;
    build(&format!(r"\A(?:{text})\z"))
}

/// `retention.bytes`, where it bounds anything.
pub(super) fn bounded_bytes(manifest: &TopicManifest) -> Option<u64> {
    manifest.configs.get(RETENTION_BYTES)?.parse().ok()
}

fn property(key: &str) -> At {
    At::Property(key.to_owned())
}

pub(super) fn said(at: At, value: impl Into<String>, expected: String) -> (At, String, String) {
    (at, value.into(), expected)
}

pub(super) fn violation(
    reason: Reason,
    (at, value, expected): (At, String, String),
    withholds: &[Field],
) -> Violation {
    Violation { reason, at, value, expected, withholds: withholds.to_vec(), by_flag: false }
}

/// Retention in milliseconds or bytes, where less than nothing is without end.
fn judge_amount(
    judgement: &mut Judgement,
    limit: &Said<Limit<Range>>,
    config: &str,
    at: At,
    show: impl Fn(i64) -> String,
) {
    let Some(limit) = limit.get() else { return };
    let Some(declared) = judgement.manifest.configs.get(config).and_then(|text| text.parse::<i64>().ok())
    else {
        return;
    };
    let Some(nearest) = limit.rule.nearest(if declared < 0 { i64::MAX } else { declared }) else { return };
    let expected = limit.says(&limit.rule.describe(&show));
    let problem = said(at, show(declared), expected);
    let violation = violation(Reason::RetentionOutOfBounds, problem, &[Field::Config(config.to_owned())]);
    if limit.action == Action::Adjust {
        Arc::make_mut(&mut judgement.manifest).configs.insert(config.to_owned(), nearest.to_string());
        judgement.adjusted.push((violation, format!("adjusted to {}", show(nearest))));
    } else {
        judgement.found(limit.action, violation);
    }
}

pub(super) fn judge_property(judgement: &mut Judgement, config: &str, limit: &Limit<PropertyRule>) {
    let rule = &limit.rule;
    let withholds = [Field::Config(config.to_owned())];
    let Some(value) = judgement.manifest.configs.get(config).cloned() else {
        if rule.required {
            // Both together would contradict each other.
            let share = judgement.manifest.retention_disk_share.filter(|_| config == RETENTION_BYTES);
            let problem = match share {
                Some(share) => {
                    let what = format!("{config} is required in its place");
                    said(At::Data(data::RETENTION_DISK_SHARE), share.to_string(), limit.says(&what))
                }
                None => said(property(config), "", limit.says("is required")),
            };
            judgement.found(limit.action, violation(Reason::PropertyRequired, problem, &withholds));
        }
        return;
    };
    let adjusts = limit.action == Action::Adjust;
    let found =
        |reason, what: &str| violation(reason, said(property(config), &value, limit.says(what)), &withholds);
    if rule.forbidden {
        let violation = found(Reason::PropertyForbidden, "may not be declared");
        if adjusts {
            Arc::make_mut(&mut judgement.manifest).configs.remove(config);
            judgement.adjusted.push((violation, "left out".to_owned()));
        } else {
            judgement.found(limit.action, violation);
        }
    } else if let Some(nearest) = rule.nearest(&value) {
        let violation = found(Reason::PropertyOutOfBounds, &rule.describe());
        if adjusts {
            Arc::make_mut(&mut judgement.manifest).configs.insert(config.to_owned(), nearest.to_owned());
            judgement.adjusted.push((violation, format!("adjusted to {nearest}")));
        } else {
            judgement.found(limit.action, violation);
        }
    } else if !rule.lists(config, &value) {
        judgement.found(limit.action, found(Reason::PropertyOutOfBounds, &rule.describe()));
    }
}
