use super::*;
use crate::kafka::{TokenEndpoint, TokenSource};

const SCRAM: &str = r#"
bootstrap.servers=b-1.example:9093, b-2.example:9093
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="hunter2";
ssl.truststore.type=PEM
ssl.truststore.location=/etc/kafka/ca.pem
client.id=topicops
"#;

fn problems(text: &str) -> String {
    ClientProperties::parse("kafka-config", text).unwrap_err().to_string()
}

#[test]
fn a_java_clients_file_is_read() {
    let properties = ClientProperties::parse("kafka-config", SCRAM).unwrap();
    assert_eq!(properties.bootstrap_servers.len(), 2);
    assert_eq!(properties.bootstrap_servers[1].to_string(), "b-2.example:9093");
    let sasl = properties.sasl.unwrap();
    assert_eq!(sasl.mechanism, SaslMechanism::Scram(ScramMechanism::Sha512));
    assert_eq!((sasl.username.as_str(), sasl.password.reveal()), ("admin", "hunter2"));
    let tls = properties.tls.unwrap();
    assert_eq!(tls.trust, Some(PemSource::File("/etc/kafka/ca.pem".into())));
    assert!(tls.identity.is_none() && tls.tls12 && tls.tls13);
    assert_eq!(properties.request_timeout, Duration::from_secs(30));
    assert_eq!(properties.client_id.as_deref(), Some("topicops"));
}

#[test]
fn username_and_password_keys_do_without_jaas() {
    let text = "bootstrap.servers=b:1\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n\
                sasl.username=u\nsasl.password=p\n";
    let properties = ClientProperties::parse("kafka-config", text).unwrap();
    let sasl = properties.sasl.unwrap();
    assert_eq!((sasl.mechanism, sasl.username.as_str()), (SaslMechanism::Plain, "u"));
    assert!(properties.tls.is_none());
}

#[test]
fn mutual_tls_takes_a_chain_and_a_key_or_one_file() {
    let inline = "bootstrap.servers=b:1\nsecurity.protocol=SSL\nssl.keystore.type=PEM\n\
                  ssl.keystore.certificate.chain=C\nssl.keystore.key=hunter2\n";
    let properties = ClientProperties::parse("kafka-config", inline).unwrap();
    assert!(matches!(properties.tls.as_ref().unwrap().identity, Some(TlsIdentity::Inline { .. })));
    assert!(!format!("{properties:?}").contains("hunter2"));
    let file =
        "bootstrap.servers=b:1\nsecurity.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=/k.pem\n";
    let properties = ClientProperties::parse("kafka-config", file).unwrap();
    assert!(matches!(properties.tls.unwrap().identity, Some(TlsIdentity::File(_))));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let told = problems(
        "bootstrap.server=b:1\nsecurity.protocol=TLS\nrequest.timeout.ms=soon\nssl.key.password=x\nsasl.mechanisms=PLAIN",
    );
    for part in [
        "bootstrap.servers: is required",
        "SASL_SSL",
        "milliseconds",
        "ssl.key.password",
        "did you mean sasl.mechanism?",
    ] {
        assert!(told.contains(part), "{part} is missing in: {told}");
    }
}

#[test]
fn what_is_not_supported_is_an_error_and_not_ignored() {
    let with = |line: &str| problems(&format!("{SCRAM}\n{line}\n"));
    assert!(with("ssl.endpoint.identification.algorithm=").contains("must be https"));
    assert!(with("sasl.login.callback.handler.class=x").contains("not supported"));
    let kerberos = problems("bootstrap.servers=b:1\nsecurity.protocol=SASL_SSL\nsasl.mechanism=GSSAPI\n");
    assert!(kerberos.contains("not supported"), "{kerberos}");
    let jks = problems("bootstrap.servers=b:1\nsecurity.protocol=SSL\nssl.truststore.location=/ca.jks\n");
    assert!(jks.contains("assume JKS"), "{jks}");
    let both = problems(&SCRAM.replace("client.id=topicops", "ssl.truststore.certificates=C"));
    assert!(both.contains("keep one of them"), "{both}");
}

#[test]
fn what_workloads_carry_for_their_own_work_is_ignored() {
    let text = format!(
        "{SCRAM}group.id=shop.orders\nkey.serializer=x.Y\nacks=all\nauto.offset.reset=earliest\nlinger.ms=5\n"
    );
    let properties = ClientProperties::parse("client.properties", &text).unwrap();
    assert_eq!(properties.group_id.as_deref(), Some("shop.orders"));
}

#[test]
fn neither_debug_nor_problems_show_the_password() {
    let properties = ClientProperties::parse("kafka-config", SCRAM).unwrap();
    assert!(!format!("{properties:?} {properties:#?}").contains("hunter2"));
    for broken in [
        SCRAM.replace("\";", ""),
        SCRAM.replace("ScramLogin", "PlainLogin"),
        SCRAM.replace("SCRAM-SHA-512", "NONE"),
        format!("{SCRAM}sasl.password=hunter2\n"),
        SCRAM.replace("sasl.jaas.config", "sasl.jass.config"),
        SCRAM.replace("hunter2", "hunter2\\u1"),
        format!("{SCRAM}sasl.jaas.config=hunter2\n"),
    ] {
        let told = problems(&broken);
        assert!(!told.contains("hunter2"), "{told}");
    }
}

const OAUTH: &str = r#"
bootstrap.servers=b:1
security.protocol=SASL_SSL
sasl.mechanism=OAUTHBEARER
sasl.oauthbearer.token.endpoint.url=https://idp.example/realms/kafka/token?x=1
sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler
sasl.login.connect.timeout.ms=1000
sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId="topicops" clientSecret="hunter2" scope="kafka" extension_pool="p-1";
"#;

fn endpoint(text: &str) -> TokenEndpoint {
    let oauth = ClientProperties::parse("kafka-config", text).unwrap().oauth.unwrap();
    match oauth.source {
        TokenSource::Endpoint(endpoint) => *endpoint,
        TokenSource::File(file) => panic!("{}", file.display()),
    }
}

#[test]
fn a_token_comes_from_client_credentials_or_a_file() {
    let properties = ClientProperties::parse("kafka-config", OAUTH).unwrap();
    assert!(properties.sasl.is_none() && !properties.takes_no_sasl());
    assert!(!format!("{properties:?}").contains("hunter2"));
    assert_eq!(properties.oauth.unwrap().extensions, [("pool".to_owned(), "p-1".to_owned())]);
    let found = endpoint(OAUTH);
    assert_eq!(
        (found.address.to_string().as_str(), found.path.as_str()),
        ("idp.example:443", "/realms/kafka/token?x=1")
    );
    assert_eq!((found.client_id.as_str(), found.client_secret.reveal()), ("topicops", "hunter2"));
    assert_eq!((found.scope.as_deref(), found.tls.unwrap().trust), (Some("kafka"), None));
    let plain = endpoint(&OAUTH.replace("https://idp.example/realms/kafka/token?x=1", "http://[::1]:8080"));
    assert_eq!((plain.address.to_string().as_str(), plain.path.as_str()), ("[::1]:8080", "/"));
    assert!(plain.tls.is_none());
    let trusting =
        OAUTH.replace("scope=", "ssl.truststore.type=PEM ssl.truststore.location=\"/idp.pem\" scope=");
    assert_eq!(endpoint(&trusting).tls.unwrap().trust, Some(PemSource::File("/idp.pem".into())));
    let jaas = OAUTH.lines().find(|line| line.starts_with("sasl.jaas.config")).unwrap();
    let newer = OAUTH.replace(
        jaas,
        "sasl.oauthbearer.client.credentials.client.id=i\nsasl.oauthbearer.client.credentials.client.secret=s",
    );
    assert_eq!(endpoint(&newer).client_id, "i");
    let file = OAUTH.replace("https://idp.example/realms/kafka/token?x=1", "file:///token").replace(jaas, "");
    let oauth = ClientProperties::parse("kafka-config", &file).unwrap().oauth.unwrap();
    assert!(matches!(oauth.source, TokenSource::File(path) if path.ends_with("token")));
}

#[test]
fn what_no_token_could_come_of_is_told_without_its_secret() {
    for (from, to, says) in [
        (
            "https://idp.example/realms/kafka/token?x=1",
            "ftp://idp.example",
            "authorization server's https://",
        ),
        ("https://idp.example/realms/kafka/token?x=1", "file://token", "file:///path"),
        ("https://idp.example/realms/kafka/token?x=1", "https://idp.example/a b", "https://host/path"),
        ("clientId=\"topicops\"", "", "lacks clientId or clientSecret"),
        ("OAuthBearerLoginModule", "PlainLoginModule", "OAuthBearerLoginModule"),
        ("OAuthBearerLoginCallbackHandler", "MyHandler", "only Kafka's own"),
        ("extension_pool", "extension_auth", "an extension_ that is none"),
        ("scope=", "ssl.truststore.location=\"/idp.jks\" scope=", "must be PEM"),
        ("sasl.login.connect", "sasl.oauthbearer.jwks.endpoint.url=x\nsasl.login.connect", "not supported"),
    ] {
        let told = problems(&OAUTH.replace(from, to));
        assert!(told.contains(says) && !told.contains("hunter2"), "{says}: {told}");
    }
    let told = problems(&OAUTH.replace("OAUTHBEARER", "SCRAM-SHA-512"));
    assert!(
        told.contains("sasl.oauthbearer.token.endpoint.url: is not supported with this sasl.mechanism"),
        "{told}"
    );
}
