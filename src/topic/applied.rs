use std::borrow::Cow;

use sha2::{Digest, Sha256};
use topicops_contract::{DiskShare, TopicConfig};

/// What was declared when the brokers last had it so. What differs from a declaration that says the same still was changed
/// on the brokers; what differs from one that says something else was changed by its author.
///
/// Noted after the brokers acknowledged, so that a crash in between is taken for an author's change: that is applied again,
/// never left undone. Only what its author takes back right after such a crash looks like somebody's hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Kafka's id of the topic that was made or seen.
    pub topic_id: Option<String>,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    /// The share of the disk that `retention.bytes` was set for.
    pub disk_share: Option<DiskShare>,
    /// When the last step of a cut in retention was made that is still under way, in Unix seconds.
    pub stepped_at: Option<i64>,
    /// Settings in the order of their keys, as [`Applied::set`] writes them. There are few, and one of these for each topic: a
    /// map would take several times the room.
    pub(crate) configs: Vec<(Box<str>, Box<str>)>,
}

/// Longer values are remembered by their hash.
const LONGEST: usize = 48;

impl Applied {
    /// Whether `value` is what `key` was declared with.
    pub fn has(&self, key: &str, value: &str) -> bool {
        self.config(key).is_some_and(|before| TopicConfig::same(key, before, &shortened(value)))
    }

    pub fn set(&mut self, key: &str, value: &str) {
        let value = shortened(value).into();
        match self.find(key) {
            Ok(at) => self.configs[at].1 = value,
            Err(at) => {
                self.configs.reserve_exact(1);
                self.configs.insert(at, (key.into(), value));
            }
        }
    }

    pub fn forget(&mut self, key: &str) {
        if let Ok(at) = self.find(key) {
            self.configs.remove(at);
        }
    }

    /// The value that `key` was declared with; long ones are shortened to a hash.
    pub fn config(&self, key: &str) -> Option<&str> {
        self.find(key).ok().map(|at| &*self.configs[at].1)
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.configs.binary_search_by(|(one, _)| (**one).cmp(key))
    }
}

fn shortened(value: &str) -> Cow<'_, str> {
    let value = value.trim();
    if value.len() <= LONGEST {
        return Cow::Borrowed(value);
    }
    let hash = Sha256::digest(value.as_bytes());
    Cow::Owned(format!("~{}", hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_kafka_means_them_however_long() {
        let mut applied = Applied::default();
        applied.set("preallocate", "TRUE");
        assert!(applied.has("preallocate", "true") && !applied.has("preallocate", "false"));
        let key = "leader.replication.throttled.replicas";
        let long = (0..500).map(|n| format!("{n}:1")).collect::<Vec<_>>().join(",");
        applied.set(key, &long);
        assert!(applied.config(key).is_some_and(|text| text.len() <= LONGEST));
        assert!(applied.has(key, &long) && !applied.has(key, &long.replace("7:1", "7:2")));
        assert!(!applied.has("retention.ms", "1"));
    }
}
