use std::time::{Duration, Instant};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use topicops_contract::{Problems, TopicName};

use super::{VerifyError, VerifyRequest, VerifyStep, translate, witness::Witness};
use crate::kafka::ClientProperties;

/// Runs a verification on the present thread, which it blocks until the request's time-out at the latest.
pub(super) fn run(request: &VerifyRequest, deadline: Instant) -> Result<(), VerifyError> {
    let properties = translate::parse(request.client_properties.reveal())
        .map_err(|problems: Problems| VerifyError::new(VerifyStep::Configure, problems.to_string()))?;
    let mut groups: Vec<Option<&str>> = request.groups.iter().map(|group| Some(group.as_str())).collect();
    if groups.is_empty() {
        groups.push(None);
    }
    // A librdkafka client belongs to one group, so every further group takes a login of its own.
    for (index, group) in groups.into_iter().enumerate() {
        let session = Session::open(&properties, group, deadline)?;
        if index == 0 {
            session.connect()?;
            for topic in &request.topics {
                session.topic(topic)?;
            }
        }
        if let Some(group) = group {
            session.group(group, request.topics.first())?;
        }
    }
    Ok(())
}

struct Session {
    consumer: BaseConsumer<Witness>,
    witness: Witness,
    deadline: Instant,
}

/// How long librdkafka is left alone before its events are looked at again.
const SLICE: Duration = Duration::from_millis(250);

impl Session {
    fn open(
        properties: &ClientProperties,
        group: Option<&str>,
        deadline: Instant,
    ) -> Result<Self, VerifyError> {
        let witness = Witness::default();
        let left = deadline.saturating_duration_since(Instant::now());
        let consumer = translate::librdkafka(properties, group, left)
            .create_with_context(witness.clone())
            .map_err(|error| VerifyError::new(VerifyStep::Configure, error.to_string()))?;
        Ok(Self { consumer, witness, deadline })
    }

    fn connect(&self) -> Result<(), VerifyError> {
        self.attempt(&VerifyStep::Connect, || match self.consumer.client().fetch_metadata(None, SLICE) {
            Ok(_) => Some(Ok(())),
            Err(_) => None,
        })
    }

    fn topic(&self, name: &TopicName) -> Result<(), VerifyError> {
        let step = VerifyStep::Topic(name.to_string());
        self.attempt(&step, || {
            let metadata = self.consumer.client().fetch_metadata(Some(name.as_str()), SLICE).ok()?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == name.as_str())?;
            match topic.error().map(RDKafkaErrorCode::from) {
                None => Some(Ok(())),
                Some(RDKafkaErrorCode::LeaderNotAvailable) => None,
                Some(code) => Some(Err(VerifyError::new(step.clone(), code.to_string()))),
            }
        })
    }

    /// Asks for committed offsets, which takes the group's coordinator and its consent. Whether the topic has any, or
    /// exists, is another matter.
    fn group(&self, group: &str, topic: Option<&TopicName>) -> Result<(), VerifyError> {
        let step = VerifyStep::Group(group.to_owned());
        let topic = topic.map_or("topicops-verify", TopicName::as_str);
        self.attempt(&step, || {
            let mut offsets = TopicPartitionList::new();
            offsets.add_partition(topic, 0);
            let outcome = self.consumer.committed_offsets(offsets, SLICE).map(|_| ());
            match outcome {
                Ok(()) => Some(Ok(())),
                Err(error) if is_refusal(&error) => Some(Err(VerifyError::new(step.clone(), plain(&error)))),
                Err(_) => self
                    .witness
                    .heard(|code| code == RDKafkaErrorCode::GroupAuthorizationFailed)
                    .map(|words| Err(VerifyError::new(step.clone(), words))),
            }
        })
    }

    /// Tries until there is an answer, a reason why there will be none, or no time left.
    fn attempt(
        &self,
        step: &VerifyStep,
        mut ask: impl FnMut() -> Option<Result<(), VerifyError>>,
    ) -> Result<(), VerifyError> {
        loop {
            let answer = ask();
            self.listen();
            if let Some(answer) = answer {
                return answer;
            }
            if let Some(error) = self.hopeless() {
                return Err(error);
            }
            if Instant::now() >= self.deadline {
                let words = self.witness.everything().unwrap_or_else(|| "no answer in time".to_owned());
                return Err(VerifyError::new(step.clone(), words));
            }
        }
    }

    /// Serves librdkafka's queue, or nothing would ever be heard of it.
    fn listen(&self) {
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }

    /// What no further attempt would change.
    fn hopeless(&self) -> Option<VerifyError> {
        let heard = |step: VerifyStep, wanted: &[RDKafkaErrorCode]| {
            self.witness.heard(|code| wanted.contains(&code)).map(|words| VerifyError::new(step, words))
        };
        heard(
            VerifyStep::Authenticate,
            &[RDKafkaErrorCode::Authentication, RDKafkaErrorCode::SaslAuthenticationFailed],
        )
        .or_else(|| heard(VerifyStep::Tls, &[RDKafkaErrorCode::SSL]))
        .or_else(|| {
            self.witness.heard(|code| code == RDKafkaErrorCode::AllBrokersDown)?;
            Some(VerifyError::new(VerifyStep::Connect, self.witness.everything()?))
        })
    }
}

fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::InvalidGroupId
        )
    )
}

/// librdkafka's words without the name of the call they came from.
fn plain(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}
