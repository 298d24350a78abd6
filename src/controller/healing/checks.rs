use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use topicops_contract::Workload;

use crate::{access::Client, controller::access::Template};

/// Which workloads are to be read, and which may be healed: decided without asking anybody.
///
/// Lives as long as a leadership. A new leader reads everything once.
#[derive(Debug, Default)]
pub struct Checks {
    known: HashMap<String, Known>,
}

/// What is known of a workload, by its uid.
#[derive(Debug, Default)]
struct Known {
    /// What was read last: nothing else can have changed the template, or what is to be in it.
    checked: Option<(i64, Arc<Client>)>,
    /// Not to be read before.
    not_before: Option<Instant>,
    /// Tries in a row that failed.
    failures: u32,
    /// How often it was healed, and when last.
    heals: u32,
    healed: Option<Instant>,
}

/// Between one healing and the next of the same workload: once it stuck, there is no next.
const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(30), Duration::from_secs(300), Duration::from_secs(3_600)];
/// Longer than the longest pause: whoever took the credentials out again has come to an end.
const PEACE: Duration = Duration::from_secs(7_200);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// What may well pass by itself is told after this many tries.
const TOLD_AFTER: u32 = 4;

/// Whether a workload that is not in order may be healed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Heal,
    /// Healed so often by now, and taken out again each time. It is looked at again later.
    Later {
        heals: u32,
    },
}

impl Checks {
    /// The workloads to be read now. Forgets those that are not there any more.
    pub fn due(&mut self, templates: &[Template], now: Instant) -> Vec<Workload> {
        let mut before = std::mem::take(&mut self.known);
        let mut due = Vec::new();
        for Template { client, generation } in templates {
            let mut known = before.remove(&client.uid).unwrap_or_default();
            // What cannot be read is told by those who read annotations; what goes needs nothing.
            let wanted = client.request.is_ok() && !client.deleting;
            let is_new = known.checked.as_ref().is_none_or(|(of, seen)| of != generation || seen != client);
            known.not_before = known.not_before.filter(|at| wanted && is_new && *at > now);
            if wanted && is_new && known.not_before.is_none() {
                due.push(client.workload.clone());
            }
            self.known.insert(client.uid.clone(), known);
        }
        due
    }

    /// When the next of those that have to wait is due.
    pub fn next(&self) -> Option<Instant> {
        self.known.values().filter_map(|known| known.not_before).min()
    }

    /// This version needs no further look.
    pub fn settled(&mut self, template: &Template, now: Instant) {
        let known = self.known.entry(template.client.uid.clone()).or_default();
        known.checked = Some((template.generation, Arc::clone(&template.client)));
        known.not_before = None;
        known.failures = 0;
        if known.healed.is_some_and(|at| now.duration_since(at) > PEACE) {
            (known.heals, known.healed) = (0, None);
        }
    }

    /// Asked before a healing; where it may not be yet, it is due when it may.
    pub fn may_heal(&mut self, uid: &str, now: Instant) -> Permit {
        let known = self.known.entry(uid.to_owned()).or_default();
        let Some(healed) = known.healed else { return Permit::Heal };
        if now.duration_since(healed) > PEACE {
            (known.heals, known.healed) = (0, None);
            return Permit::Heal;
        }
        let pause = PAUSES[usize::try_from(known.heals).unwrap_or(usize::MAX).min(PAUSES.len() - 1)];
        let due = healed + pause;
        if due <= now {
            return Permit::Heal;
        }
        known.not_before = Some(due);
        Permit::Later { heals: known.heals }
    }

    /// It was healed; the watch tells of its new version, which is read to see that it stuck. How often by now.
    pub fn healed(&mut self, uid: &str, now: Instant) -> u32 {
        let known = self.known.entry(uid.to_owned()).or_default();
        known.heals += 1;
        known.healed = Some(now);
        known.failures = 0;
        known.not_before = Some(now + FIRST_RETRY);
        known.heals
    }

    /// It could not be read or changed, and is tried again. Whether its author is to be told by now.
    pub fn failed(&mut self, uid: &str, now: Instant) -> bool {
        let known = self.known.entry(uid.to_owned()).or_default();
        let wait = FIRST_RETRY.saturating_mul(1 << known.failures.min(16)).min(LONGEST_RETRY);
        known.failures = known.failures.saturating_add(1);
        known.not_before = Some(now + wait);
        known.failures >= TOLD_AFTER
    }
}

/// By kind, for whoever reads many at once.
pub(super) fn by_kind(workloads: Vec<Workload>) -> BTreeMap<topicops_contract::WorkloadKind, Vec<Workload>> {
    let mut kinds: BTreeMap<_, Vec<Workload>> = BTreeMap::new();
    for workload in workloads {
        kinds.entry(workload.kind()).or_default().push(workload);
    }
    kinds
}
