//! A word about what somebody changed on the brokers: Events, log lines and metrics.

use tracing::{info, warn};

use super::{TopicController, topic_controller::Tenure};
use crate::{
    Reason,
    metrics::DriftLabel,
    topic::{Drift, TopicObjectKey, TopicPlan},
};

impl TopicController {
    /// Tells what was put back and, once for as long as it lasts, what was left as it was found.
    pub(super) fn tell_drift(&self, tenure: &mut Tenure, plan: &TopicPlan, carried_out: bool) {
        let Some(owner) = &plan.owner else {
            tenure.drifted.remove(&plan.topic);
            return;
        };
        if plan.remade && carried_out {
            self.count_drift("reported", Drift::Remade.what());
            warn!(topic = %plan.topic, "{}", Drift::Remade);
            self.tell(&owner.object, Reason::TopicRemade, &Drift::Remade.corrected());
        }
        if carried_out && !plan.corrected.is_empty() {
            for drift in &plan.corrected {
                self.count_drift("corrected", drift.what());
            }
            let put_back: Vec<String> = plan.corrected.iter().map(Drift::corrected).collect();
            let put_back = put_back.join("; ");
            info!(topic = %plan.topic, "put back what somebody changed on the brokers: {put_back}");
            self.tell(&owner.object, Reason::DriftCorrected, &put_back);
        }
        let before = match plan.drifted.as_slice() {
            [] => tenure.drifted.remove(&plan.topic),
            drifted => tenure.drifted.insert(plan.topic.clone(), drifted.to_vec()),
        };
        let before = before.unwrap_or_default();
        for drift in plan.drifted.iter().filter(|drift| !before.contains(drift)) {
            self.count_drift("reported", drift.what());
            info!(topic = %plan.topic, "somebody changed it on the brokers, and it is left so: {drift}");
        }
    }

    fn count_drift(&self, action: &'static str, what: &'static str) {
        self.metrics.drift.get_or_create(&DriftLabel { action, what }).inc();
    }

    pub(super) fn tell(&self, key: &TopicObjectKey, reason: Reason, note: &str) {
        if let Some(object) = self.index.object(key) {
            self.reporter.say(key.reference(&object.uid), reason, note);
        }
    }
}
