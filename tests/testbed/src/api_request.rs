//! One line of the API server's audit log.
use std::fmt;

use serde::Deserialize;

/// A request that the API server answered; a watch appears when it begins and when it ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiRequest {
    /// `system:serviceaccount:<namespace>:<name>` for Pods.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ….
    pub verb: String,
    /// The plural, with its subresource: `configmaps`, `deployments/status`; empty for `/readyz` and the like.
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ApiRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    user: User,
    verb: String,
    object_ref: Option<ObjectReference>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectReference {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

impl ApiRequest {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let Line { user, verb, object_ref } = serde_json::from_str(line).ok()?;
        let object = object_ref.unwrap_or_default();
        let resource = match object.subresource.as_str() {
            "" => object.resource,
            part => format!("{}/{part}", object.resource),
        };
        Some(Self { user: user.username, verb, resource, namespace: object.namespace, name: object.name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_audit_log_is_read() {
        let line = r#"{"kind":"Event","level":"Metadata","stage":"ResponseComplete","requestURI":"/x","verb":"patch",
            "user":{"username":"system:serviceaccount:a:b","groups":[]},"userAgent":"unknown",
            "objectRef":{"resource":"deployments","namespace":"shop","name":"n","apiVersion":"v1","subresource":"status"}}"#;
        let request = ApiRequest::parse(line).unwrap();
        assert_eq!(
            (request.user.as_str(), request.verb.as_str(), request.resource.as_str()),
            ("system:serviceaccount:a:b", "patch", "deployments/status")
        );
        let probe = r#"{"verb":"get","user":{"username":"admin"},"requestURI":"/readyz"}"#;
        assert_eq!(ApiRequest::parse(probe).unwrap().resource, "");
        assert_eq!(ApiRequest::parse("half a li"), None);
    }
}
