//! Short ways to write requests and grants in tests.

use std::{
    collections::BTreeSet,
    ops::{Deref, DerefMut},
};

use jiff::Timestamp;
use topicops_contract::{ClientRequest, Inject, NamePattern, RotationWish, Workload, WorkloadKind};

use crate::topic::{TopicGrant, TopicGrants, TopicObjectKey};

/// A Deployment written as `namespace/name`.
pub(crate) fn workload(text: &str) -> Workload {
    let (namespace, name) = text.split_once('/').unwrap();
    Workload::new(namespace, WorkloadKind::Deployment, name)
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A request that is being written.
#[derive(Clone, Debug)]
pub(crate) struct Asking(ClientRequest);

pub(crate) fn request(text: &str) -> Asking {
    let workload = workload(text);
    Asking(ClientRequest {
        secret_name: workload.default_secret_name(),
        workload,
        consumes: BTreeSet::new(),
        produces: BTreeSet::new(),
        groups: BTreeSet::new(),
        transactional_ids: BTreeSet::new(),
        streams_application_id: None,
        inject: Inject::FILES,
        containers: None,
        rotation: RotationWish::default(),
    })
}

impl Asking {
    pub(crate) fn consume(mut self, text: &str) -> Self {
        self.consumes.insert(NamePattern::read(text));
        self
    }

    pub(crate) fn produce(mut self, text: &str) -> Self {
        self.produces.insert(NamePattern::read(text));
        self
    }

    pub(crate) fn group(mut self, text: &str) -> Self {
        self.groups.insert(NamePattern::read(text));
        self
    }

    pub(crate) fn transactional(mut self, text: &str) -> Self {
        self.transactional_ids.insert(NamePattern::read(text));
        self
    }

    pub(crate) fn streams(mut self, text: &str) -> Self {
        self.streams_application_id = Some(text.to_owned());
        self
    }
}

impl Deref for Asking {
    type Target = ClientRequest;

    fn deref(&self) -> &ClientRequest {
        &self.0
    }
}

impl DerefMut for Asking {
    fn deref_mut(&mut self) -> &mut ClientRequest {
        &mut self.0
    }
}

/// Topics as `namespace/topic`, each with the lines of its `consumers`.
pub(crate) fn grants(topics: &[(&str, &[&str])]) -> TopicGrants {
    let mut grants = TopicGrants::default();
    for (topic, consumers) in topics {
        let (namespace, name) = topic.split_once('/').unwrap();
        let grant = TopicGrant {
            owner: TopicObjectKey::config_map(namespace, name),
            consumers: consumers.iter().map(|line| line.parse().unwrap()).collect(),
            producers: Vec::new(),
        };
        grants.set(&name.parse().unwrap(), Some(grant));
    }
    grants
}
