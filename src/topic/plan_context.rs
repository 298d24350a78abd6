use super::TopicPolicy;

/// What a plan depends on beside the topic itself: the same for all topics of a pass.
#[derive(Clone, Debug, Default)]
pub struct PlanContext {
    pub policy: TopicPolicy,
}
