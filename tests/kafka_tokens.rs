//! Logins without a password of Kafka's: by a certificate, and by a token, from a file or an authorization server; on a real
//! broker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what tests share may fail as they do"
)]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::OnceCell,
};
use topicops::kafka::{ClientProperties, Cluster, Trouble, WireCluster};
use topicops_contract::PropertiesText;
use topicops_testbed::{Options, Testbed};

const MUTUAL_PORT: u16 = 9095;
const TOKEN_PORT: u16 = 9096;

struct Bed {
    bed: Testbed,
    /// Who may issue certificates for clients.
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

static BED: OnceCell<Bed> = OnceCell::const_new();

/// A broker with a listener for certificates and one for tokens. Those need no signature here: what is tried is how topicops
/// comes by them and shows them.
async fn bed() -> &'static Bed {
    BED.get_or_init(|| async {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the operators' CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        let truststore = folder.path().join("operators.pem");
        std::fs::write(&truststore, authority).unwrap();
        let options = Options::default()
            .without_node()
            .listener("MUTUAL", "SSL", MUTUAL_PORT)
            .listener("TOKENS", "SASL_SSL", TOKEN_PORT)
            .broker_setting("listener.name.mutual.ssl.client.auth", "required")
            .broker_setting("listener.name.mutual.ssl.truststore.type", "PEM")
            .broker_setting("listener.name.mutual.ssl.truststore.location", truststore.display().to_string())
            .broker_setting("listener.name.tokens.sasl.enabled.mechanisms", "OAUTHBEARER")
            .broker_setting(
                "listener.name.tokens.oauthbearer.sasl.jaas.config",
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"broker\";",
            )
            .broker_setting("super.users", "User:admin;User:CN=topicops;User:operator");
        Bed { bed: Testbed::start(options).await.unwrap(), issuer: Issuer::new(params, key), folder }
    })
    .await
}

impl Bed {
    fn properties(&self, port: u16, pairs: &[(&str, &str)]) -> String {
        let kafka = self.bed.kafka().unwrap();
        let servers = kafka.bootstrap_servers().replace(":9093", &format!(":{port}"));
        let ca = kafka.ca_file().display().to_string();
        let first = [
            ("bootstrap.servers", servers.as_str()),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &ca),
        ];
        PropertiesText::render(first.into_iter().chain(pairs.iter().copied()))
    }

    fn by_token(&self, pairs: &[(&str, &str)]) -> WireCluster {
        let first = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "OAUTHBEARER")];
        cluster(&self.properties(TOKEN_PORT, &[first.as_slice(), pairs].concat()))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }
}

fn cluster(text: &str) -> WireCluster {
    WireCluster::new(ClientProperties::parse("test", text).unwrap()).unwrap()
}

/// A JWT without signature.
fn jwt(subject: &str, seconds: i64) -> String {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = encode(r#"{"alg":"none"}"#.to_owned());
    let expires = now + seconds;
    let claims = encode(format!(r#"{{"sub":"{subject}","iat":{},"exp":{expires}}}"#, now.min(expires) - 1));
    format!("{header}.{claims}.")
}

/// An authorization server that has one answer. Its port, and how often it was asked with the right words.
async fn authorization_server(answer: (u16, String)) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = String::new();
            let mut buffer = [0; 4096];
            while !request.contains("client_credentials") {
                match stream.read(&mut buffer).await {
                    Ok(read @ 1..) => request.push_str(&String::from_utf8_lossy(&buffer[..read])),
                    _ => break,
                }
            }
            let lower = request.to_ascii_lowercase();
            // topicops:s3cret
            let right = request.starts_with("POST /realms/kafka/token?x=1 HTTP/1.1\r\n")
                && lower.contains(&"authorization: Basic dG9waWNvcHM6czNjcmV0\r\n".to_ascii_lowercase())
                && request.contains("Basic dG9waWNvcHM6czNjcmV0")
                && request.ends_with("grant_type=client_credentials&scope=kafka+admin");
            let (status, body) = if right { answer.clone() } else { (400, request.clone()) };
            counted.fetch_add(usize::from(right), Ordering::SeqCst);
            // In chunks, as many servers answer.
            let text = format!(
                "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    (port, asked)
}

fn client_credentials(port: u16) -> [(String, String); 2] {
    let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
    [
        (
            "sasl.oauthbearer.token.endpoint.url".to_owned(),
            format!("http://127.0.0.1:{port}/realms/kafka/token?x=1"),
        ),
        (
            "sasl.jaas.config".to_owned(),
            format!("{module} required clientId=\"topicops\" clientSecret=\"s3cret\" scope=\"kafka admin\";"),
        ),
    ]
}

fn pairs(owned: &[(String, String)]) -> Vec<(&str, &str)> {
    owned.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

#[tokio::test]
async fn a_certificate_logs_in_and_without_one_nobody_does() {
    let bed = bed().await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "topicops");
    let certificate = params.signed_by(&key, &bed.issuer).unwrap().pem();
    let inline = [
        ("security.protocol", "SSL"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.certificate.chain", certificate.as_str()),
        ("ssl.keystore.key", &key.serialize_pem()),
    ];
    // Whoever may see all rules is known for who it is.
    cluster(&bed.properties(MUTUAL_PORT, &inline)).describe_acls("").await.unwrap();
    let file = bed.file("keystore.pem", &format!("{}{certificate}", key.serialize_pem()));
    let file = file.display().to_string();
    let in_a_file =
        [("security.protocol", "SSL"), ("ssl.keystore.type", "PEM"), ("ssl.keystore.location", &file)];
    cluster(&bed.properties(MUTUAL_PORT, &in_a_file)).describe_acls("").await.unwrap();
    let without = cluster(&bed.properties(MUTUAL_PORT, &[("security.protocol", "SSL")]));
    let error = without.describe_acls("").await.unwrap_err();
    assert!(matches!(error.trouble, Trouble::Tls | Trouble::Unreachable), "{error}");
    assert!(error.message.contains("asks for a client certificate"), "{error}");
}

#[tokio::test]
async fn a_token_in_a_file_logs_in_and_the_file_may_change() {
    let bed = bed().await;
    let file = bed.file("token", &jwt("operator", 3_600));
    let url = format!("file://{}", file.display());
    let cluster = bed.by_token(&[("sasl.oauthbearer.token.endpoint.url", &url)]);
    cluster.describe_acls("").await.unwrap();
    std::fs::write(&file, jwt("operator", -60)).unwrap();
    // The connection before may be kept for as long as its token is good.
    let expired = bed.by_token(&[("sasl.oauthbearer.token.endpoint.url", &url)]);
    let error = expired.describe_acls("").await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Authentication, "{error}");
    std::fs::write(&file, jwt("operator", 3_600)).unwrap();
    expired.describe_acls("").await.unwrap();
    std::fs::write(&file, jwt("nobody", 3_600)).unwrap();
    let nobody = bed.by_token(&[("sasl.oauthbearer.token.endpoint.url", &url)]);
    assert_eq!(nobody.describe_acls("").await.unwrap_err().trouble, Trouble::Authorization);
}

#[tokio::test]
async fn client_credentials_bring_a_token_that_is_kept_while_it_is_good() {
    let bed = bed().await;
    let token = jwt("operator", 3_600);
    let granted = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#);
    let (port, asked) = authorization_server((200, granted)).await;
    let cluster = bed.by_token(&pairs(&client_credentials(port)));
    // Each on a connection of its own.
    let at_once = (0..4).map(|_| cluster.describe_acls(""));
    for outcome in futures::future::join_all(at_once).await {
        outcome.unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_the_authorization_server_or_the_broker_refuses_is_told_and_no_secret_is() {
    let bed = bed().await;
    let refused = r#"{"error":"invalid_client","error_description":"who is that?"}"#.to_owned();
    let (port, _) = authorization_server((401, refused)).await;
    let error = bed.by_token(&pairs(&client_credentials(port))).describe_acls("").await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Authentication, "{error}");
    for part in ["no token from 127.0.0.1", "401", "invalid_client: who is that?"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    let (port, _) = authorization_server((200, r#"{"token":"s3cret"}"#.to_owned())).await;
    let error = bed.by_token(&pairs(&client_credentials(port))).describe_acls("").await.unwrap_err();
    assert!(error.message.contains("holds no access_token") && !error.message.contains("s3cret"), "{error}");
    let forged = format!(r#"{{"access_token":"{}","expires_in":9}}"#, jwt("operator", -60));
    let (port, _) = authorization_server((200, forged)).await;
    let error = bed.by_token(&pairs(&client_credentials(port))).describe_acls("").await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Authentication, "{error}");
    let error = bed.by_token(&pairs(&client_credentials(1))).describe_acls("").await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Unreachable, "{error}");
}
