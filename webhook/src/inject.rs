//! The pod template: what a request wants in it, against what is there.
//!
//! # Guarantee
//! Applied to its own result the patch is empty. Without a request it takes out all of ours. What others put there keeps its
//! content and its order.
//!
//! # What is ours
//! The Secret volume `kafka-credentials` (the name is reserved by the contract; a volume of that name from another source is
//! a conflict); mounts of it as we write them, and all mounts of it once the volume goes, because a pod with a mount of no
//! volume is refused; `SERVICE_BINDING_ROOT` and `KAFKA_OPTS` with exactly our value; the variables of [`crate::variables`]
//! that refer to a Secret that is or was this workload's. Of the template's annotations the one that says whose credentials its
//! Pods have; the controller writes it, and nothing here does.

use std::collections::BTreeSet;

use serde_json::json;
use topicops_contract::{
    ClientRequest, Problem, Problems, WorkloadKind,
    keys::{client, injected},
};

use crate::{
    container::{Findings, Place, Wanted, adjust},
    patch::{ListPatch, Patch},
    workload_object::{PodSpec, Volume},
};

/// What is to be done to a pod template, and what is to be said about it.
#[derive(Debug, Default)]
pub(crate) struct Injection {
    pub(crate) patch: Patch,
    pub(crate) warnings: Vec<String>,
}

/// Decides what to change in the pod template of an object of `kind`.
///
/// `request`: what the workload asks for; `None` takes all of ours out. `our_secrets`: names that its Secret has or had.
///
/// # Errors
/// All conflicts at once. Without a request there are none.
pub(crate) fn inject(
    pod: &PodSpec<'_>,
    kind: WorkloadKind,
    request: Option<&ClientRequest>,
    our_secrets: &[&str],
) -> Result<Injection, Problems> {
    let mut injection = Injection::default();
    let mut findings = Findings::default();
    let pointer = format!("/{}", kind.pod_spec_path().join("/"));

    let request = request.filter(|request| request.inject.files || request.inject.env);
    if let Some(chosen) = request.and_then(|request| request.containers.as_ref()) {
        check_containers(pod, chosen, &mut findings.problems);
    }
    let files = request.filter(|request| request.inject.files);
    let volume = pod.volumes.iter().flatten().position(|volume| &*volume.name == injected::VOLUME);
    let there = volume.and_then(|index| pod.volumes.as_ref()?.get(index).map(|volume| (index, volume)));
    let foreign = there.is_some_and(|(_, volume)| volume.secret.is_none());

    let mut volumes = ListPatch::new(format!("{pointer}/volumes"), pod.volumes.as_ref());
    match (files, there) {
        (Some(request), None) => volumes.push(json!({
            "name": injected::VOLUME,
            "secret": { "secretName": request.secret_name },
        })),
        (Some(request), Some((index, volume))) => {
            adjust_volume(kind, index, volume, &request.secret_name, &mut volumes, &mut findings.problems);
        }
        (None, Some((index, _))) if !foreign => volumes.remove(index),
        (None, _) => {}
    }
    volumes.finish(&mut injection.patch);

    let mut known: Vec<&str> = our_secrets.to_vec();
    known.extend(there.and_then(|(_, volume)| volume.secret.as_ref()?.secret_name.as_deref()));
    known.extend(request.map(|request| request.secret_name.as_str()));
    for (list, containers) in pod.lists() {
        for (index, container) in containers.iter().enumerate() {
            let chosen = request.filter(|request| {
                request.containers.as_ref().is_none_or(|names| names.contains(&*container.name))
            });
            let wanted = Wanted {
                files: chosen.is_some_and(|request| request.inject.files),
                env: chosen.is_some_and(|request| request.inject.env),
                secret_name: chosen.map_or("", |request| &request.secret_name),
                our_secrets: &known,
                volume_goes: files.is_none() && there.is_some() && !foreign,
            };
            let place = Place { container, pod: &pointer, list, index };
            adjust(place, wanted, &mut injection.patch, &mut findings);
        }
    }
    injection.warnings = findings.warnings;
    findings.problems.into_result(injection)
}

/// Takes away what says whose credentials the Pods have; it must be there.
pub(crate) fn unstamp(kind: WorkloadKind, patch: &mut Patch) {
    let template: String = kind.pod_template_path().iter().map(|field| format!("/{field}")).collect();
    patch.remove(format!("{template}/metadata/annotations/{}", injected::CREDENTIALS.replace('/', "~1")));
}

/// Required means that `optional` is not set: a pod waits for its Secret instead of starting without it.
fn adjust_volume(
    kind: WorkloadKind,
    index: usize,
    volume: &Volume<'_>,
    secret_name: &str,
    volumes: &mut ListPatch,
    problems: &mut Problems,
) {
    let Some(secret) = &volume.secret else {
        problems.push(Problem::new(
            format!("{}.volumes[{index}].name", kind.pod_spec_path().join(".")),
            injected::VOLUME,
            "is the name of the Secret volume that topicops adds; name this volume otherwise",
        ));
        return;
    };
    if secret.secret_name.as_deref() != Some(secret_name) {
        volumes.set(index, "secret/secretName", json!(secret_name));
    }
    if secret.optional == Some(true) {
        volumes.unset(index, "secret/optional");
    }
}

fn check_containers(pod: &PodSpec<'_>, chosen: &BTreeSet<String>, problems: &mut Problems) {
    let there: Vec<&str> =
        pod.lists().iter().flat_map(|(_, containers)| containers.iter()).map(|c| &*c.name).collect();
    for name in chosen.iter().filter(|name| !there.contains(&name.as_str())) {
        let expected = format!("no container of this workload; it has {}", there.join(", "));
        problems.push(Problem::new(client::CONTAINERS, name, expected));
    }
}
