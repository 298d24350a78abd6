//! Workloads: annotations in, changes to the pod template out.
//!
//! What is refused when it is new is only warned about when it was there before: an object that is wrong already must still
//! be scaled, rolled, labelled and deleted by its controllers.

use topicops_contract::{ClientRequest, Inject, Problem, Problems, Workload, WorkloadKind, keys::client};

use crate::{
    Answer, Consent, Finding, Operation, Review, Unquestioned,
    inject::{Injection, inject, unstamp},
    workload_object::{Head, Metadata, WorkloadObject},
};

/// Answers a review of a workload. Pure but for `consent`, which answers from memory.
pub fn mutate(review: &Review<'_>, consent: &dyn Consent) -> Answer {
    let (true, Some(object)) = (review.writes_object(), review.object()) else { return Answer::untouched() };
    let Some(kind) = workload_kind(review) else { return other_kind(review, object) };
    let object = match WorkloadObject::read(kind, object) {
        Ok(object) => object,
        Err(error) => return Answer::unreadable(kind.as_str(), &error),
    };
    // Only its finalizers and status change from here on, and nothing of that may fail.
    if object.metadata.deletion_timestamp.is_some() {
        return Answer::untouched();
    }
    // It has what the workload that it is part of has, by that one's name, whatever labels came with its template.
    if object.metadata.is_part_of_another(kind) {
        return Answer::untouched();
    }
    let old: Option<Head<'_>> = match review.old_object().map(serde_json::from_str).transpose() {
        Ok(old) => old,
        Err(error) => return Answer::unreadable("oldObject", &error),
    };
    let old = old.as_ref().map(|old| &old.metadata);
    if !object.metadata.is_labelled() && !old.is_some_and(Metadata::is_labelled) {
        return Answer::untouched();
    }

    let subject = Subject { review, kind, name: name_of(review, &object.metadata) };
    let asked = match subject.asked(&object, old) {
        Ok(asked) => asked,
        Err(problems) if subject.was_wrong_before(&problems) => {
            return Answer::Allowed { patch: Default::default(), warnings: as_warnings(&problems) };
        }
        Err(problems) => return Answer::invalid(&problems, Vec::new()),
    };
    let Asked { request, injection: Injection { patch, mut warnings } } = asked;
    let mut denials = Problems::new();
    if let Some(request) = request.as_ref().filter(|_| !subject.name.is_empty()) {
        let before = subject.old_request(old);
        let unchanged = before.as_ref() == Some(request);
        for finding in consent.review(request, before.as_ref()) {
            match finding {
                Finding::Warning(warning) => warnings.push(warning),
                Finding::Denial(problem) if unchanged => warnings.push(problem.to_string()),
                Finding::Denial(problem) => denials.push(problem),
            }
        }
    }
    if denials.is_empty() { Answer::Allowed { patch, warnings } } else { Answer::invalid(&denials, warnings) }
}

/// What would have come of a workload, stored as it is, if it had been admitted now. Nobody's consent is asked: what is granted
/// changes nothing in a template.
pub fn mutate_stored(workload: &Workload, object: &str) -> Answer {
    match Review::of_stored(workload, object) {
        Ok(review) => mutate(&review, &Unquestioned),
        Err(error) => Answer::unreadable(workload.kind().as_str(), &error),
    }
}

/// The workload that a review is about.
struct Subject<'r> {
    review: &'r Review<'r>,
    kind: WorkloadKind,
    /// Empty when the API server has yet to generate it.
    name: &'r str,
}

struct Asked {
    request: Option<ClientRequest>,
    injection: Injection,
}

impl Subject<'_> {
    fn workload(&self) -> Workload {
        Workload::new(self.review.namespace(), self.kind, self.name)
    }

    /// What the object asks for, and what that changes in it; or all that is wrong.
    fn asked(&self, object: &WorkloadObject<'_>, old: Option<&Metadata<'_>>) -> Result<Asked, Problems> {
        let metadata = &object.metadata;
        let mut warnings = Vec::new();
        let mut request = None;
        if metadata.is_labelled() {
            request = ClientRequest::parse(self.workload(), metadata.annotations())?;
            match &request {
                Some(request) => self.check_name(request, metadata)?,
                None => warnings.push(format!(
                    "labelled for Kafka credentials, but it names no topics: set {} or {}",
                    client::CONSUMES,
                    client::PRODUCES
                )),
            }
        }
        let mut our_secrets = vec![self.secret_name(metadata)];
        our_secrets.extend(old.map(|old| self.secret_name(old)));
        let our_secrets: Vec<&str> = our_secrets.iter().map(String::as_str).collect();
        let mut injection = match object.pod_spec(self.kind) {
            _ if !self.kind.is_mutable() && self.review.operation() != Operation::Create => {
                Injection::default()
            }
            Some(pod) => inject(pod, self.kind, request.as_ref(), &our_secrets)?,
            None => Injection::default(),
        };
        // Whose credentials the Pods have the controller says, of workloads that are there and ask for some.
        let is_over = self.kind.is_mutable() && request.is_none();
        if (self.review.is_new() || is_over) && object.is_stamped(self.kind) {
            unstamp(self.kind, &mut injection.patch);
        }
        warnings.append(&mut injection.warnings);
        injection.warnings = warnings;
        Ok(Asked { request, injection })
    }

    /// With `generateName` the name is not known yet, and the Secret's must not depend on it.
    fn check_name(&self, request: &ClientRequest, metadata: &Metadata<'_>) -> Result<(), Problem> {
        let named = metadata.annotations().contains_key(client::TOPIC_SECRET);
        if !self.name.is_empty() || named || request.inject == Inject::NONE {
            return Ok(());
        }
        Err(Problem::new(
            "metadata.generateName",
            metadata.generate_name.as_deref().unwrap_or_default(),
            format!(
                "the Secret is named after the workload, whose name is not known yet: give it metadata.name, or name its Secret with {}",
                client::TOPIC_SECRET
            ),
        ))
    }

    /// The name that annotations give to the Secret, right or wrong.
    fn secret_name(&self, metadata: &Metadata<'_>) -> String {
        match metadata.annotations().get(client::TOPIC_SECRET) {
            Some(name) => name.trim().to_owned(),
            None => self.workload().default_secret_name(),
        }
    }

    fn old_request(&self, old: Option<&Metadata<'_>>) -> Option<ClientRequest> {
        let old = old.filter(|old| old.is_labelled())?;
        ClientRequest::parse(self.workload(), old.annotations()).ok().flatten()
    }

    /// Whether the object had all of these mistakes before this update.
    fn was_wrong_before(&self, problems: &Problems) -> bool {
        let Some(old) = self.review.old_object() else { return false };
        let Ok(old) = WorkloadObject::read(self.kind, old) else { return false };
        match self.asked(&old, None) {
            Ok(_) => false,
            Err(before) => problems.iter().all(|problem| before.iter().any(|known| known == problem)),
        }
    }
}

fn as_warnings(problems: &Problems) -> Vec<String> {
    problems.iter().map(|problem| format!("not injected: {problem}")).collect()
}

fn name_of<'r>(review: &'r Review<'r>, metadata: &'r Metadata<'_>) -> &'r str {
    match metadata.name.as_deref() {
        Some(name) if !name.is_empty() => name,
        _ => review.name(),
    }
}

fn workload_kind(review: &Review<'_>) -> Option<WorkloadKind> {
    let kind: WorkloadKind = review.kind().parse().ok()?;
    (review.group() == kind.group()).then_some(kind)
}

/// A webhook configuration that sends us other kinds is an administrator's mistake; whoever applies the object can do nothing
/// about it, so it is admitted, and told that the label does nothing there.
fn other_kind(review: &Review<'_>, object: &str) -> Answer {
    let labelled = serde_json::from_str::<Head<'_>>(object).is_ok_and(|head| head.metadata.is_labelled());
    let warnings = if labelled {
        vec![format!(
            "Kafka credentials are injected into Deployment, StatefulSet, DaemonSet, Job, CronJob and Pod; the label does nothing on {}",
            review.kind().chars().take(63).collect::<String>()
        )]
    } else {
        Vec::new()
    };
    Answer::Allowed { patch: Default::default(), warnings }
}
