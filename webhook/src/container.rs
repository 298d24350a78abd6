//! One container: what is wanted in it, against what is there.

use std::{borrow::Cow, sync::LazyLock};

use serde_json::json;
use topicops_contract::{Problem, Problems, keys::injected};

use crate::{
    patch::{ListPatch, Patch},
    variables::VARIABLES,
    workload_object::{Container, Mount, Variable},
};

const ROOT_VARIABLE: &str = "SERVICE_BINDING_ROOT";
const OPTIONS_VARIABLE: &str = "KAFKA_OPTS";
/// What `KAFKA_OPTS` says, up to the path.
const OPTIONS: &str = "-Djava.security.auth.login.config=";

static DEFAULT_MOUNT_PATH: LazyLock<String> =
    LazyLock::new(|| format!("{}/{}", injected::BINDING_ROOT, injected::BINDING_NAME));

/// What one container is to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) files: bool,
    pub(crate) env: bool,
    pub(crate) secret_name: &'a str,
    /// Secrets that are, or were, this workload's: a variable that refers to one of them is ours.
    pub(crate) our_secrets: &'a [&'a str],
    /// No mount of our volume can stay, because the volume goes.
    pub(crate) volume_goes: bool,
}

/// How a container is named to people, and reached in the object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) container: &'a Container<'a>,
    /// A JSON pointer to the pod spec that holds it.
    pub(crate) pod: &'a str,
    /// `containers` or `initContainers`.
    pub(crate) list: &'static str,
    pub(crate) index: usize,
}

impl Place<'_> {
    /// A JSON pointer to a field of the container.
    fn pointer(&self, field: &str) -> String {
        format!("{}/{}/{}/{field}", self.pod, self.list, self.index)
    }

    /// The container as people write it, such as `spec.template.spec.containers[0]`.
    fn field(&self) -> String {
        format!("{}.{}[{}]", self.pod.trim_start_matches('/').replace('/', "."), self.list, self.index)
    }
}

/// What came of a container besides operations.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Problems,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn adjust(place: Place<'_>, wanted: Wanted<'_>, patch: &mut Patch, findings: &mut Findings) {
    let container = place.container;
    let variables = container.env.as_deref().unwrap_or_default();
    let mounts = mounts_of(place);
    let root = Root::of(variables);
    let mount_path = root.mount_path();

    let mut mount_list = ListPatch::new(place.pointer("volumeMounts"), container.volume_mounts.as_ref());
    if wanted.files {
        add_mount(place, mounts, &mount_path, &mut mount_list, findings);
    } else {
        for (index, mount) in mounts.iter().enumerate() {
            let goes = if wanted.volume_goes { is_of_our_volume(mount) } else { is_our_mount(mount) };
            if goes {
                mount_list.remove(index);
            }
        }
    }
    mount_list.finish(patch);

    let mut list = ListPatch::new(place.pointer("env"), container.env.as_ref());
    if wanted.files {
        add_root(place, &root, &mut list, findings);
        add_options(place, variables, &mount_path, &mut list, findings);
    } else {
        if let Root::Ours(index) = root {
            list.remove(index);
        }
        for (index, variable) in named(variables, OPTIONS_VARIABLE) {
            if variable.literal().is_some_and(|value| are_our_options(value, &mount_path, mounts)) {
                list.remove(index);
            }
        }
    }
    adjust_variables(place, variables, wanted, &mut list, findings);
    list.finish(patch);
}

fn add_mount(
    place: Place<'_>,
    mounts: &[Mount<'_>],
    mount_path: &str,
    list: &mut ListPatch,
    findings: &mut Findings,
) {
    let mut there = false;
    for (index, mount) in mounts.iter().enumerate() {
        let here = trimmed(&mount.mount_path) == mount_path;
        if here && is_of_our_volume(mount) && is_whole(mount) && !there {
            there = true;
            if mount.read_only != Some(true) {
                list.set(index, "readOnly", json!(true));
            }
        } else if here {
            findings.problems.push(Problem::new(
                format!("{}.volumeMounts[{index}].mountPath", place.field()),
                &*mount.mount_path,
                format!(
                    "is where topicops mounts the whole volume {}; mount {} of container {} elsewhere",
                    injected::VOLUME,
                    &*mount.name,
                    &*place.container.name
                ),
            ));
        } else if is_our_mount(mount) {
            list.remove(index);
        }
    }
    if !there {
        list.push(json!({ "name": injected::VOLUME, "mountPath": mount_path, "readOnly": true }));
    }
}

fn add_root(place: Place<'_>, root: &Root, list: &mut ListPatch, findings: &mut Findings) {
    match root {
        Root::Unset => list.push(json!({ "name": ROOT_VARIABLE, "value": injected::BINDING_ROOT })),
        Root::Unknowable => findings.warnings.push(format!(
            "container {:?}: topicops cannot tell what its {ROOT_VARIABLE} will be, so the credentials are mounted at {}",
            &*place.container.name,
            *DEFAULT_MOUNT_PATH
        )),
        Root::Ours(_) | Root::Theirs(_) => {}
    }
}

fn add_options(
    place: Place<'_>,
    variables: &[Variable<'_>],
    mount_path: &str,
    list: &mut ListPatch,
    findings: &mut Findings,
) {
    let options = options_for(mount_path);
    // Of several with one name, the last one counts.
    match named(variables, OPTIONS_VARIABLE).last() {
        None => list.push(json!({ "name": OPTIONS_VARIABLE, "value": options })),
        Some((index, variable)) => match variable.literal() {
            Some(value) if value == options => {}
            Some(value) if are_our_options(value, mount_path, mounts_of(place)) => {
                list.replace(index, "value", json!(options));
            }
            Some(value) if value.split_whitespace().any(|option| option == options) => {}
            _ => findings.warnings.push(format!(
                "container {:?} sets {OPTIONS_VARIABLE} itself; a Java client that logs in by JAAS file needs in it: {options}",
                &*place.container.name
            )),
        },
    }
}

fn adjust_variables(
    place: Place<'_>,
    variables: &[Variable<'_>],
    wanted: Wanted<'_>,
    list: &mut ListPatch,
    findings: &mut Findings,
) {
    let mut theirs = Vec::new();
    for (name, key) in VARIABLES {
        let is_ours = |variable: &Variable<'_>| {
            variable
                .secret_key()
                .is_some_and(|(secret, of)| of == key && wanted.our_secrets.contains(&secret))
        };
        if !wanted.env {
            let ours = named(variables, name).filter(|(_, variable)| is_ours(variable));
            ours.for_each(|(index, _)| list.remove(index));
            continue;
        }
        match named(variables, name).last() {
            None => list.push(json!({
                "name": name,
                "valueFrom": { "secretKeyRef": { "name": wanted.secret_name, "key": key } },
            })),
            Some((index, variable)) if is_ours(variable) => {
                if variable.secret_key().is_some_and(|(secret, _)| secret != wanted.secret_name) {
                    list.replace(index, "valueFrom/secretKeyRef/name", json!(wanted.secret_name));
                }
            }
            Some(_) => theirs.push(name),
        }
    }
    if !theirs.is_empty() {
        findings.warnings.push(format!(
            "container {:?} sets {} itself; topicops leaves that as it is",
            &*place.container.name,
            theirs.join(", ")
        ));
    }
}

/// Where a container looks for bindings.
enum Root {
    Unset,
    /// Our own value, at this index.
    Ours(usize),
    /// An absolute path without a slash at its end.
    Theirs(String),
    /// From a reference, or made of other variables, or no absolute path.
    Unknowable,
}

impl Root {
    fn of(variables: &[Variable<'_>]) -> Self {
        let Some((index, variable)) = named(variables, ROOT_VARIABLE).last() else { return Self::Unset };
        match variable.literal() {
            Some(injected::BINDING_ROOT) => Self::Ours(index),
            Some(path) if path.starts_with('/') && !path.contains("$(") => {
                Self::Theirs(trimmed(path).to_owned())
            }
            _ => Self::Unknowable,
        }
    }

    fn mount_path(&self) -> Cow<'static, str> {
        match self {
            Self::Theirs(root) => Cow::Owned(format!("{root}/{}", injected::BINDING_NAME)),
            Self::Unset | Self::Ours(_) | Self::Unknowable => Cow::Borrowed(&DEFAULT_MOUNT_PATH),
        }
    }
}

fn options_for(mount_path: &str) -> String {
    format!("{OPTIONS}{mount_path}/{}", injected::JAAS_FILE)
}

/// Whether `KAFKA_OPTS` is ours: it points to where our mount is, or was before the root moved.
fn are_our_options(value: &str, mount_path: &str, mounts: &[Mount<'_>]) -> bool {
    let before = mounts.iter().filter(|mount| is_our_mount(mount)).map(|mount| &*mount.mount_path);
    [mount_path, &DEFAULT_MOUNT_PATH].into_iter().chain(before).any(|path| {
        value
            .strip_prefix(OPTIONS)
            .and_then(|rest| rest.strip_prefix(path)?.strip_prefix('/'))
            .is_some_and(|file| file == injected::JAAS_FILE)
    })
}

fn mounts_of<'p>(place: Place<'p>) -> &'p [Mount<'p>] {
    place.container.volume_mounts.as_deref().unwrap_or_default()
}

fn named<'v, 'a>(
    variables: &'v [Variable<'a>],
    name: &str,
) -> impl DoubleEndedIterator<Item = (usize, &'v Variable<'a>)> {
    variables.iter().enumerate().filter(move |(_, variable)| &*variable.name == name)
}

fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}

fn is_of_our_volume(mount: &Mount<'_>) -> bool {
    &*mount.name == injected::VOLUME
}

fn is_whole(mount: &Mount<'_>) -> bool {
    let none = |path: Option<&str>| path.is_none_or(str::is_empty);
    none(mount.sub_path.as_deref()) && none(mount.sub_path_expr.as_deref())
}

/// As we mount it. A container may mount the volume in another manner as well; that is its own affair.
fn is_our_mount(mount: &Mount<'_>) -> bool {
    is_of_our_volume(mount)
        && is_whole(mount)
        && mount.read_only == Some(true)
        && mount.mount_path.strip_suffix(injected::BINDING_NAME).is_some_and(|root| root.ends_with('/'))
}

impl Variable<'_> {
    /// Its value, when it is written there and not taken from elsewhere.
    fn literal(&self) -> Option<&str> {
        match &self.value_from {
            Some(_) => None,
            None => Some(self.value.as_deref().unwrap_or_default()),
        }
    }

    /// Name and key of the Secret that it is taken from.
    fn secret_key(&self) -> Option<(&str, &str)> {
        let key = self.value_from.as_ref()?.secret_key_ref.as_ref()?;
        Some((&key.name, &key.key))
    }
}
