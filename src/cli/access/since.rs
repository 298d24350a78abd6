use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

/// Since when something is said, as far as Kubernetes keeps it: of each object when it was made, and of each of its fields
/// when whoever set it last changed anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Since {
    /// Not before this: the object was not there. `None`: not known.
    not_before: Option<Timestamp>,
    /// Since this at the latest: nothing of it was changed any more. `None`: not known.
    not_after: Option<Timestamp>,
}

impl Since {
    /// Of an object as a whole.
    pub(super) fn made(meta: &ObjectMeta) -> Self {
        let made = meta.creation_timestamp.as_ref().map(|time| time.0);
        Self { not_before: made, not_after: made }
    }

    /// Of a field, by its path: `["metadata", "annotations", "topic.kafka.nb/consumes"]`.
    pub(super) fn set(meta: &ObjectMeta, path: &[&str]) -> Self {
        let managers = meta.managed_fields.iter().flatten().filter(|entry| {
            let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
            let found = path.iter().try_fold(fields, |at, part| at.map(|at| at.get(format!("f:{part}"))));
            found.flatten().is_some()
        });
        let changed = managers.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max();
        Self { not_after: changed, ..Self::made(meta) }
    }

    /// Of two things that both have to be said.
    pub(super) fn and(self, other: Self) -> Self {
        let both = |one: Option<Timestamp>, two: Option<Timestamp>| Some(one?.max(two?));
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: both(self.not_after, other.not_after),
        }
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.not_before, self.not_after) {
            (Some(one), Some(two)) if one >= two => write!(f, "since {one}"),
            (Some(one), Some(two)) => write!(f, "since {two} at the latest, {one} at the earliest"),
            (Some(one), None) => write!(f, "since {one} at the earliest"),
            (None, Some(two)) => write!(f, "since {two} at the latest"),
            (None, None) => f.write_str("nobody keeps since when"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn meta() -> ObjectMeta {
        let manager = |time: &str, field: &str| {
            json!({
                "manager": "m", "operation": "Update", "time": time, "fieldsType": "FieldsV1",
                "fieldsV1": { "f:metadata": { "f:annotations": { ".": {}, format!("f:{field}"): {} } } },
            })
        };
        serde_json::from_value(json!({
            "creationTimestamp": "2026-11-01T10:00:00Z",
            "managedFields": [
                manager("2026-11-02T10:00:00Z", "topic.kafka.nb/consumes"),
                manager("2026-11-05T10:00:00Z", "deployment.kubernetes.io/revision"),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_field_is_as_old_as_what_its_manager_wrote_last() {
        let path = |key| ["metadata", "annotations", key];
        let consumes = Since::set(&meta(), &path("topic.kafka.nb/consumes"));
        let told = "since 2026-11-02T10:00:00Z at the latest, 2026-11-01T10:00:00Z at the earliest";
        assert_eq!(consumes.to_string(), told);
        let unknown = Since::set(&meta(), &path("topic.kafka.nb/produces"));
        assert_eq!(unknown.to_string(), "since 2026-11-01T10:00:00Z at the earliest");
        assert_eq!(Since::made(&meta()).to_string(), "since 2026-11-01T10:00:00Z");
    }

    #[test]
    fn what_two_have_to_say_is_as_old_as_the_younger_word() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let one = Since { not_before: at(1), not_after: at(5) };
        let two = Since { not_before: at(3), not_after: at(4) };
        assert_eq!(one.and(two), Since { not_before: at(3), not_after: at(5) });
        assert_eq!(one.and(Since { not_before: at(9), not_after: None }).not_after, None);
        assert_eq!(Since::default().to_string(), "nobody keeps since when");
    }
}
