//! The names of the contract: labels, annotations, ConfigMap keys.

/// Marks a ConfigMap as a topic, and a Secret as one of ours.
pub const CONFIG_LABEL: &str = "config";
pub const CONFIG_LABEL_TOPIC: &str = "kafka-topic";
pub const CONFIG_LABEL_CREDENTIALS: &str = "kafka-topic-credentials";

/// Marks a workload that wants credentials.
pub const INJECT_LABEL: &str = "kafka-operator";
pub const INJECT_LABEL_VALUE: &str = "inject-credentials";

/// Every annotation of ours begins so.
pub const ANNOTATION_PREFIX: &str = "topic.kafka.nb/";

/// ConfigMap data keys.
pub mod data {
    pub const NAME: &str = "name";
    pub const PARTITIONS: &str = "partitions";
    pub const REPLICATION_FACTOR: &str = "replication-factor";
    pub const PROPERTIES: &str = "properties";
    pub const RETENTION: &str = "retention";
    pub const RETENTION_DISK_SHARE: &str = "retention-disk-share";
    pub const CONSUMERS: &str = "consumers";
    pub const PRODUCERS: &str = "producers";

    pub const ALL: [&str; 8] = [
        NAME,
        PARTITIONS,
        REPLICATION_FACTOR,
        PROPERTIES,
        RETENTION,
        RETENTION_DISK_SHARE,
        CONSUMERS,
        PRODUCERS,
    ];
}

/// The custom resource.
pub mod kafka_topic {
    pub const GROUP: &str = "topic.kafka.nb";
    /// Beta: what is written for it goes on working, and its API server validates it in full. It becomes v1 when nothing in
    /// the schema had to change for a while.
    pub const VERSION: &str = "v1beta1";
    pub const API_VERSION: &str = "topic.kafka.nb/v1beta1";
    pub const KIND: &str = "KafkaTopic";
    pub const PLURAL: &str = "kafkatopics";
}

/// Annotations on topic ConfigMaps.
pub mod topic {
    pub const DELETION_POLICY: &str = "topic.kafka.nb/deletion-policy";
    pub const PAUSED: &str = "topic.kafka.nb/paused";
    pub const FORCE_DELETE: &str = "topic.kafka.nb/force-delete";
    pub const DRIFT: &str = "topic.kafka.nb/drift";
    /// Written by topicops.
    pub const STATUS: &str = "topic.kafka.nb/status";
    /// Written by `topicops import`: which version wrote the manifest, and from which Kafka cluster.
    pub const GENERATED: &str = "topic.kafka.nb/generated";

    pub const ALL: [&str; 6] = [DELETION_POLICY, PAUSED, FORCE_DELETE, DRIFT, STATUS, GENERATED];
}

/// Annotations on workloads.
pub mod client {
    pub const CONSUMES: &str = "topic.kafka.nb/consumes";
    pub const PRODUCES: &str = "topic.kafka.nb/produces";
    pub const GROUPS: &str = "topic.kafka.nb/groups";
    pub const TRANSACTIONAL_IDS: &str = "topic.kafka.nb/transactional-ids";
    pub const STREAMS_APPLICATION_ID: &str = "topic.kafka.nb/streams-application-id";
    pub const TOPIC_SECRET: &str = "topic.kafka.nb/topic-secret";
    pub const INJECT: &str = "topic.kafka.nb/inject";
    pub const CONTAINERS: &str = "topic.kafka.nb/containers";
    pub const ROTATE: &str = "topic.kafka.nb/rotate";
    pub const ROTATE_AFTER: &str = "topic.kafka.nb/rotate-after";
    pub const PRODUCER_BYTE_RATE: &str = "topic.kafka.nb/producer-byte-rate";
    pub const CONSUMER_BYTE_RATE: &str = "topic.kafka.nb/consumer-byte-rate";
    pub const REQUEST_PERCENTAGE: &str = "topic.kafka.nb/request-percentage";

    pub const ALL: [&str; 13] = [
        CONSUMES,
        PRODUCES,
        GROUPS,
        TRANSACTIONAL_IDS,
        STREAMS_APPLICATION_ID,
        TOPIC_SECRET,
        INJECT,
        CONTAINERS,
        ROTATE,
        ROTATE_AFTER,
        PRODUCER_BYTE_RATE,
        CONSUMER_BYTE_RATE,
        REQUEST_PERCENTAGE,
    ];
}

/// Annotations on the Secrets that topicops makes.
pub mod secret {
    /// The user name whose credentials the Secret holds; marks it as made by topicops.
    pub const USERNAME: &str = "topic.kafka.nb/username";
    /// SHA-256 of the content that was written: tells whether it has to be written again.
    pub const FINGERPRINT: &str = "topic.kafka.nb/fingerprint";
    /// When the password in it was made.
    pub const MADE: &str = "topic.kafka.nb/made";
    /// The workload's annotation [`client::ROTATE`](super::client::ROTATE) when that was.
    pub const MADE_FOR: &str = "topic.kafka.nb/made-for";
    /// The user whose credentials were in it before, while Pods may run with them still.
    pub const PREVIOUS: &str = "topic.kafka.nb/previous-username";
}

/// The finalizer on topic ConfigMaps and KafkaTopics whose deletion policy is `delete`.
pub const TOPIC_FINALIZER: &str = "topic.kafka.nb/topic";

/// What the webhook adds to a pod template.
pub mod injected {
    pub const VOLUME: &str = "kafka-credentials";
    /// `SERVICE_BINDING_ROOT` where a container sets none.
    pub const BINDING_ROOT: &str = "/var/run/secrets/kafka.nb";
    /// The folder below the root that is the mount.
    pub const BINDING_NAME: &str = "credentials";
    pub const JAAS_FILE: &str = "kafka-client-jaas.conf";
    /// On the pod template, from a rotation on: the user whose credentials the Pods have. A new one rolls them out. A workload
    /// that begins has none, and one that asks for nothing any more loses it.
    pub const CREDENTIALS: &str = "topic.kafka.nb/credentials";
}
