//! What declares topics, ConfigMaps and KafkaTopics: all mistakes at once, at the moment they are made.
//!
//! As with workloads, what was wrong before is only warned about: the operator writes its status into that very object.

use topicops_contract::{Problem, Problems, TopicManifest, TopicObjectKind, keys::data};

use crate::{Answer, Finding, Review, TopicPolicy, topic_object::TopicObject};

/// Answers a review of what declares a topic. Pure but for `policy`, which answers from memory.
pub fn validate(review: &Review<'_>, policy: &dyn TopicPolicy) -> Answer {
    let (true, Some(object)) = (review.writes_object(), review.object()) else { return Answer::untouched() };
    let Some(kind) = TopicObject::kind_of(review) else { return Answer::untouched() };
    let object = match TopicObject::read(kind, object) {
        Ok(object) => object,
        Err(error) => return Answer::unreadable(kind.as_str(), &error),
    };
    // Paused or not, an object on its way out only loses finalizers.
    if !object.is_topic() || object.metadata.deletion_timestamp.is_some() {
        return Answer::untouched();
    }
    let old = match review.old_object().map(|old| TopicObject::read(kind, old)).transpose() {
        Ok(old) => old,
        Err(error) => return Answer::unreadable("oldObject", &error),
    };
    let old = old.filter(TopicObject::is_topic);
    let before = old.as_ref().map(|old| (old, old.parse(review.name())));
    let manifest = match object.parse(review.name()) {
        Ok(manifest) => manifest,
        Err(problems) => {
            let known = match &before {
                Some((_, Err(known))) => {
                    problems.iter().all(|problem| known.iter().any(|old| old == problem))
                }
                _ => false,
            };
            return if known {
                let warnings = problems.iter().map(|problem| format!("not applied: {problem}")).collect();
                Answer::Allowed { patch: Default::default(), warnings }
            } else {
                Answer::invalid(&problems, Vec::new())
            };
        }
    };
    let before_manifest = before.as_ref().and_then(|(_, parsed)| parsed.as_ref().ok());
    if before_manifest == Some(&manifest) {
        return Answer::untouched();
    }
    let mut denials = Problems::new();
    let mut warnings = Vec::new();
    if let Some((old, Ok(before))) = &before {
        denials.extend(fewer_partitions(kind, &manifest, before, old));
    }
    let name = object.metadata.name.as_deref().unwrap_or(review.name());
    for finding in policy.review(kind, review.namespace(), name, &manifest, before_manifest) {
        match finding {
            Finding::Warning(warning) => warnings.push(warning),
            Finding::Denial(problem) => denials.push(problem),
        }
    }
    if denials.is_empty() {
        Answer::Allowed { patch: Default::default(), warnings }
    } else {
        Answer::invalid(&denials, warnings)
    }
}

/// Kafka cannot take partitions away. Measured against what the topic has, as the status says, and not against what was
/// declared: a number that was never carried out may be corrected.
fn fewer_partitions(
    kind: TopicObjectKind,
    manifest: &TopicManifest,
    before: &TopicManifest,
    old: &TopicObject,
) -> Option<Problem> {
    let (declared, has) = (manifest.partitions?.get(), old.partitions()?);
    (manifest.topic == before.topic && declared < has).then(|| {
        Problem::new(
            kind.field(data::PARTITIONS),
            declared.to_string(),
            format!("the topic has {has} partitions, and Kafka cannot take any away: {has} or more"),
        )
    })
}
