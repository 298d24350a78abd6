use std::fmt;

use crate::{NamePattern, OperatorId, WorkloadKind};

/// A workload: its namespace, kind and name. Everything that access is made of follows from these three.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    namespace: String,
    kind: WorkloadKind,
    name: String,
}

impl Workload {
    pub fn new(namespace: impl Into<String>, kind: WorkloadKind, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), kind, name: name.into() }
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn kind(&self) -> WorkloadKind {
        self.kind
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Kafka user name: `<operator-id>.<namespace>.<workload>` for a Deployment, with `_<kind>` appended for the
    /// others. Operator ids and namespaces hold no dot and no Kubernetes name holds an underscore, so two workloads never
    /// share one.
    pub fn username(&self, operator: &OperatorId) -> String {
        let base = format!("{operator}.{}.{}", self.namespace, self.name);
        match self.kind {
            WorkloadKind::Deployment => base,
            kind => format!("{base}_{}", kind.as_str().to_ascii_lowercase()),
        }
    }

    /// The group a client uses when it names none: `<namespace>.<workload>`.
    pub fn default_group(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// The groups that are this workload's without asking: the default group, and all that begin with it and `_`.
    pub fn own_groups(&self) -> [NamePattern; 2] {
        let group = self.default_group();
        [NamePattern::Prefix(format!("{group}_")), NamePattern::Literal(group)]
    }

    /// The name of the Secret when no annotation names one.
    pub fn default_secret_name(&self) -> String {
        format!("{}-kafka-credentials", self.name)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn any_workload() -> impl Strategy<Value = Workload> {
        (
            "[a-z]([a-z-]{0,3}[a-z])?",
            proptest::sample::select(&WorkloadKind::ALL),
            "[a-z]([a-z.-]{0,4}[a-z])?",
        )
            .prop_map(|(namespace, kind, name)| Workload::new(namespace, kind, name))
    }

    proptest! {
        #[test]
        fn user_names_never_collide(workloads in proptest::collection::vec(any_workload(), 1..40)) {
            let mut seen: BTreeMap<String, Workload> = BTreeMap::new();
            for workload in workloads {
                let username = workload.username(&OperatorId::default());
                if let Some(other) = seen.insert(username, workload.clone()) {
                    prop_assert_eq!(other, workload);
                }
            }
        }

        #[test]
        fn the_kinds_of_one_name_are_told_apart_by_the_end_of_their_user_names(workload in any_workload()) {
            let operator = OperatorId::default();
            let of = |kind| Workload::new(workload.namespace(), kind, workload.name()).username(&operator);
            let base = of(WorkloadKind::Deployment);
            for kind in WorkloadKind::ALL.into_iter().filter(|kind| *kind != WorkloadKind::Deployment) {
                let expected = format!("{base}_{}", kind.as_str().to_ascii_lowercase());
                prop_assert_eq!(of(kind), expected);
            }
        }
    }
}
