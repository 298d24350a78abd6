use std::time::Duration;

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use topicops_contract::Problems;

use crate::kafka::{ClientProperties, PemSource, SaslMechanism, TlsIdentity};

/// The same configuration in librdkafka's names. `group` stands in for `group.id`.
pub(super) fn librdkafka(
    properties: &ClientProperties,
    group: Option<&str>,
    timeout: Duration,
) -> ClientConfig {
    let mut config = ClientConfig::new();
    let servers: Vec<String> = properties.bootstrap_servers.iter().map(ToString::to_string).collect();
    config.set("bootstrap.servers", servers.join(","));
    // No Secret of a workload says OAUTHBEARER.
    let protocol = match (&properties.tls, &properties.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(sasl) = &properties.sasl {
        let mechanism = match sasl.mechanism {
            SaslMechanism::Plain => "PLAIN".to_owned(),
            SaslMechanism::Scram(mechanism) => mechanism.to_string(),
        };
        config.set("sasl.mechanism", mechanism);
        config.set("sasl.username", &sasl.username).set("sasl.password", sasl.password.reveal());
    }
    if let Some(tls) = &properties.tls {
        match &tls.trust {
            Some(PemSource::Inline(pem)) => config.set("ssl.ca.pem", pem),
            Some(PemSource::File(path)) => config.set("ssl.ca.location", path.display().to_string()),
            None => config.set("ssl.ca.location", "probe"),
        };
        match &tls.identity {
            Some(TlsIdentity::Inline { chain, key }) => {
                config.set("ssl.certificate.pem", chain).set("ssl.key.pem", key.reveal());
            }
            Some(TlsIdentity::File(path)) => {
                let path = path.display().to_string();
                config.set("ssl.certificate.location", &path).set("ssl.key.location", path);
            }
            None => {}
        }
        config.set("ssl.endpoint.identification.algorithm", "https");
    }
    if let Some(group) = group {
        config.set("group.id", group);
    }
    config.set("client.id", properties.client_id.as_deref().unwrap_or("topicops-verify"));
    // It only looks: it commits nothing, creates nothing, and never joins a group.
    config.set("enable.auto.commit", "false").set("allow.auto.create.topics", "false");
    let millis = timeout.as_millis().clamp(1000, 60_000).to_string();
    config.set("socket.timeout.ms", &millis).set("socket.connection.setup.timeout.ms", millis);
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
    config.set("socket.nagle.disable", "true");
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

/// The workload's own text, as the type that the rest of topicops reads it with.
pub(super) fn parse(text: &str) -> Result<ClientProperties, Problems> {
    ClientProperties::parse("client.properties", text)
}

#[cfg(test)]
mod tests {
    use topicops_contract::{ClientEndpoint, ClientSecret, Password};

    use super::*;

    #[test]
    fn what_the_secret_says_is_what_librdkafka_gets() {
        let secret = ClientSecret {
            username: "topicops.shop.orders".to_owned(),
            password: Password::new("p\"\\ä"),
            endpoint: ClientEndpoint {
                bootstrap_servers: "a:9093,b:9093".to_owned(),
                security_protocol: "SASL_SSL".to_owned(),
                sasl_mechanism: "SCRAM-SHA-512".to_owned(),
                truststore_pem: Some("PEM".to_owned()),
            },
            group_id: "shop.orders".to_owned(),
        };
        let properties = parse(&secret.data()["client.properties"]).unwrap();
        let config = librdkafka(&properties, properties.group_id.as_deref(), Duration::from_secs(10));
        for (key, value) in [
            ("bootstrap.servers", "a:9093,b:9093"),
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "topicops.shop.orders"),
            ("sasl.password", "p\"\\ä"),
            ("ssl.ca.pem", "PEM"),
            ("group.id", "shop.orders"),
            ("enable.auto.commit", "false"),
        ] {
            assert_eq!(config.get(key), Some(value), "{key}");
        }
    }
}
