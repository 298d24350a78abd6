//! The parts of a workload that matter here. Unknown fields are skipped, `null` and absent are the same.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess},
};
use topicops_contract::{
    WorkloadKind,
    keys::{self, injected},
};

use crate::text::Text;

/// Metadata alone: all that is needed of an object that is not to be changed.
#[derive(Debug, Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow, default)]
    pub(crate) metadata: Metadata<'a>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WorkloadObject<'a> {
    #[serde(borrow, default)]
    pub(crate) metadata: Metadata<'a>,
    #[serde(borrow, default)]
    spec: Option<Spec<'a>>,
}

#[derive(Debug, Deserialize)]
struct PodObject<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    spec: Option<PodSpec<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata<'a> {
    #[serde(borrow, default)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) generate_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) deletion_timestamp: Option<Text<'a>>,
    #[serde(default)]
    labels: Option<Labelled>,
    #[serde(default)]
    annotations: Option<OurAnnotations>,
    #[serde(borrow, default)]
    owner_references: Option<Vec<Owner<'a>>>,
}

#[derive(Debug, Deserialize)]
struct Owner<'a> {
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(default)]
    controller: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow, default)]
    template: Option<Template<'a>>,
    #[serde(borrow, default)]
    job_template: Option<JobTemplate<'a>>,
}

#[derive(Debug, Deserialize)]
struct JobTemplate<'a> {
    #[serde(borrow, default)]
    spec: Option<JobSpec<'a>>,
}

#[derive(Debug, Deserialize)]
struct JobSpec<'a> {
    #[serde(borrow, default)]
    template: Option<Template<'a>>,
}

#[derive(Debug, Deserialize)]
struct Template<'a> {
    #[serde(default)]
    metadata: Option<TemplateMetadata>,
    #[serde(borrow, default)]
    spec: Option<PodSpec<'a>>,
}

#[derive(Debug, Deserialize)]
struct TemplateMetadata {
    #[serde(default)]
    annotations: Option<OurAnnotations>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec<'a> {
    #[serde(borrow, default)]
    pub(crate) init_containers: Option<Vec<Container<'a>>>,
    #[serde(borrow, default)]
    pub(crate) containers: Option<Vec<Container<'a>>>,
    #[serde(borrow, default)]
    pub(crate) volumes: Option<Vec<Volume<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container<'a> {
    #[serde(borrow, default)]
    pub(crate) name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) env: Option<Vec<Variable<'a>>>,
    #[serde(borrow, default)]
    pub(crate) volume_mounts: Option<Vec<Mount<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variable<'a> {
    #[serde(borrow, default)]
    pub(crate) name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) value: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) value_from: Option<ValueFrom<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ValueFrom<'a> {
    #[serde(borrow, default)]
    pub(crate) secret_key_ref: Option<SecretKey<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SecretKey<'a> {
    #[serde(borrow, default)]
    pub(crate) name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) key: Text<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mount<'a> {
    #[serde(borrow, default)]
    pub(crate) name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) mount_path: Text<'a>,
    #[serde(default)]
    pub(crate) read_only: Option<bool>,
    #[serde(borrow, default)]
    pub(crate) sub_path: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) sub_path_expr: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Volume<'a> {
    #[serde(borrow, default)]
    pub(crate) name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) secret: Option<SecretSource<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecretSource<'a> {
    #[serde(borrow, default)]
    pub(crate) secret_name: Option<Text<'a>>,
    #[serde(default)]
    pub(crate) optional: Option<bool>,
}

impl<'a> WorkloadObject<'a> {
    /// Reads an object of a kind. A Pod is its own template.
    pub(crate) fn read(kind: WorkloadKind, text: &'a str) -> serde_json::Result<Self> {
        if kind != WorkloadKind::Pod {
            return serde_json::from_str(text);
        }
        let PodObject { metadata, spec } = serde_json::from_str(text)?;
        let template = Template { metadata: None, spec };
        Ok(Self { metadata, spec: Some(Spec { template: Some(template), job_template: None }) })
    }

    /// The pod template's spec, where `kind` has it.
    pub(crate) fn pod_spec(&self, kind: WorkloadKind) -> Option<&PodSpec<'a>> {
        self.template(kind)?.spec.as_ref()
    }

    /// Whether its Pods are said to have the credentials of some user.
    pub(crate) fn is_stamped(&self, kind: WorkloadKind) -> bool {
        if kind == WorkloadKind::Pod {
            return self.metadata.annotations().contains_key(injected::CREDENTIALS);
        }
        let metadata = self.template(kind).and_then(|template| template.metadata.as_ref());
        let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
        annotations.is_some_and(|annotations| annotations.0.contains_key(injected::CREDENTIALS))
    }

    fn template(&self, kind: WorkloadKind) -> Option<&Template<'a>> {
        let spec = self.spec.as_ref()?;
        match kind {
            WorkloadKind::CronJob => spec.job_template.as_ref()?.spec.as_ref()?.template.as_ref(),
            WorkloadKind::Deployment
            | WorkloadKind::StatefulSet
            | WorkloadKind::DaemonSet
            | WorkloadKind::Job
            | WorkloadKind::Pod => spec.template.as_ref(),
        }
    }
}

impl PodSpec<'_> {
    /// Init containers, then containers, each list with its field name.
    pub(crate) fn lists(&self) -> [(&'static str, &[Container<'_>]); 2] {
        [
            ("initContainers", self.init_containers.as_deref().unwrap_or_default()),
            ("containers", self.containers.as_deref().unwrap_or_default()),
        ]
    }
}

impl Metadata<'_> {
    /// Whether the label asks for credentials.
    pub(crate) fn is_labelled(&self) -> bool {
        self.labels.as_ref().is_some_and(|labels| labels.0)
    }

    /// Whether the object was made for another one, whose part it is.
    pub(crate) fn is_part_of_another(&self, kind: WorkloadKind) -> bool {
        let mut owners = self.owner_references.iter().flatten();
        owners.any(|owner| kind.is_part_of(&owner.kind, owner.controller == Some(true)))
    }

    /// The annotations of ours. The others (a last applied configuration, for instance, which is long) are not kept.
    pub(crate) fn annotations(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.annotations.as_ref().map_or(&NONE, |annotations| &annotations.0)
    }
}

/// Of the labels, whether ours is among them.
#[derive(Debug, Default)]
struct Labelled(bool);

impl<'de> Deserialize<'de> for Labelled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut labelled = false;
        deserializer.deserialize_map(Entries(|key: &str, value: &str| {
            labelled |= key == keys::INJECT_LABEL && value == keys::INJECT_LABEL_VALUE;
        }))?;
        Ok(Self(labelled))
    }
}

#[derive(Debug, Default)]
struct OurAnnotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for OurAnnotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut ours = BTreeMap::new();
        deserializer.deserialize_map(Entries(|key: &str, value: &str| {
            ours.insert(key.to_owned(), value.to_owned());
        }))?;
        Ok(Self(ours))
    }
}

/// Calls back for each entry with a key that may be ours, and skips the others unread.
struct Entries<F>(F);

impl<'de, F: FnMut(&str, &str)> de::Visitor<'de> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'de>>()? {
            if key.starts_with(keys::ANNOTATION_PREFIX) || &*key == keys::INJECT_LABEL {
                let value = map.next_value::<Option<Text<'de>>>()?.unwrap_or_default();
                (self.0)(&key, &value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}
