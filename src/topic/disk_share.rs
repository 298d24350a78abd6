use std::collections::BTreeMap;

use topicops_contract::DiskShare;

use super::{Applied, Declaration, PlanContext, Refusal, StorageFacts, TopicPlan, limits::Judgement};

/// What a declared share of the disk comes to as `retention.bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ShareOfDisk {
    Bytes(u64),
    /// The brokers have to be asked first.
    Ask,
    /// The topic has to be there first: where its replicas go is left to the brokers.
    Later,
    /// The brokers do not tell.
    Unknown(String),
}

/// Of the value that is set: sizes of disks and numbers of partitions are followed when they make more of a difference.
const HYSTERESIS_PERCENT: u128 = 10;

pub(crate) const RETENTION_BYTES: &str = "retention.bytes";

/// The replicas of a topic: as they are, or how many there will be if the author says so.
#[derive(Clone, Copy, Debug)]
pub(super) enum Replicas<'a> {
    Placed(&'a [Vec<i32>]),
    ToCome(Option<u64>),
}

fn near(bytes: u64, set: u64) -> bool {
    u128::from(bytes.abs_diff(set)) * 100 <= u128::from(set) * HYSTERESIS_PERCENT
}

impl ShareOfDisk {
    /// `applied`: what was set for which share before.
    pub(super) fn of(
        share: DiskShare,
        replicas: Replicas<'_>,
        facts: Option<&StorageFacts>,
        applied: &Applied,
        moving: bool,
    ) -> Self {
        let Some(facts) = facts else { return Self::Ask };
        let computed = match replicas {
            Replicas::Placed(replicas) => facts.share_of_disks(share, replicas),
            Replicas::ToCome(Some(count)) => facts.share_of_disks_when_spread(share, count),
            // It could be made where nobody tells what bounds it.
            Replicas::ToCome(None) => return facts.all_tell().map_or_else(Self::Unknown, |()| Self::Later),
        };
        let set = applied.config(RETENTION_BYTES).filter(|_| applied.disk_share == Some(share));
        match (computed, set.and_then(|set| set.parse::<u64>().ok())) {
            // Replicas that come and those that go are both there for a while.
            (Ok(_), Some(set)) if moving => Self::Bytes(set),
            (Ok(bytes), Some(set)) if near(bytes, set) => Self::Bytes(set),
            (Ok(bytes), _) => Self::Bytes(bytes),
            // A broker that is away has the disk it had.
            (Err(_), Some(set)) => Self::Bytes(set),
            (Err(why), None) => Self::Unknown(why),
        }
    }
}

impl TopicPlan {
    /// Declares `retention.bytes` as the share of the disk that the author asks for, as far as limits let him.
    pub(super) fn share_of_disk(
        &mut self,
        owner: &Declaration,
        judged: &Judgement,
        replicas: Replicas<'_>,
        (applied, context): (&Applied, &PlanContext),
        configs: &mut BTreeMap<String, String>,
    ) {
        let share = judged.manifest.retention_disk_share;
        let Some(share) = share.filter(|_| !judged.withholds_config(RETENTION_BYTES)) else { return };
        let moving = context.moving.contains_key(&self.topic);
        let rules = context.policy.rules.of(&owner.object.namespace);
        match ShareOfDisk::of(share, replicas, context.storage.as_deref(), applied, moving) {
            ShareOfDisk::Bytes(bytes) => {
                let resolved = rules.judge_resolved(&judged.manifest, share, bytes);
                self.notices.extend(resolved.notices(owner.object.kind));
                if let Some(bytes) =
                    resolved.manifest.configs.get(RETENTION_BYTES).filter(|_| resolved.refused.is_empty())
                {
                    configs.insert(RETENTION_BYTES.to_owned(), bytes.clone());
                }
                self.refusals.extend(resolved.refused.into_iter().map(Refusal::Limit));
            }
            ShareOfDisk::Ask => self.wants_storage = true,
            ShareOfDisk::Later => match rules.judge_unresolved(share) {
                Some(violation) => self.refusals.push(Refusal::Limit(violation)),
                None => self.again = true,
            },
            ShareOfDisk::Unknown(why) => {
                self.refusals.push(Refusal::DiskSizeUnknown { share: share.to_string(), why });
            }
        }
    }
}
