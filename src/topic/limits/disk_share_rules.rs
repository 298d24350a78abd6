//! What limits say to `retention-disk-share`: to the share itself, which admission knows, and to the `retention.bytes` that
//! it comes to, which is known once the brokers' disks are.

use std::sync::Arc;

use topicops_contract::{DiskShare, TopicManifest, keys::data};

use super::{
    Action, At, ByteSize, Field, Judgement, NamespaceRules, Said, Violation,
    namespace_rules::{RETENTION_BYTES, judge_property, said, violation},
};
use crate::Reason;

const AT: At = At::Data(data::RETENTION_DISK_SHARE);

impl NamespaceRules {
    pub(super) fn judge_disk_share(&self, judgement: &mut Judgement) {
        let Some(share) = judgement.manifest.retention_disk_share else { return };
        let bytes = self.rules.properties.get(RETENTION_BYTES).and_then(Said::get);
        if let Some(limit) = bytes.filter(|limit| limit.rule.forbidden) {
            let expected = limit.says("may not be declared, because it sets retention.bytes");
            let found = found(Reason::PropertyForbidden, share, expected);
            if limit.action == Action::Adjust {
                Arc::make_mut(&mut judgement.manifest).retention_disk_share = None;
                judgement.adjusted.push((found, "left out".to_owned()));
            } else {
                judgement.found(limit.action, found);
            }
            return;
        }
        let Some(limit) = self.rules.retention_disk_share.get() else { return };
        let Some(nearest) = limit.rule.nearest(share.basis_points().into()) else { return };
        let read = |points: i64| DiskShare::from_basis_points(u32::try_from(points).ok()?);
        let show = |points: i64| read(points).map_or_else(String::new, |share| share.to_string());
        let found = found(Reason::RetentionOutOfBounds, share, limit.says(&limit.rule.describe(show)));
        match read(nearest).filter(|_| limit.action == Action::Adjust) {
            Some(nearest) => {
                Arc::make_mut(&mut judgement.manifest).retention_disk_share = Some(nearest);
                judgement.adjusted.push((found, format!("adjusted to {nearest}")));
            }
            None => judgement.found(limit.action, found),
        }
    }

    /// What limits say to the `retention.bytes` that a share of the disk comes to, as if it was declared: it is, in the
    /// judgement's manifest.
    pub fn judge_resolved(&self, manifest: &TopicManifest, share: DiskShare, bytes: u64) -> Judgement {
        let mut resolved = manifest.clone();
        resolved.configs.insert(RETENTION_BYTES.to_owned(), bytes.to_string());
        let mut judgement = Judgement::new(&Arc::new(resolved));
        self.judge_retention_bytes(&mut judgement);
        let limit = self.rules.properties.get(RETENTION_BYTES).and_then(Said::get);
        // What is forbidden was found before.
        if let Some(limit) = limit.filter(|limit| !limit.rule.forbidden) {
            judge_property(&mut judgement, RETENTION_BYTES, limit);
        }
        let size = ByteSize::from(i64::try_from(bytes).unwrap_or(i64::MAX));
        let adjusted = judgement.adjusted.iter_mut().map(|(violation, _)| violation);
        for violation in judgement.refused.iter_mut().chain(&mut judgement.warned).chain(adjusted) {
            let expected = format!("comes to {RETENTION_BYTES}={size}: {}", violation.expected);
            (violation.at, violation.value, violation.expected) = (AT, share.to_string(), expected);
        }
        judgement
    }
}

impl NamespaceRules {
    /// What limits say to a share of which nobody knows yet what it comes to, because the brokers are to choose how many
    /// replicas the topic has: where one might refuse that, the topic is not made to find out.
    pub fn judge_unresolved(&self, share: DiskShare) -> Option<Violation> {
        let bytes = self.rules.retention_bytes.get();
        let bytes = bytes.filter(|limit| limit.action == Action::Refuse).map(|limit| limit.says(NUMBERS));
        let property = || {
            let limit = self.rules.properties.get(RETENTION_BYTES).and_then(Said::get)?;
            let might_refuse = limit.action != Action::Warn && limit.rule.one_of.is_some();
            might_refuse.then(|| limit.says(NUMBERS))
        };
        Some(found(Reason::RetentionOutOfBounds, share, bytes.or_else(property)?))
    }
}

const NUMBERS: &str =
    "what it comes to is limited, so partitions and replication factor must be declared beside it";

fn found(reason: Reason, share: DiskShare, expected: String) -> Violation {
    let withholds = [Field::Config(RETENTION_BYTES.to_owned())];
    violation(reason, said(AT, share.to_string(), expected), &withholds)
}
