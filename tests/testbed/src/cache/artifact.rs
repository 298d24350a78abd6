//! What the cache holds, and of which version.
use std::path::Path;

use anyhow::Result;

use super::{etcd, kafka, kubernetes};
use crate::KafkaVersion;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Artifact {
    Etcd,
    Kafka(KafkaVersion),
    KubeApiserver,
    KubeControllerManager,
    Kubectl,
}

impl Artifact {
    /// The quick ones first, so that a missing tool shows before minutes have gone by.
    pub(super) fn all(kafka: KafkaVersion) -> [Self; 5] {
        [Self::Etcd, Self::Kafka(kafka), Self::KubeApiserver, Self::KubeControllerManager, Self::Kubectl]
    }

    pub(super) fn folder(self) -> String {
        match self {
            Self::Etcd => format!("etcd-{}", etcd::VERSION),
            Self::Kafka(version) => kafka::folder(version),
            Self::KubeApiserver => format!("kube-apiserver-{}", kubernetes::VERSION),
            Self::KubeControllerManager => format!("kube-controller-manager-{}", kubernetes::VERSION),
            Self::Kubectl => format!("kubectl-{}", kubernetes::VERSION),
        }
    }

    pub(super) fn title(self) -> String {
        self.folder()
    }

    /// Measured on two cores with empty Go and Maven caches.
    pub(super) fn expected_time(self) -> &'static str {
        match self {
            Self::Etcd => "15 seconds",
            Self::Kafka(_) => "30 seconds",
            Self::KubeApiserver => "4 minutes",
            Self::KubeControllerManager => "1 minute",
            Self::Kubectl => "30 seconds",
        }
    }

    pub(super) fn build(self, folder: &Path) -> Result<()> {
        match self {
            Self::Etcd => etcd::build(folder),
            Self::Kafka(version) => kafka::build(folder, version),
            Self::KubeApiserver => kubernetes::build(folder, "kube-apiserver"),
            Self::KubeControllerManager => kubernetes::build(folder, "kube-controller-manager"),
            Self::Kubectl => kubernetes::build(folder, "kubectl"),
        }
    }
}
