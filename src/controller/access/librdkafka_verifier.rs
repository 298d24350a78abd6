use async_trait::async_trait;
use topicops_contract::{Password, TopicName};

use super::ClientVerifier;
use crate::kafka::{VerifyError, VerifyRequest, VerifyStep, verify};

/// Tries Secrets with librdkafka, the library under most clients that are not Java.
#[derive(Clone, Copy, Debug, Default)]
pub struct LibrdkafkaVerifier;

#[async_trait]
impl ClientVerifier for LibrdkafkaVerifier {
    fn at_once(&self) -> usize {
        VerifyRequest::AT_ONCE
    }

    async fn verify(&self, properties: &str, topics: &[TopicName], groups: &[String]) -> Result<(), String> {
        let request = VerifyRequest {
            client_properties: Password::new(properties),
            topics: topics.to_vec(),
            groups: groups.to_vec(),
            timeout: VerifyRequest::TIMEOUT,
        };
        verdict(verify(request).await, groups)
    }
}

/// Every `client.properties` names a group, and a workload that consumes nothing has no right to it: that is as it should
/// be.
fn verdict(outcome: Result<(), VerifyError>, groups: &[String]) -> Result<(), String> {
    match outcome {
        Err(VerifyError { step: VerifyStep::Group(name), .. }) if !groups.contains(&name) => Ok(()),
        outcome => outcome.map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_was_not_granted_may_be_refused() {
        let refused = |step| Err(VerifyError { step, message: "no".to_owned() });
        let group = VerifyStep::Group("shop.w".to_owned());
        assert_eq!(verdict(refused(group.clone()), &[]), Ok(()));
        assert_eq!(verdict(refused(group), &["shop.w".to_owned()]), Err("group shop.w: no".to_owned()));
        assert!(verdict(refused(VerifyStep::Authenticate), &[]).is_err());
    }
}
