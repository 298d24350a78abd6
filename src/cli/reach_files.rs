//! The files that say how the brokers are reached: `--kafka-config`, the stores that it names, and `--client-ca`, read again
//! whenever they change.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{sync::watch, task::spawn_blocking, time::Instant};
use topicops_contract::ClientEndpoint;
use tracing::{error, info};

use super::{Settings, reach::Reach};
use crate::{
    controller::health::Health,
    kafka::{ClientProperties, Cluster, Trouble, WireCluster},
    metrics::Metrics,
};

/// A Secret or ConfigMap takes up to a minute to reach a Pod, and what is mounted tells of no change; this adds little to it.
const LOOK: Duration = Duration::from_secs(2);
/// How often what the brokers did not take is tried again: they may be about to change, too.
const AGAIN: Duration = Duration::from_secs(10);

/// Lets what the files say count, now and whenever it changes: topicops' own connections first, then the Secrets. What cannot
/// be read, or is not taken by brokers that take what was there before, is told of, and that goes on.
pub(super) struct ReachFiles {
    settings: Settings,
    cluster: WireCluster,
    endpoint: watch::Sender<Arc<ClientEndpoint>>,
    health: Health,
    metrics: Metrics,
    counts: [u8; 32],
    /// How clients reach the brokers as long as that counts.
    clients: ClientProperties,
    /// What was not taken, why, and when it was tried.
    refused: Option<([u8; 32], String, Instant)>,
}

impl ReachFiles {
    pub(super) fn new(
        settings: Settings,
        (counts, clients): ([u8; 32], ClientProperties),
        cluster: WireCluster,
        endpoint: watch::Sender<Arc<ClientEndpoint>>,
        (health, metrics): (Health, Metrics),
    ) -> Self {
        metrics.kafka_config_valid.set(1);
        Self { settings, cluster, endpoint, health, metrics, counts, clients, refused: None }
    }

    pub(super) async fn follow(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let wrong =
                self.look().await.err().map(|error| format!("{error:#}; what was there before goes on"));
            self.metrics.kafka_config_valid.set(i64::from(wrong.is_none()));
            let before = self.health.check("kafka-config").and_then(Result::err);
            if let Some(message) = wrong.as_ref().filter(|message| before.as_ref() != Some(message)) {
                error!("{message}");
            }
            self.health.set("kafka-config", wrong.map_or(Ok(()), Err));
        }
    }

    async fn look(&mut self) -> Result<()> {
        let settings = self.settings.clone();
        let reach = spawn_blocking(move || Reach::read(&settings)).await.context("reading the files")??;
        if reach.digest == self.counts {
            self.refused = None;
            return Ok(());
        }
        if let Some((digest, why, tried)) = &self.refused
            && *digest == reach.digest
            && tried.elapsed() < AGAIN
        {
            bail!("{why}");
        }
        let digest = reach.digest;
        self.refused = None;
        let adopted = self.adopt(reach).await;
        if let Err(error) = &adopted {
            self.refused = Some((digest, format!("{error:#}"), Instant::now()));
        }
        adopted
    }

    async fn adopt(&mut self, reach: Reach) -> Result<()> {
        let shown = self.settings.kafka_config.display();
        let context = || format!("--kafka-config {shown}, as it is now");
        let candidate =
            WireCluster::with_clients(reach.own.clone(), reach.logins.clone()).with_context(context)?;
        // What is of no use would take topicops away from brokers that it reaches, and clients with it.
        if let Err(error) = candidate.describe_cluster().await
            && self.cluster.describe_cluster().await.is_ok()
        {
            return Err(error).with_context(context);
        }
        self.try_for_clients(&reach).await?;
        self.cluster.set_up(reach.own, reach.logins).with_context(context)?;
        self.counts = reach.digest;
        self.clients = reach.clients;
        info!(file = %shown, "connections to the brokers are made as the files say now");
        self.endpoint.send_if_modified(|endpoint| {
            let changes = **endpoint != reach.endpoint;
            *endpoint = Arc::new(reach.endpoint);
            changes
        });
        Ok(())
    }

    /// Whether clients find what vouches for their brokers in what they are to get. topicops need not reach their listener:
    /// only what it learns there counts.
    async fn try_for_clients(&self, reach: &Reach) -> Result<()> {
        if **self.endpoint.borrow() == reach.endpoint {
            return Ok(());
        }
        let context = || "what clients are to get (--client-ca, or the trust store of --kafka-config)";
        let connect = async |properties: &ClientProperties| {
            let cluster = WireCluster::new(properties.clone()).with_context(context)?;
            Ok::<_, anyhow::Error>(cluster.connect().await)
        };
        if let Err(error) = connect(&reach.clients).await?
            && error.trouble == Trouble::Tls
            && connect(&self.clients).await?.is_ok()
        {
            return Err(error).with_context(context);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use bytes::{BufMut, BytesMut};
    use clap::Parser;
    use kafka_protocol::{
        messages::{ApiVersionsResponse, MetadataResponse, api_versions_response::ApiVersion},
        protocol::Encodable,
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

    /// A broker that knows two requests: which ones it knows, and what the cluster is.
    async fn broker(tls: Option<TlsAcceptor>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    None => drop(tokio::spawn(serve(stream))),
                    Some(tls) => {
                        let accepted = tls.accept(stream);
                        tokio::spawn(async move {
                            if let Ok(stream) = accepted.await {
                                serve(stream).await;
                            }
                        });
                    }
                }
            }
        });
        port
    }

    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        const API_VERSIONS: i16 = 18;
        while let Ok(length) = stream.read_u32().await {
            let mut request = vec![0; length as usize];
            stream.read_exact(&mut request).await.unwrap();
            let key = i16::from_be_bytes([request[0], request[1]]);
            let mut answer = BytesMut::new();
            answer.put_slice(&request[4..8]);
            if key == API_VERSIONS {
                let known = [(3, 4), (API_VERSIONS, 3)].map(|(key, version)| {
                    ApiVersion::default()
                        .with_api_key(key)
                        .with_min_version(version)
                        .with_max_version(version)
                });
                let known = ApiVersionsResponse::default().with_api_keys(known.to_vec());
                known.encode(&mut answer, 3).unwrap();
            } else {
                MetadataResponse::default().encode(&mut answer, 4).unwrap();
            }
            stream.write_u32(u32::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
            stream.flush().await.unwrap();
        }
    }

    fn followed(folder: &Path, clients: u16) -> ReachFiles {
        let args = [
            "t".to_owned(),
            format!("--kafka-config={}", folder.join("client.properties").display()),
            format!("--client-bootstrap-servers=127.0.0.1:{clients}"),
            "--client-security-protocol=SASL_SSL".to_owned(),
            format!("--client-ca={}", folder.join("ca.pem").display()),
        ];
        let settings = Command::try_parse_from(args).unwrap().settings;
        let reach = Reach::read(&settings).unwrap();
        let cluster = WireCluster::with_clients(reach.own, reach.logins).unwrap();
        let metrics = Metrics::with_registry().0;
        let told = (Health::new(metrics.clone()), metrics);
        let endpoint = watch::Sender::new(Arc::new(reach.endpoint));
        ReachFiles::new(settings, (reach.digest, reach.clients), cluster, endpoint, told)
    }

    #[tokio::test]
    async fn what_worse_reaches_the_brokers_than_what_was_there_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let own = |port: u16| format!("bootstrap.servers=127.0.0.1:{port}\nsecurity.protocol=PLAINTEXT\n");
        let ((right, issuer), (wrong, _)) = (authority("right"), authority("wrong"));
        let (plain, secure) = (broker(None).await, broker(Some(acceptor(&issuer))).await);
        put("client.properties", &own(plain));
        put("ca.pem", &right);
        let mut files = followed(folder.path(), secure);
        let given = |files: &ReachFiles| files.endpoint.borrow().truststore_pem.clone().unwrap();

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
}
