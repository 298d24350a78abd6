//! What brokers that lag may not show yet, or show still.

use tokio::time::Instant;
use topicops_contract::TopicName;

use super::{departures::going, own_changes::LONGEST_LAG, topic_controller::Tenure};
use crate::{
    kafka::TopicDescription,
    topic::{Declaration, Holding, Ownership, PlanContext},
};

/// Kafka's id of a topic, as far as anybody knows it: of what was made here, where the ledger could not have that yet, or has
/// none any more.
pub(super) fn goes_by<'a>(tenure: &'a Tenure, topic: &TopicName, held: &'a Holding) -> Option<&'a str> {
    let own = &tenure.own_changes;
    own.unnoted_id(topic).or(held.applied.topic_id.as_deref()).or_else(|| own.made_id(topic))
}

/// Whether brokers that do not show a topic may not know it yet, although it is there: of what was made before this leadership
/// it is not known when.
pub(super) fn may_be_there(tenure: &Tenure, topic: &TopicName, now: Instant) -> bool {
    tenure.own_changes.made(topic) || now.duration_since(tenure.begun) < LONGEST_LAG
}

/// Whether what is found may be what was there before the topic that is to be deleted, on a broker that lags. A deletion is by
/// Kafka's id, and the brokers' controller knows all.
pub(super) fn hides_what_goes(
    tenure: &Tenure,
    topic: &TopicName,
    declarations: &[Declaration],
    context: &PlanContext,
    found: &TopicDescription,
    now: Instant,
) -> bool {
    let held = tenure.ledger.get(topic).filter(|_| may_be_there(tenure, topic, now));
    let Some(held) = held else { return false };
    let due = held.deletion.as_ref().and_then(|deletion| deletion.topic_id.as_deref());
    // Whoever declares it and may have it wants what there is.
    let settled = || Ownership::settle(topic, declarations, Some(held), true, &context.policy);
    let due = due.filter(|_| settled().owner.is_none_or(|owner| owner.deleting));
    let known = goes_by(tenure, topic, held);
    let known = known.filter(|_| !going(declarations, Some(held), &context.policy).is_empty());
    due.or(known).is_some_and(|known| known != found.id && !tenure.is_deleted(topic, known))
}
