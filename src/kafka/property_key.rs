use topicops_contract::Problem;

/// What a key of a client properties file is to an administrative client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PropertyKey {
    /// Decides how to connect; the name is the canonical one.
    Used,
    /// Belongs to a Java client and has no say in where, how safely or as whom to connect.
    Ignored,
    /// Would change how the connection is secured, in a way that is not supported: ignoring it would be a lie.
    Unsupported,
}

pub(super) const USED: [&str; 23] = [
    "bootstrap.servers",
    "security.protocol",
    "sasl.mechanism",
    "sasl.jaas.config",
    "sasl.username",
    "sasl.password",
    "sasl.login.callback.handler.class",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.certificates",
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.endpoint.identification.algorithm",
    "ssl.enabled.protocols",
    "request.timeout.ms",
    "client.id",
    "group.id",
];

/// Keys of Kafka 4.3's consumer, producer and admin client that say how to read, write, batch, retry, meter or pool.
/// A workload's own `client.properties` may carry any of them; for topicops its own choices stand in their place.
const IGNORED: [&str; 86] = [
    // Reading.
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "client.rack",
    "enable.auto.commit",
    "exclude.internal.topics",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "interceptor.classes",
    "isolation.level",
    "key.deserializer",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "partition.assignment.strategy",
    "session.timeout.ms",
    "share.acknowledgement.mode",
    "share.acquire.mode",
    "value.deserializer",
    // Writing.
    "acks",
    "batch.size",
    "buffer.memory",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delivery.timeout.ms",
    "enable.idempotence",
    "key.serializer",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.request.size",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "partitioner.class",
    "partitioner.ignore.keys",
    "transaction.timeout.ms",
    "transaction.two.phase.commit.enable",
    "transactional.id",
    "value.serializer",
    // Kafka Streams.
    "application.id",
    "default.key.serde",
    "default.value.serde",
    "processing.guarantee",
    "state.dir",
    // Connections, retries and meters: ours are fixed and bounded.
    "client.dns.lookup",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "enable.metrics.push",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.login.connect.timeout.ms",
    "sasl.login.read.timeout.ms",
    "sasl.login.refresh.buffer.seconds",
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.window.factor",
    "sasl.login.refresh.window.jitter",
    "sasl.login.retry.backoff.max.ms",
    "sasl.login.retry.backoff.ms",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    // Java's own machinery for TLS, without a counterpart here.
    "ssl.keymanager.algorithm",
    "ssl.protocol",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
];

/// Known to Java clients, and refused here.
const UNSUPPORTED: [&str; 11] = [
    "bootstrap.controllers",
    "config.providers",
    "sasl.client.callback.handler.class",
    "sasl.login.class",
    "security.providers",
    "ssl.cipher.suites",
    "ssl.engine.factory.class",
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.truststore.password",
    "sasl.kerberos.service.name",
];

impl PropertyKey {
    /// Sorts a key, or tells the nearest right name. The value is not looked at: it may be a secret.
    pub(super) fn of(key: &str) -> Result<Self, Problem> {
        if USED.contains(&key) {
            Ok(Self::Used)
        } else if IGNORED.contains(&key) {
            Ok(Self::Ignored)
        } else if UNSUPPORTED.contains(&key)
            || key.starts_with("sasl.oauthbearer.")
            || key.starts_with("sasl.kerberos.")
            || key.starts_with("sasl.login.")
        {
            Ok(Self::Unsupported)
        } else {
            let expected = match nearest(key) {
                Some(near) => format!("no Kafka client property; did you mean {near}?"),
                None => "no Kafka client property as Java clients know them".to_owned(),
            };
            Err(Problem::missing(key, expected))
        }
    }
}

/// librdkafka's names, which people carry over from other clients, and the name nearest in spelling.
fn nearest(key: &str) -> Option<&'static str> {
    match key {
        "metadata.broker.list" | "bootstrap.server" | "brokers" => return Some("bootstrap.servers"),
        "sasl.mechanisms" => return Some("sasl.mechanism"),
        "ssl.ca.location" => return Some("ssl.truststore.location"),
        "ssl.ca.pem" | "ssl.truststore.crt" => return Some("ssl.truststore.certificates"),
        "ssl.certificate.location" => return Some("ssl.keystore.location"),
        "ssl.certificate.pem" => return Some("ssl.keystore.certificate.chain"),
        "ssl.key.pem" => return Some("ssl.keystore.key"),
        _ => {}
    }
    let lower = key.to_ascii_lowercase();
    USED.into_iter()
        .chain(IGNORED)
        .map(|known| (strsim::damerau_levenshtein(&lower, known), known))
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 4))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_the_nearest_right_one() {
        for (wrong, right) in [
            ("bootstrap.server", "bootstrap.servers"),
            ("Sasl.Mechanism", "sasl.mechanism"),
            ("ssl.ca.location", "ssl.truststore.location"),
            ("sasl.jass.config", "sasl.jaas.config"),
        ] {
            let problem = PropertyKey::of(wrong).unwrap_err();
            assert!(problem.to_string().contains(right), "{problem}");
        }
        assert!(!PropertyKey::of("qqqqqqqqq").unwrap_err().to_string().contains("did you mean"));
    }

    #[test]
    fn every_key_is_sorted_once() {
        let mut all: Vec<&str> = USED.into_iter().chain(IGNORED).chain(UNSUPPORTED).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
