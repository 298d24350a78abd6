use std::{collections::BTreeSet, fmt};

use k8s_openapi::api::{
    authorization::v1::ResourceAttributes,
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use serde::Deserialize;

/// What is given here is what is looked for.
const ALL: Manifest = Manifest {
    file: "deploy/install/20-rbac.yaml",
    text: include_str!("../../../deploy/install/20-rbac.yaml"),
    roles: &[ROLE],
    each: false,
};
/// The same for a topicops that looks after some namespaces only.
const SOME: Manifest = Manifest {
    file: "deploy/namespaced/20-rbac.yaml",
    text: include_str!("../../../deploy/namespaced/20-rbac.yaml"),
    roles: &[ROLE, "topicops-namespaced"],
    each: false,
};
/// What it has in each of them.
const EACH: Manifest = Manifest {
    file: "deploy/namespaced/namespace.yaml",
    text: include_str!("../../../deploy/namespaced/namespace.yaml"),
    roles: &["topicops-namespace"],
    each: true,
};
/// What roles and the objects that they name are called after.
const ROLE: &str = "topicops";

/// A file with rights.
struct Manifest {
    /// In the repository.
    file: &'static str,
    text: &'static str,
    /// Those of the role and the cluster role that topicops has; the others in there are for people.
    roles: &'static [&'static str],
    /// It is for any namespace, and told which one.
    each: bool,
}

/// What topicops may do with one kind of object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KubernetesRight {
    pub(super) group: String,
    /// `secrets`, or `kafkatopics/status`.
    pub(super) resource: String,
    /// The one object of that name; `None`: all of them.
    pub(super) name: Option<String>,
    /// `None`: all of them, or it has none.
    pub(super) namespace: Option<String>,
    pub(super) verbs: BTreeSet<String>,
    /// What gives it.
    pub(super) apply: String,
}

/// What the manifests call otherwise than this installation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    pub(super) operator: &'a str,
    pub(super) namespace: &'a str,
    pub(super) webhook_configurations: &'a [String],
    /// Those that are looked after; none: all.
    pub(super) namespaces: &'a [String],
}

impl KubernetesRight {
    /// All that topicops needs, under the names of one installation. Errors: a manifest that is none.
    pub(super) fn all(names: Names<'_>) -> Result<Vec<Self>, serde_norway::Error> {
        let mut rights = Vec::new();
        if names.namespaces.is_empty() {
            rights.extend(ALL.rights(names.namespace, names)?);
        } else {
            rights.extend(SOME.rights(names.namespace, names)?);
            for namespace in names.namespaces {
                rights.extend(EACH.rights(namespace, names)?);
            }
        }
        rights.sort();
        Ok(rights)
    }

    fn of(rule: &PolicyRule, namespace: Option<&str>, apply: &str, names: Names<'_>) -> Vec<Self> {
        let verbs: BTreeSet<String> = rule.verbs.iter().cloned().collect();
        let mut rights = Vec::new();
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let mut of = |name: Option<String>| {
                    rights.push(Self {
                        group: group.clone(),
                        resource: resource.clone(),
                        name,
                        namespace: namespace.map(str::to_owned),
                        verbs: verbs.clone(),
                        apply: apply.to_owned(),
                    });
                };
                match rule.resource_names.as_deref() {
                    None | Some([]) => of(None),
                    Some(named) => {
                        let named = named.iter().flat_map(|name| names.of(group, name));
                        named.map(Some).for_each(of);
                    }
                }
            }
        }
        rights
    }

    /// What is asked about one verb of it.
    pub(super) fn attributes(&self, verb: &str) -> ResourceAttributes {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (self.resource.as_str(), None),
        };
        ResourceAttributes {
            group: Some(self.group.clone()),
            resource: Some(resource.to_owned()),
            subresource,
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        }
    }
}

impl Manifest {
    /// Its roles are in `namespace`; those of the cluster are in none.
    fn rights(&self, namespace: &str, names: Names<'_>) -> Result<Vec<KubernetesRight>, serde_norway::Error> {
        let into = if self.each { format!("--namespace {namespace} ") } else { String::new() };
        let apply = format!("kubectl {into}apply -f {}", self.file);
        let mut rights = Vec::new();
        for document in serde_norway::Deserializer::from_str(self.text) {
            let object = serde_norway::Value::deserialize(document)?;
            let own = object["metadata"]["name"].as_str().is_some_and(|name| self.roles.contains(&name));
            let (rules, namespace) = match object["kind"].as_str() {
                Some("ClusterRole") if own => (serde_norway::from_value::<ClusterRole>(object)?.rules, None),
                Some("Role") if own => (serde_norway::from_value::<Role>(object)?.rules, Some(namespace)),
                _ => continue,
            };
            for rule in rules.into_iter().flatten() {
                rights.extend(KubernetesRight::of(&rule, namespace, &apply, names));
            }
        }
        Ok(rights)
    }
}

impl Names<'_> {
    /// What an object that the manifest names is called here.
    fn of(self, group: &str, name: &str) -> Vec<String> {
        if group == "admissionregistration.k8s.io" {
            return self.webhook_configurations.to_vec();
        }
        let rest = name.strip_prefix(ROLE).unwrap_or(name);
        vec![format!("{}{rest}", self.operator)]
    }
}

impl fmt::Display for KubernetesRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, " \"{name}\"")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(operator: &str, webhooks: &[String]) -> Vec<KubernetesRight> {
        let names = Names { operator, namespace: "kafka", webhook_configurations: webhooks, namespaces: &[] };
        KubernetesRight::all(names).unwrap()
    }

    #[test]
    fn what_the_manifest_gives_is_what_is_looked_for() {
        let shown = |operator: &str| -> Vec<String> {
            let rights = rights(operator, &["hooks".to_owned()]);
            rights
                .iter()
                .map(|right| {
                    format!("{right}: {}", right.verbs.iter().cloned().collect::<Vec<_>>().join(" "))
                })
                .collect()
        };
        let ours = shown("second");
        for right in [
            "secrets: create delete get list update watch",
            "configmaps in namespace kafka: create update",
            "leases.coordination.k8s.io \"second\" in namespace kafka: get update",
            "secrets \"second-ca\" in namespace kafka: get list update watch",
            "kafkatopics/status.topic.kafka.nb: patch",
            "mutatingwebhookconfigurations.admissionregistration.k8s.io \"hooks\": get list patch watch",
        ] {
            assert!(ours.contains(&right.to_owned()), "{right} is not in {ours:#?}");
        }
        assert!(!ours.iter().any(|right| right.contains("deletecollection")), "that role is for people");
    }

    #[test]
    fn for_some_namespaces_nothing_is_looked_for_in_all_of_them_that_one_alone_needs() {
        let names = Names {
            operator: "topicops",
            namespace: "kafka",
            webhook_configurations: &["topicops".to_owned()],
            namespaces: &["shop".to_owned(), "shipping".to_owned()],
        };
        let rights = KubernetesRight::all(names).unwrap();
        for namespace in ["shop", "shipping"] {
            let secrets =
                rights.iter().find(|right| right.to_string() == format!("secrets in namespace {namespace}"));
            let apply = format!("kubectl --namespace {namespace} apply -f deploy/namespaced/namespace.yaml");
            assert_eq!(secrets.unwrap().apply, apply);
        }
        let all: BTreeSet<&str> = rights
            .iter()
            .filter(|right| right.namespace.is_none())
            .map(|right| right.resource.as_str())
            .collect();
        let few = ["mutatingwebhookconfigurations", "namespaces", "validatingwebhookconfigurations"];
        assert_eq!(all, BTreeSet::from(few));
        let own = rights.iter().find(|right| right.namespace.as_deref() == Some("kafka")).unwrap();
        assert_eq!(own.apply, "kubectl apply -f deploy/namespaced/20-rbac.yaml");
    }

    #[test]
    fn a_subresource_is_asked_for_as_one() {
        let rights = rights("topicops", &["topicops".to_owned()]);
        let status = rights.iter().find(|right| right.resource == "kafkatopics/status").unwrap();
        let asked = status.attributes("patch");
        assert_eq!(
            (asked.resource.as_deref(), asked.subresource.as_deref()),
            (Some("kafkatopics"), Some("status"))
        );
        assert_eq!((asked.verb.as_deref(), asked.namespace), (Some("patch"), None));
    }
}
