use std::{fs, path::Path};

use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use clap::Parser;
use kafka_protocol::{
    messages::{ApiVersionsResponse, MetadataResponse, api_versions_response::ApiVersion},
    protocol::{Encodable, StrBytes},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::kafka::ClusterGuard;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    settings: Settings,
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

fn acceptor(issuer: &Issuer<'static, KeyPair>) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let chain = vec![leaf.signed_by(&key, issuer).unwrap().der().clone()];
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn broker(tls: Option<TlsAcceptor>) -> u16 {
    broker_of("", tls).await
}

/// A broker that knows two requests: which ones it knows, and what the cluster is.
async fn broker_of(cluster: &'static str, tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => drop(tokio::spawn(serve(stream, cluster))),
                Some(tls) => {
                    let accepted = tls.accept(stream);
                    tokio::spawn(async move {
                        if let Ok(stream) = accepted.await {
                            serve(stream, cluster).await;
                        }
                    });
                }
            }
        }
    });
    port
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, cluster: &'static str) {
    const API_VERSIONS: i16 = 18;
    while let Ok(length) = stream.read_u32().await {
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await.unwrap();
        let key = i16::from_be_bytes([request[0], request[1]]);
        let mut answer = BytesMut::new();
        answer.put_slice(&request[4..8]);
        if key == API_VERSIONS {
            let known = [(3, 4), (API_VERSIONS, 3)].map(|(key, version)| {
                ApiVersion::default().with_api_key(key).with_min_version(version).with_max_version(version)
            });
            let known = ApiVersionsResponse::default().with_api_keys(known.to_vec());
            known.encode(&mut answer, 3).unwrap();
        } else {
            let id = StrBytes::from_static_str(cluster);
            MetadataResponse::default().with_cluster_id(Some(id)).encode(&mut answer, 4).unwrap();
        }
        stream.write_u32(u32::try_from(answer.len()).unwrap()).await.unwrap();
        stream.write_all(&answer).await.unwrap();
        stream.flush().await.unwrap();
    }
}

/// The cluster `home` is kept.
struct Home;

#[async_trait]
impl ClusterGuard for Home {
    async fn admit(&self, id: &str) -> Result<(), (Trouble, String)> {
        if id == "home" { Ok(()) } else { Err((Trouble::OtherCluster, format!("this is {id}"))) }
    }
}

fn followed(folder: &Path, clients: u16) -> ReachFiles {
    followed_at(folder, &format!("127.0.0.1:{clients}"))
}

fn followed_at(folder: &Path, clients: &str) -> ReachFiles {
    let args = [
        "t".to_owned(),
        format!("--kafka-config={}", folder.join("client.properties").display()),
        format!("--client-bootstrap-servers={clients}"),
        "--client-security-protocol=SASL_SSL".to_owned(),
        format!("--client-ca={}", folder.join("ca.pem").display()),
    ];
    followed_with(Command::try_parse_from(args).unwrap().settings)
}

fn followed_with(settings: Settings) -> ReachFiles {
    let reach = Reach::read(&settings).unwrap();
    let counts = Counts::from(&reach);
    let home: Arc<dyn ClusterGuard> = Arc::new(Home);
    let cluster = WireCluster::with_clients(reach.own, reach.logins, Some(home)).unwrap();
    let metrics = Metrics::with_registry().0;
    let told = (Health::new(metrics.clone()), metrics);
    let endpoint = watch::Sender::new(Arc::new(reach.endpoint));
    let for_clients = ForClients { endpoint, vouched: watch::Sender::default() };
    ReachFiles::new(settings, counts, cluster, for_clients, told)
}

fn given(files: &ReachFiles) -> String {
    files.for_clients.endpoint.borrow().truststore_pem.clone().unwrap()
}

fn own(port: u16) -> String {
    format!("bootstrap.servers=127.0.0.1:{port}\nsecurity.protocol=PLAINTEXT\n")
}

#[tokio::test]
async fn what_worse_reaches_the_brokers_than_what_was_there_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let ((right, issuer), (wrong, _)) = (authority("right"), authority("wrong"));
    let (plain, secure) = (broker(None).await, broker(Some(acceptor(&issuer))).await);
    put("client.properties", &own(plain));
    put("ca.pem", &right);
    let mut files = followed(folder.path(), secure);
    files.look().await.unwrap();

    put("ca.pem", &wrong);
    let told = format!("{:#}", files.look().await.unwrap_err());
    assert!(told.contains("--client-ca") && told.contains("TLS"), "{told}");
    assert_eq!(given(&files), right);

    put("ca.pem", &format!("{right}{wrong}"));
    files.look().await.unwrap();
    assert_eq!(given(&files), format!("{right}{wrong}"));

    // A server that is none, and a listener that speaks TLS where none is meant.
    for mistaken in [1, secure] {
        put("client.properties", &own(mistaken));
        let told = format!("{:#}", files.look().await.unwrap_err());
        assert!(told.contains(&format!("127.0.0.1:{mistaken}")), "{told}");
    }
    let other = broker(None).await;
    put("client.properties", &own(other));
    files.look().await.unwrap();
}

#[tokio::test]
async fn brokers_of_another_cluster_are_not_taken_even_where_those_before_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let put = |text: &str| fs::write(folder.path().join("client.properties"), text).unwrap();
    fs::write(folder.path().join("ca.pem"), authority("any").0).unwrap();
    let (home, moved) = (broker_of("home", None).await, broker_of("home", None).await);
    let elsewhere = broker_of("elsewhere", None).await;
    for before in [home, 1] {
        put(&own(before));
        let mut files = followed(folder.path(), 9);
        put(&own(elsewhere));
        let told = format!("{:#}", files.look().await.unwrap_err());
        assert!(told.contains("this is elsewhere") && told.contains(&elsewhere.to_string()), "{told}");
        put(&own(moved));
        files.look().await.unwrap();
        files.cluster.describe_cluster().await.unwrap();
    }
    // One that leads elsewhere, though it is asked first, does not stand before those that do not.
    put(&own(elsewhere).replace(&elsewhere.to_string(), &format!("{elsewhere},127.0.0.1:{home}")));
    followed(folder.path(), 9).cluster.describe_cluster().await.unwrap();
    // From the start, too.
    put(&own(elsewhere));
    let files = followed(folder.path(), 9);
    let refused = files.cluster.list_topics().await.unwrap_err();
    assert_eq!(
        (refused.trouble, refused.message),
        (Trouble::OtherCluster, format!("127.0.0.1:{elsewhere}: this is elsewhere"))
    );
}

#[tokio::test]
async fn at_the_start_what_vouches_for_no_broker_is_doubted_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let ((right, issuer), (wrong, _)) = (authority("right"), authority("wrong"));
    let (plain, secure) = (broker(None).await, broker(Some(acceptor(&issuer))).await);
    put("client.properties", &own(plain));
    put("ca.pem", &wrong);
    let vouched = |files: &ReachFiles| files.for_clients.vouched.borrow().clone();
    let doubts =
        |files: &ReachFiles| matches!(vouched(files), Vouched::No(why) if why.contains("--client-ca"));
    let mut files = followed(folder.path(), secure);
    assert_eq!(vouched(&files), Vouched::Unknown);
    for _ in 0..2 {
        let told = format!("{:#}", files.look().await.unwrap_err());
        assert!(told.contains("--client-ca") && told.contains("TLS"), "{told}");
        assert!(doubts(&files), "{:?}", vouched(&files));
    }
    // Another that is wrong, too, is taken, because nothing before it is any better, and doubted.
    put("ca.pem", &authority("also wrong").0);
    files.look().await.unwrap_err();
    assert!(doubts(&files), "{:?}", vouched(&files));
    put("ca.pem", &right);
    files.look().await.unwrap();
    assert_eq!((vouched(&files), given(&files)), (Vouched::Yes, right.clone()));

    // Where topicops does not reach the clients' listener, nothing speaks against it.
    let mut elsewhere = followed(folder.path(), 1);
    elsewhere.look().await.unwrap();
    assert_eq!(vouched(&elsewhere), Vouched::Yes);
}

#[tokio::test]
async fn who_hangs_up_objects_to_nothing_and_while_no_broker_answers_nothing_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let vouched = |files: &ReachFiles| files.for_clients.vouched.borrow().clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs_up = listener.local_addr().unwrap().port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    put("ca.pem", &authority("any").0);
    put("client.properties", &own(1));
    let mut away = followed(folder.path(), hangs_up);
    away.look().await.unwrap();
    assert_eq!(vouched(&away), Vouched::Unknown);
    // Nor does a file that cannot be read keep what counts from being judged.
    let plain = broker(None).await;
    put("client.properties", &own(plain));
    let mut files = followed(folder.path(), hangs_up);
    put("client.properties", "no line of properties");
    files.look().await.unwrap_err();
    assert_eq!(vouched(&files), Vouched::Yes);
}

#[tokio::test]
async fn of_two_that_vouch_for_no_broker_secrets_keep_the_one_that_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let vouched = |files: &ReachFiles| files.for_clients.vouched.borrow().clone();
    let ((first, issuer), (second, other)) = (authority("first"), authority("second"));
    let plain = broker(None).await;
    let (before, after) = (broker(Some(acceptor(&issuer))).await, broker(Some(acceptor(&other))).await);
    put("client.properties", &own(plain));
    put("ca.pem", &first);
    let mut files = followed(folder.path(), before);
    files.look().await.unwrap();
    assert_eq!(vouched(&files), Vouched::Yes);
    // The brokers have another certificate now, and the new file is of a third authority.
    files.counts.clients.bootstrap_servers = vec![Address { host: "127.0.0.1".to_owned(), port: after }];
    files.settings.clients.client_bootstrap_servers = Some(format!("127.0.0.1:{after}").parse().unwrap());
    put("ca.pem", &authority("third").0);
    files.look().await.unwrap_err();
    assert!(matches!(vouched(&files), Vouched::No(_)), "{:?}", vouched(&files));
    put("ca.pem", &second);
    files.look().await.unwrap();
    assert_eq!((vouched(&files), given(&files)), (Vouched::Yes, second));
}

#[tokio::test]
async fn what_clients_and_topicops_trust_alike_is_judged_once_their_brokers_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let ((right, issuer), file) = (authority("right"), folder.path().join("client.properties"));
    let put = |port: u16| {
        let inline = right.replace('\n', "\\n");
        let own = format!(
            "bootstrap.servers=127.0.0.1:{port}\nsecurity.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n\
             sasl.username=u\nsasl.password=p\nssl.truststore.certificates={inline}\n"
        );
        fs::write(&file, own).unwrap();
    };
    put(1);
    let args = ["t".to_owned(), format!("--kafka-config={}", file.display())];
    let mut files = followed_with(Command::try_parse_from(args).unwrap().settings);
    let vouched = |files: &ReachFiles| files.for_clients.vouched.borrow().clone();
    files.look().await.unwrap();
    assert_eq!(vouched(&files), Vouched::Unknown, "nobody was there");
    put(broker(Some(acceptor(&issuer))).await);
    files.look().await.unwrap();
    assert_eq!(vouched(&files), Vouched::Yes);
}

mod doubt;
