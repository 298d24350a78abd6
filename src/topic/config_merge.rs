use std::collections::BTreeMap;

use topicops_contract::{DriftPolicy, TopicConfig};

use super::{Applied, Drift};
use crate::kafka::ConfigChange;

/// The settings of one topic, merged three ways: what is declared, what was declared before, and what the brokers have.
///
/// What is declared is set; what was declared before and no longer is gets unset, whoever changed it since; everything
/// else is somebody else's and left alone.
#[derive(Debug, Default)]
pub(super) struct ConfigMerge {
    pub(super) change: ConfigChange,
    /// Changed on the brokers, and put back by `change`.
    pub(super) corrected: Vec<Drift>,
    /// Changed on the brokers, and left so.
    pub(super) drifted: Vec<Drift>,
}

impl ConfigMerge {
    /// `gone`: what was declared before and no longer is. `applied` is altered to what is true once `change` was made.
    pub(super) fn of<'a>(
        declared: &BTreeMap<String, String>,
        gone: impl IntoIterator<Item = &'a String>,
        observed: &BTreeMap<String, String>,
        drift: DriftPolicy,
        applied: &mut Applied,
    ) -> Self {
        let mut merge = Self::default();
        for (key, value) in declared {
            let found = observed.get(key);
            let is_applied = applied.has(key, value);
            // What was applied last may come yet, on brokers that show a change late: what is there already is set again over it.
            let may_change = !is_applied && applied.config(key).is_some();
            if !may_change && found.is_some_and(|found| TopicConfig::same(key, found, value)) {
                applied.set(key, value);
                continue;
            }
            if is_applied {
                let one = Drift::Config { key: key.clone(), declared: value.clone(), found: found.cloned() };
                if drift == DriftPolicy::Report {
                    merge.drifted.push(one);
                    continue;
                }
                merge.corrected.push(one);
            }
            merge.change.set.insert(key.clone(), value.clone());
            applied.set(key, value);
        }
        for key in gone {
            let may_come = applied.config(key).is_some();
            applied.forget(key);
            if may_come || observed.contains_key(key) {
                merge.change.unset.push(key.clone());
            }
        }
        merge
    }
}
