use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{Password, PropertiesText};

/// The keys of the Secret, in the order of the README's table.
pub const SECRET_KEYS: [&str; 18] = [
    "username",
    "password",
    "bootstrap.server",
    "kafka-client-jaas.conf",
    "client.properties",
    "type",
    "provider",
    "bootstrap.servers",
    "bootstrap-servers",
    "bootstrapServers",
    "security.protocol",
    "securityProtocol",
    "sasl.mechanism",
    "saslMechanism",
    "sasl.jaas.config",
    "user",
    "ssl.truststore.crt",
    "group.id",
];

/// How clients reach the brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientEndpoint {
    pub bootstrap_servers: String,
    /// `SASL_SSL` or `SASL_PLAINTEXT`.
    pub security_protocol: String,
    /// `SCRAM-SHA-512`.
    pub sasl_mechanism: String,
    /// The brokers' CA as PEM; `None`: the clients' own trust stores vouch for the brokers.
    pub truststore_pem: Option<String>,
}

/// The content of a credentials Secret: every client finds the keys it knows.
#[derive(Clone, Debug)]
pub struct ClientSecret {
    pub username: String,
    pub password: Password,
    pub endpoint: ClientEndpoint,
    pub group_id: String,
}

impl ClientSecret {
    /// The Secret's type, from the Service Binding specification.
    pub const TYPE: &'static str = "servicebinding.io/kafka";

    /// All keys of the contract with their content. `ssl.truststore.crt` is left out where there is no CA to deliver.
    pub fn data(&self) -> BTreeMap<&'static str, String> {
        let endpoint = &self.endpoint;
        let jaas = self.login_module();
        let mut data = BTreeMap::from([
            ("username", self.username.clone()),
            ("password", self.password.reveal().to_owned()),
            ("bootstrap.server", endpoint.bootstrap_servers.clone()),
            ("kafka-client-jaas.conf", format!("KafkaClient {{\n  {jaas}\n}};\n")),
            ("client.properties", self.client_properties(&jaas)),
            ("type", "kafka".to_owned()),
            ("provider", "topicops".to_owned()),
            ("bootstrap.servers", endpoint.bootstrap_servers.clone()),
            ("bootstrap-servers", endpoint.bootstrap_servers.clone()),
            ("bootstrapServers", endpoint.bootstrap_servers.clone()),
            ("security.protocol", endpoint.security_protocol.clone()),
            ("securityProtocol", endpoint.security_protocol.clone()),
            ("sasl.mechanism", endpoint.sasl_mechanism.clone()),
            ("saslMechanism", endpoint.sasl_mechanism.clone()),
            ("sasl.jaas.config", jaas),
            ("user", self.username.clone()),
            ("group.id", self.group_id.clone()),
        ]);
        if let Some(pem) = &endpoint.truststore_pem {
            data.insert("ssl.truststore.crt", pem.clone());
        }
        data
    }

    /// SHA-256 of the whole content, in hex. The password in it has far too many bits to be guessed back.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (key, value) in self.data() {
            // Lengths keep one field's end from passing for another's beginning.
            hash.update((key.len() as u64).to_be_bytes());
            hash.update(key.as_bytes());
            hash.update((value.len() as u64).to_be_bytes());
            hash.update(value.as_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn login_module(&self) -> String {
        format!(
            "org.apache.kafka.common.security.scram.ScramLoginModule required username={} password={};",
            jaas_quoted(&self.username),
            jaas_quoted(self.password.reveal())
        )
    }

    fn client_properties(&self, jaas: &str) -> String {
        let endpoint = &self.endpoint;
        let mut pairs = vec![
            ("bootstrap.servers", endpoint.bootstrap_servers.as_str()),
            ("security.protocol", &endpoint.security_protocol),
            ("sasl.mechanism", &endpoint.sasl_mechanism),
            ("sasl.jaas.config", jaas),
        ];
        if let Some(pem) = &endpoint.truststore_pem {
            pairs.push(("ssl.truststore.type", "PEM"));
            pairs.push(("ssl.truststore.certificates", pem));
        }
        pairs.push(("group.id", &self.group_id));
        PropertiesText::render(pairs)
    }
}

/// A string as JAAS configuration reads it: in double quotes, with backslash escapes for what would end it.
fn jaas_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(username: &str, password: &str) -> ClientSecret {
        ClientSecret {
            username: username.to_owned(),
            password: Password::new(password),
            endpoint: ClientEndpoint {
                bootstrap_servers: "kafka.example:9093".to_owned(),
                security_protocol: "SASL_SSL".to_owned(),
                sasl_mechanism: "SCRAM-SHA-512".to_owned(),
                truststore_pem: Some(
                    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
                ),
            },
            group_id: "shop.orders".to_owned(),
        }
    }

    /// The value of `name` in a login module line, read as `java.io.StreamTokenizer` does.
    fn jaas_option(line: &str, name: &str) -> String {
        let mut characters = line[line.find(&format!("{name}=\"")).unwrap() + name.len() + 2..].chars();
        let mut value = String::new();
        loop {
            match characters.next().unwrap() {
                '"' => return value,
                '\\' => match characters.next().unwrap() {
                    'n' => value.push('\n'),
                    'r' => value.push('\r'),
                    't' => value.push('\t'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
    }

    #[test]
    fn every_key_of_the_contract_is_there() {
        let data = secret("u", "p").data();
        let mut expected = SECRET_KEYS.to_vec();
        expected.sort_unstable();
        assert_eq!(data.keys().copied().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn debug_does_not_show_the_password() {
        let shown = format!("{:?}", secret("u", "hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn the_fingerprint_follows_every_field() {
        let base = secret("u", "p");
        let mut other = base.clone();
        other.endpoint.truststore_pem = None;
        assert_ne!(base.fingerprint(), other.fingerprint());
        assert_ne!(base.fingerprint(), secret("u", "q").fingerprint());
        assert_eq!(base.fingerprint(), secret("u", "p").fingerprint());
    }

    proptest! {
        #[test]
        fn no_user_name_or_password_escapes_its_quotes(
            username in "[\u{20}-\u{7e}\n\täß]{1,12}", password in "[\u{20}-\u{7e}\n\t€]{1,12}",
        ) {
            let data = secret(&username, &password).data();
            let pairs = PropertiesText::parse("client.properties", &data["client.properties"]).unwrap();
            let module = &pairs["sasl.jaas.config"];
            prop_assert_eq!(module, &data["sasl.jaas.config"]);
            let line = module.strip_prefix("org.apache.kafka.common.security.scram.ScramLoginModule required ").unwrap();
            prop_assert_eq!(jaas_option(line, "username"), username);
            let rest = &line[line.rfind("\" password=\"").unwrap()..];
            prop_assert_eq!(jaas_option(rest, "password"), password);
        }
    }
}
