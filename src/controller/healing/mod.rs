//! Healing: labelled workloads whose pod template is not as the webhook would have made it, because they were admitted without
//! it: before topicops was installed, or while its webhook configuration was absent.
//!
//! Each is read once for every version of it that the watch tells of, and judged by the webhook's own code: where its patch is
//! not empty, the patch is applied. When nothing changes, nothing is read. What cannot be changed, a Job or a Pod, is told.
//!
//! Somebody who takes the credentials out again is met a few times and then once an hour, and told ([`Checks`]).

mod checks;
mod healer;
mod kube_templates;
mod templates;
#[cfg(test)]
mod tests;
mod verdict;

pub use checks::Checks;
pub use healer::Healer;
pub use kube_templates::KubeTemplates;
pub use templates::{Patched, StoredTemplate, Templates};
pub use verdict::Verdict;
