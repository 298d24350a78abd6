use std::fmt;

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;
use topicops_contract::{Grant, TopicObjectKind, Workload, keys::data};

use crate::{
    KafkaTopic,
    access::GrantsMode,
    topic::{TopicGrant, Use},
};

/// What of a topic's owner lets a workload in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "consent")]
pub(in crate::cli) enum Consent {
    /// It is in the owner's namespace.
    SameNamespace,
    Line(GrantLine),
    /// `--grants open`: every workload that asks.
    Open,
}

/// A line of `consumers` or `producers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct GrantLine {
    /// `data key consumers, line 2`, or `spec.consumers[0]`.
    at: String,
    line: String,
}

/// The lines of one object, as its author wrote them. What is no grant is left out: it lets nobody in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct GrantLines {
    consumers: Vec<(GrantLine, Grant)>,
    producers: Vec<(GrantLine, Grant)>,
}

impl Consent {
    /// The first reason that there is; `None` where the owner does not let it in.
    pub(super) fn find(
        workload: &Workload,
        what: Use,
        (owner, lines): (&TopicGrant, &GrantLines),
        mode: GrantsMode,
    ) -> Option<Self> {
        if workload.namespace() == owner.owner.namespace {
            return Some(Self::SameNamespace);
        }
        let lines = match what {
            Use::Consume => &lines.consumers,
            Use::Produce => &lines.producers,
        };
        let line = lines.iter().find(|(_, grant)| grant.covers(workload)).map(|(line, _)| line.clone());
        line.map(Self::Line).or_else(|| (mode == GrantsMode::Open).then_some(Self::Open))
    }
}

impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameNamespace => f.write_str("same namespace"),
            Self::Line(GrantLine { at, line }) => write!(f, "{at}: \"{line}\""),
            Self::Open => f.write_str("--grants open"),
        }
    }
}

impl From<&ConfigMap> for GrantLines {
    fn from(object: &ConfigMap) -> Self {
        let of = |key: &str| {
            let text = object.data.as_ref().and_then(|data| data.get(key)).map_or("", String::as_str);
            let at = |number: usize| format!("data key {key}, line {}", number + 1);
            grants(text.lines().map(str::to_owned), at)
        };
        Self { consumers: of(data::CONSUMERS), producers: of(data::PRODUCERS) }
    }
}

impl From<&KafkaTopic> for GrantLines {
    fn from(object: &KafkaTopic) -> Self {
        let of = |key: &str| {
            let entries = object.spec.get(key).and_then(serde_json::Value::as_array);
            let lines = entries.into_iter().flatten().map(|entry| entry.as_str().unwrap_or("").to_owned());
            let field = TopicObjectKind::KafkaTopic.field(key).into_owned();
            grants(lines, |index| format!("{field}[{index}]"))
        };
        Self { consumers: of(data::CONSUMERS), producers: of(data::PRODUCERS) }
    }
}

fn grants(lines: impl Iterator<Item = String>, at: impl Fn(usize) -> String) -> Vec<(GrantLine, Grant)> {
    let read = lines.enumerate().filter_map(|(index, line)| {
        let line = line.trim().to_owned();
        let grant = line.parse().ok()?;
        Some((GrantLine { at: at(index), line }, grant))
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde_json::json;

    use super::*;
    use crate::{access::testing::workload, topic::TopicObjectKey};

    fn owner(lines: &[&str]) -> TopicGrant {
        TopicGrant {
            owner: TopicObjectKey::config_map("shop", "orders"),
            consumers: lines.iter().map(|line| line.parse().unwrap()).collect(),
            producers: Vec::new(),
        }
    }

    #[test]
    fn a_line_is_named_as_its_author_counts_and_comments_count_too() {
        let text = "# who reads\n\nbilling/*\n  shipping/packer\nnonsense\n*/packer\n";
        let data = BTreeMap::from([("consumers".to_owned(), text.to_owned())]);
        let lines = GrantLines::from(&ConfigMap { data: Some(data), ..ConfigMap::default() });
        let spec = json!({ "consumers": ["billing/*", "shipping/packer"] });
        let custom = GrantLines::from(&KafkaTopic::new(ObjectMeta::default(), spec));
        let owner = owner(&["billing/*", "shipping/packer", "*/packer"]);
        let of = |who: &str, what, lines: &GrantLines, mode| {
            let found = Consent::find(&workload(who), what, (&owner, lines), mode);
            found.map(|consent| consent.to_string())
        };
        let told = |who, what, mode| of(who, what, &lines, mode);
        let named = GrantsMode::Namespace;
        for (who, expected) in [
            ("shop/any", Some("same namespace")),
            ("billing/any", Some("data key consumers, line 3: \"billing/*\"")),
            ("shipping/packer", Some("data key consumers, line 4: \"shipping/packer\"")),
            ("other/packer", Some("data key consumers, line 6: \"*/packer\"")),
            ("shipping/other", None),
        ] {
            assert_eq!(told(who, Use::Consume, named).as_deref(), expected, "{who}");
        }
        assert_eq!(told("shipping/packer", Use::Produce, named), None);
        assert_eq!(told("x/y", Use::Produce, GrantsMode::Open).as_deref(), Some("--grants open"));
        let in_custom = of("shipping/packer", Use::Consume, &custom, named);
        assert_eq!(in_custom.as_deref(), Some("spec.consumers[1]: \"shipping/packer\""));
    }
}
