use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;
use topicops_contract::Workload;

use crate::text::Text;

/// One admission request (`admission.k8s.io/v1`), reading what the webhooks need and nothing else. Objects stay unparsed
/// text until the handler knows what they are, so that a strange object can still be answered under the request's uid.
#[derive(Debug)]
pub struct Review<'a> {
    request: Request<'a>,
    stored: bool,
}

/// The body is no review that can be answered.
#[derive(Debug, Error)]
#[error("this is no AdmissionReview of admission.k8s.io/v1: {reason}")]
pub struct NotAReview {
    reason: String,
}

/// Characters of the reason why a body is no review.
const REASON_SHOWN: usize = 300;

/// What is being done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
    /// Something that this version of the API does not know.
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow, default)]
    api_version: Text<'a>,
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    uid: Text<'a>,
    #[serde(borrow)]
    kind: GroupKind<'a>,
    #[serde(borrow, default)]
    sub_resource: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    operation: Text<'a>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_object: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct GroupKind<'a> {
    #[serde(borrow, default)]
    group: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Text<'a>,
}

impl<'a> Review<'a> {
    /// Reads a request body.
    ///
    /// # Errors
    /// Text for whoever sent it: not JSON, another kind or version, no request in it, no uid.
    pub fn read(body: &'a [u8]) -> Result<Self, NotAReview> {
        // A parse error may quote a value of any length.
        let not = |reason: String| NotAReview { reason: reason.chars().take(REASON_SHOWN).collect() };
        let text = std::str::from_utf8(body).map_err(|error| not(error.to_string()))?;
        let envelope: Envelope<'a> = serde_json::from_str(text).map_err(|error| not(error.to_string()))?;
        if &*envelope.api_version != "admission.k8s.io/v1" || &*envelope.kind != "AdmissionReview" {
            let cut = |text: &str| text.chars().take(80).collect::<String>();
            return Err(not(format!(
                "apiVersion is {:?} and kind is {:?}",
                cut(&envelope.api_version),
                cut(&envelope.kind)
            )));
        }
        match envelope.request {
            Some(request) if !request.uid.is_empty() => Ok(Self { request, stored: false }),
            Some(_) => Err(not("request.uid is empty".to_owned())),
            None => Err(not("it holds no request".to_owned())),
        }
    }

    /// A stored object of a workload, as if it were created now.
    ///
    /// # Errors
    /// The object is no JSON.
    pub fn of_stored(workload: &'a Workload, object: &'a str) -> serde_json::Result<Self> {
        let kind =
            GroupKind { group: Some(workload.kind().group().into()), kind: workload.kind().as_str().into() };
        let request = Request {
            uid: "stored".into(),
            kind,
            sub_resource: None,
            name: Some(workload.name().into()),
            namespace: Some(workload.namespace().into()),
            operation: "CREATE".into(),
            object: Some(serde_json::from_str(object)?),
            old_object: None,
        };
        Ok(Self { request, stored: true })
    }

    /// To be given back in the answer.
    pub fn uid(&self) -> &str {
        &self.request.uid
    }

    /// The API group of the object, empty for the core group.
    pub fn group(&self) -> &str {
        self.request.kind.group.as_deref().unwrap_or_default()
    }

    pub fn kind(&self) -> &str {
        &self.request.kind.kind
    }

    /// Empty unless the request is about a subresource such as `scale`.
    pub fn sub_resource(&self) -> &str {
        self.request.sub_resource.as_deref().unwrap_or_default()
    }

    /// Empty at the creation of an object with `generateName`.
    pub fn name(&self) -> &str {
        self.request.name.as_deref().unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.request.namespace.as_deref().unwrap_or_default()
    }

    pub fn operation(&self) -> Operation {
        match &*self.request.operation {
            "CREATE" => Operation::Create,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            "CONNECT" => Operation::Connect,
            _ => Operation::Other,
        }
    }

    /// Whether an object itself is written: only then is there something to mutate or to check.
    pub fn writes_object(&self) -> bool {
        self.sub_resource().is_empty() && matches!(self.operation(), Operation::Create | Operation::Update)
    }

    /// Whether an object begins: nothing that was written on it before can be about itself.
    pub fn is_new(&self) -> bool {
        self.operation() == Operation::Create && !self.stored
    }

    /// The object as it is to be, as JSON.
    pub fn object(&self) -> Option<&'a str> {
        self.request.object.map(RawValue::get)
    }

    /// The object as it was, as JSON; at an update only.
    pub fn old_object(&self) -> Option<&'a str> {
        self.request.old_object.map(RawValue::get)
    }
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Connect => "connect",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_read_and_the_rest_is_skipped() {
        let body = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","unknown":{"a":[1]},"request":
            {"uid":"u-1","kind":{"group":"apps","version":"v1","kind":"Deployment"},"resource":{},"namespace":"shop",
             "operation":"UPDATE","userInfo":{},"object":{"a": 1},"oldObject":null,"subResource":null,"dryRun":true}}"#;
        let review = Review::read(body).unwrap();
        assert_eq!((review.uid(), review.group(), review.kind()), ("u-1", "apps", "Deployment"));
        assert_eq!((review.namespace(), review.name(), review.sub_resource()), ("shop", "", ""));
        assert_eq!(review.object(), Some(r#"{"a": 1}"#));
        assert_eq!(review.old_object(), None);
        assert!(review.writes_object());
    }

    #[test]
    fn what_is_no_review_says_why() {
        let bare = |inner: &str| {
            format!(r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"{inner}}}"#)
        };
        for (body, why) in [
            (String::new(), "EOF"),
            ("[]".to_owned(), "invalid"),
            ("{}".to_owned(), "apiVersion is \"\""),
            (r#"{"kind":"Pod","apiVersion":"v1","request":null}"#.to_owned(), "kind is \"Pod\""),
            (bare(r#","request":null"#), "holds no request"),
            (bare(r#","request":{"uid":"","kind":{"kind":"x"},"operation":"CREATE"}"#), "uid is empty"),
            (bare(r#","request":{"kind":{"kind":"x"},"operation":"CREATE"}"#), "uid"),
        ] {
            let error = Review::read(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{body}: {error}");
        }
        assert!(Review::read(b"\xff{}").is_err());
    }
}
