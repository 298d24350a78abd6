use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Problem;

/// The kinds of workload that can be given credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    /// A Pod that no controller made.
    Pod,
}

impl WorkloadKind {
    pub const ALL: [Self; 6] =
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::Job, Self::CronJob, Self::Pod];

    /// The kind as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::Pod => "Pod",
        }
    }

    /// The API group, empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps",
            Self::Job | Self::CronJob => "batch",
            Self::Pod => "",
        }
    }

    pub fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps/v1",
            Self::Job | Self::CronJob => "batch/v1",
            Self::Pod => "v1",
        }
    }

    /// Whether the pod spec can be changed once the object is there.
    pub fn is_mutable(self) -> bool {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::CronJob => true,
            Self::Job | Self::Pod => false,
        }
    }

    /// Whether an object of this kind that belongs to one of `owner`'s kind is a part of that one, and no workload of its own: a
    /// Job of a CronJob, and a Pod of anything whose `controller` made it. (A Deployment of somebody's custom resource is one of
    /// its own.) Of a Job that somebody made from a CronJob by hand, not every tool says that it is controlled.
    pub fn is_part_of(self, owner: &str, controller: bool) -> bool {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::CronJob => false,
            Self::Job => owner == Self::CronJob.as_str(),
            Self::Pod => controller,
        }
    }

    /// Where the template of its Pods stands, likewise; a Pod is its own.
    pub fn pod_template_path(self) -> &'static [&'static str] {
        let path = self.pod_spec_path();
        &path[..path.len() - 1]
    }

    /// Where the spec of its Pods stands in the object, as JSON field names.
    pub fn pod_spec_path(self) -> &'static [&'static str] {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::Job => {
                &["spec", "template", "spec"]
            }
            Self::CronJob => &["spec", "jobTemplate", "spec", "template", "spec"],
            Self::Pod => &["spec"],
        }
    }
}

impl FromStr for WorkloadKind {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            Problem::new("kind", text, "one of Deployment, StatefulSet, DaemonSet, Job, CronJob, Pod")
        })
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_of_display_is_identity_for_every_kind() {
        for kind in WorkloadKind::ALL {
            assert_eq!(kind.to_string().parse::<WorkloadKind>().unwrap(), kind);
        }
    }
}
