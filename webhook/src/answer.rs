use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use topicops_contract::Problems;

use crate::{Patch, Review, warnings::bounded};

/// Characters of a message about an object that cannot be read.
const CAUSE_SHOWN: usize = 500;

/// What a webhook has to say about one review.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Admitted, perhaps changed, perhaps with warnings for whoever applies it.
    Allowed { patch: Patch, warnings: Vec<String> },
    /// Refused, with all that is wrong.
    Denied { code: u16, reason: &'static str, message: String, warnings: Vec<String> },
}

impl Answer {
    /// Admitted as it is.
    pub fn untouched() -> Self {
        Self::Allowed { patch: Patch::default(), warnings: Vec::new() }
    }

    /// The author wrote something wrong: all mistakes, each with key, value and what would be right.
    pub fn invalid(problems: &Problems, warnings: Vec<String>) -> Self {
        let mut message = match problems.len() {
            1 => String::new(),
            count => format!("{count} mistakes:\n"),
        };
        for (index, problem) in problems.iter().enumerate() {
            if index > 0 {
                message.push('\n');
            }
            message.push_str(&problem.to_string());
        }
        Self::Denied { code: 422, reason: "Invalid", message, warnings }
    }

    /// The object is nothing that its kind allows; the API server would not have sent it.
    pub fn unreadable(what: &str, cause: &serde_json::Error) -> Self {
        Self::Denied {
            code: 400,
            reason: "BadRequest",
            // The cause may quote a value of any length.
            message: format!("{what} cannot be read: {cause}").chars().take(CAUSE_SHOWN).collect(),
            warnings: Vec::new(),
        }
    }

    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    pub fn patch(&self) -> Option<&Patch> {
        match self {
            Self::Allowed { patch, .. } => Some(patch).filter(|patch| !patch.is_empty()),
            Self::Denied { .. } => None,
        }
    }

    /// The response body: an AdmissionReview that carries the uid of the request. With it, the size of the patch in bytes.
    pub fn to_body(&self, review: &Review<'_>) -> Result<(Vec<u8>, usize), serde_json::Error> {
        let uid = review.uid();
        let patch = self.patch().map(Patch::to_json).transpose()?;
        let size = patch.as_ref().map_or(0, Vec::len);
        let response = match self {
            Self::Allowed { warnings, .. } => Response {
                uid,
                allowed: true,
                patch_type: patch.as_ref().map(|_| "JSONPatch"),
                patch: patch.map(|patch| STANDARD.encode(patch)),
                status: None,
                warnings: bounded(warnings),
            },
            Self::Denied { code, reason, message, warnings } => Response {
                uid,
                allowed: false,
                patch_type: None,
                patch: None,
                status: Some(Status { status: "Failure", code: *code, reason, message }),
                warnings: bounded(warnings),
            },
        };
        let envelope = Envelope { api_version: "admission.k8s.io/v1", kind: "AdmissionReview", response };
        Ok((serde_json::to_vec(&envelope)?, size))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'static str,
    code: u16,
    reason: &'a str,
    message: &'a str,
}

#[cfg(test)]
mod tests {
    use topicops_contract::Problem;

    use super::*;

    #[test]
    fn one_mistake_stands_alone_and_many_are_listed_and_bounded() {
        let denial = |count: usize| {
            let mut problems = Problems::new();
            (0..count).for_each(|at| problems.push(Problem::new(format!("k{at}"), "v", "right")));
            match Answer::invalid(&problems, Vec::new()) {
                Answer::Denied { message, code: 422, .. } => message,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(denial(1), "k0: \"v\": right");
        assert_eq!(denial(2), "2 mistakes:\nk0: \"v\": right\nk1: \"v\": right");
        assert!(denial(10_000).ends_with("and more mistakes; mend these first"));
    }
}
