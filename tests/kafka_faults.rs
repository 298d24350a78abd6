//! What goes wrong between topicops and the brokers: each fault is a clear error of its kind, within a bounded time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what tests share may fail as they do"
)]

mod kafka_broker;
mod kafka_support;

use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_broker::{broker, cluster};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, CreateTopicsRequest, CreateTopicsResponse,
        DescribeAclsRequest, DescribeAclsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
        MetadataRequest, MetadataResponse, ResponseHeader, TopicName,
        api_versions_response::ApiVersion,
        create_topics_response::CreatableTopicResult,
        describe_acls_response::{AclDescription, DescribeAclsResource},
        describe_log_dirs_response::DescribeLogDirsResult,
        metadata_response::MetadataResponseBroker,
    },
    protocol::{Decodable, Encodable, HeaderVersion, Message, Request, decode_request_header_from_buffer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use topicops::kafka::{Cluster, ClusterError, NewTopic, Trouble, WireCluster};

/// A server on loopback that does something to each connection it takes.
async fn server<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    port
}

/// A plain client of a server on loopback.
fn plain(port: u16) -> WireCluster {
    cluster(&format!("bootstrap.servers=127.0.0.1:{port}\nrequest.timeout.ms=30000"))
}

async fn fault(cluster: &WireCluster) -> ClusterError {
    let began = Instant::now();
    let error = cluster.describe_cluster().await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert!(error.to_string().starts_with("describe the cluster: "), "{error}");
    error
}

async fn speaks(words: &'static [u8]) -> ClusterError {
    let port = server(move |mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(words).await;
        // Open until the other side goes, so that it is not the end that it sees.
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await;
    fault(&plain(port)).await
}

#[tokio::test]
async fn every_bootstrap_server_is_tried_and_every_cause_is_told() {
    // No resolver sends such a name anywhere: a label has at most 63 characters.
    let nowhere = format!("{}:9092", "x".repeat(64));
    let error = fault(&cluster(&format!("bootstrap.servers=127.0.0.1:1,{nowhere},[::1]:1"))).await;
    assert_eq!(error.trouble, Trouble::Unreachable);
    for part in ["127.0.0.1:1: ", "connection refused", &format!("{nowhere}: "), "resolved", "[::1]:1: "] {
        assert!(error.message.contains(part), "{part} is missing in: {error}");
    }
}

#[tokio::test]
async fn a_dead_server_at_the_head_of_the_list_does_not_stop_the_next() {
    let broker = broker().await;
    let servers =
        broker.properties().lines().find_map(|line| line.strip_prefix("bootstrap.servers=")).unwrap();
    let properties = broker.with("bootstrap.servers", &format!("127.0.0.1:1,{servers}"));
    cluster(&properties).describe_cluster().await.unwrap();
}

#[tokio::test]
async fn other_protocols_are_recognized() {
    for (words, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "HTTP server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH server"),
        (b"220 mail.example ESMTP\r\n", "no Kafka broker"),
        (b"\x7f\xff\xff\xff", "2147483647 bytes"),
        (b"\xff\xff\xff\xff", "4294967295 bytes"),
    ] {
        let error = speaks(words).await;
        assert_eq!(error.trouble, Trouble::Protocol, "{error}");
        assert!(error.message.contains(part), "{part} is missing in: {error}");
    }
}

#[tokio::test]
async fn garbage_in_a_frame_is_told_as_such() {
    for words in
        [&b"\0\0\0\x08\0\0\0\x63\0\0\0\0"[..], b"\0\0\0\x06\0\0\0\0\0\0", b"\0\0\0\0", b"\0\0\0\x02\0\0"]
    {
        assert_eq!(speaks(words).await.trouble, Trouble::Protocol);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_on() {
    let listens = |mut stream: TcpStream| async move {
        while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    };
    let port = server(listens).await;
    let properties = format!("bootstrap.servers=127.0.0.1:{port}\nrequest.timeout.ms=1000");
    let error = fault(&cluster(&properties)).await;
    assert_eq!(error.trouble, Trouble::Unreachable);
    assert!(error.message.contains("no connection within 1s"), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_up_is_unreachable() {
    let port = server(|stream| async move { drop(stream) }).await;
    let error = fault(&plain(port)).await;
    assert_eq!(error.trouble, Trouble::Unreachable, "{error}");
}

#[tokio::test]
async fn tls_with_a_server_that_has_none_is_a_fault_of_tls() {
    let port = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"\0\0\0\x08garbage!").await;
    })
    .await;
    let error = fault(&cluster(&format!("bootstrap.servers=127.0.0.1:{port}\nsecurity.protocol=SSL"))).await;
    assert_eq!(error.trouble, Trouble::Tls, "{error}");
    assert!(error.message.contains("does this listener speak TLS?"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_told_in_the_brokers_words() {
    let jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"nobody\" password=\"hunter2\";";
    let error = fault(&cluster(&broker().await.with("sasl.jaas.config", jaas))).await;
    assert_eq!(error.trouble, Trouble::Authentication, "{error}");
    assert!(error.message.contains("SASL_AUTHENTICATION_FAILED"), "{error}");
    assert!(error.message.contains("invalid credentials") && !error.message.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn an_authority_that_did_not_sign_the_broker_is_a_fault_of_tls() {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    let error =
        fault(&cluster(&broker().await.with("ssl.truststore.location", path.to_str().unwrap()))).await;
    assert_eq!(error.trouble, Trouble::Tls, "{error}");
    assert!(error.message.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_tls_listener_asked_without_tls_is_told() {
    let error = fault(&cluster(&broker().await.with("security.protocol", "SASL_PLAINTEXT"))).await;
    assert_eq!(error.trouble, Trouble::Tls, "{error}");
    assert!(error.message.contains("speaks TLS"), "{error}");
}

/// One request of a client that speaks Kafka: its header's key, version and correlation id, and its body.
async fn request(stream: &mut TcpStream) -> Option<(i16, i16, i32, Bytes)> {
    let length = usize::try_from(stream.read_i32().await.ok()?).unwrap();
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await.ok()?;
    let mut frame = Bytes::from(frame);
    let header = decode_request_header_from_buffer(&mut frame).unwrap();
    Some((header.request_api_key, header.request_api_version, header.correlation_id, frame))
}

fn framed<A: Encodable + HeaderVersion>(answer: &A, version: i16, correlation: i32) -> BytesMut {
    let mut body = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut body, A::header_version(version)).unwrap();
    answer.encode(&mut body, version).unwrap();
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(body.len()).unwrap());
    frame.extend_from_slice(&body);
    frame
}

fn versions() -> ApiVersionsResponse {
    let api = |key: i16, newest: i16| {
        ApiVersion::default().with_api_key(key).with_min_version(0).with_max_version(newest)
    };
    ApiVersionsResponse::default().with_api_keys(vec![
        api(ApiVersionsRequest::KEY, 3),
        api(MetadataRequest::KEY, MetadataRequest::VERSIONS.max),
        api(CreateTopicsRequest::KEY, 7),
        api(DescribeAclsRequest::KEY, 3),
        api(DescribeLogDirsRequest::KEY, 4),
    ])
}

/// Answers like a broker until the first request of the kind `until`, and then hangs up in the middle of the answer.
async fn broker_that_dies(mut stream: TcpStream, until: ApiKey) {
    while let Some((key, version, correlation, _)) = request(&mut stream).await {
        let answer = if key == ApiVersionsRequest::KEY {
            framed(&versions(), version, correlation)
        } else if key == until as i16 {
            let _ = stream.write_all(b"\0\0\x10\0and that was all").await;
            return;
        } else {
            framed(&MetadataResponse::default(), version, correlation)
        };
        stream.write_all(&answer).await.unwrap();
    }
}

fn topics(count: usize) -> Vec<NewTopic> {
    (0..count)
        .map(|n| NewTopic {
            name: format!("t{n}").parse().unwrap(),
            partitions: Some(1.try_into().unwrap()),
            replication_factor: None,
            placement: None,
            configs: Default::default(),
        })
        .collect()
}

#[tokio::test]
async fn a_broker_that_dies_in_mid_answer_fails_the_batch_as_a_whole() {
    let port = server(|stream| broker_that_dies(stream, ApiKey::CreateTopics)).await;
    let cluster = plain(port);
    cluster.describe_cluster().await.unwrap();
    let error = cluster.create_topics(&topics(3)).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Unreachable, "{error}");
    assert_eq!(error.operation, "create 3 topics");
    assert!(error.message.contains("middle of an answer"), "{error}");
}

#[tokio::test]
async fn a_request_that_the_broker_is_too_old_for_is_named() {
    let port = server(|stream| broker_that_dies(stream, ApiKey::CreateTopics)).await;
    let error = plain(port).describe_scram_users("").await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Protocol);
    assert!(
        error.message.contains("DescribeUserScramCredentials") && error.message.contains("too old"),
        "{error}"
    );
}

#[tokio::test]
async fn a_kept_connection_that_broke_is_replaced_without_a_word() {
    // Each connection answers one request after the versions, and then closes.
    let port = server(|mut stream| async move {
        for _ in 0..2 {
            let Some((key, version, correlation, _)) = request(&mut stream).await else { return };
            let answer = if key == ApiVersionsRequest::KEY {
                framed(&versions(), version, correlation)
            } else {
                framed(&MetadataResponse::default(), version, correlation)
            };
            stream.write_all(&answer).await.unwrap();
        }
    })
    .await;
    let cluster = plain(port);
    for _ in 0..5 {
        cluster.describe_cluster().await.unwrap();
    }
}

#[tokio::test]
async fn a_broker_that_knows_only_the_oldest_versions_request_is_understood() {
    let port = server(|mut stream| async move {
        while let Some((key, version, correlation, mut body)) = request(&mut stream).await {
            let answer = match (key, version) {
                (ApiVersionsRequest::KEY, 0) => framed(&versions(), 0, correlation),
                (ApiVersionsRequest::KEY, _) => {
                    let unsupported = ApiVersionsResponse::default().with_error_code(35);
                    framed(&unsupported, 0, correlation)
                }
                _ => {
                    MetadataRequest::decode(&mut body, version).unwrap();
                    assert!(!body.has_remaining());
                    framed(&MetadataResponse::default(), version, correlation)
                }
            };
            stream.write_all(&answer).await.unwrap();
        }
    })
    .await;
    plain(port).describe_cluster().await.unwrap();
}

/// A broker that answers one kind of request with one answer, and metadata with nothing.
async fn answering<R: Request>(answer: R::Response) -> WireCluster
where
    R::Response: Clone + Send + Sync + 'static,
{
    let port = server(move |mut stream| {
        let answer = answer.clone();
        async move {
            while let Some((key, version, correlation, _)) = request(&mut stream).await {
                let frame = if key == ApiVersionsRequest::KEY {
                    framed(&versions(), version, correlation)
                } else {
                    assert_eq!(key, R::KEY);
                    framed(&answer, version, correlation)
                };
                stream.write_all(&frame).await.unwrap();
            }
        }
    })
    .await;
    plain(port)
}

#[tokio::test]
async fn an_item_that_the_answer_does_not_mention_is_an_error() {
    let mentioned = CreatableTopicResult::default().with_name(TopicName("t1".to_owned().into()));
    let answer = CreateTopicsResponse::default().with_topics(vec![mentioned.with_error_message(None)]);
    let outcomes = answering::<CreateTopicsRequest>(answer).await.create_topics(&topics(3)).await.unwrap();
    assert!(outcomes[0].is_err() && outcomes[1].is_ok() && outcomes[2].is_err(), "{outcomes:?}");
    assert!(outcomes[0].as_ref().unwrap_err().message.contains("does not mention"));
}

#[tokio::test]
async fn a_broker_that_is_away_hides_no_other_brokers_disks() {
    let broker = |id: i32, port: u16| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host("127.0.0.1".into())
            .with_port(port.into())
    };
    let (tell, told) = tokio::sync::watch::channel(0);
    let port = server(move |mut stream| {
        let port = *told.borrow();
        async move {
            while let Some((key, version, correlation, _)) = request(&mut stream).await {
                let answer = match key {
                    ApiVersionsRequest::KEY => framed(&versions(), version, correlation),
                    MetadataRequest::KEY => {
                        let both = vec![broker(1, port), broker(2, 1)];
                        framed(&MetadataResponse::default().with_brokers(both), version, correlation)
                    }
                    _ => {
                        let dir = DescribeLogDirsResult::default()
                            .with_log_dir("/data".into())
                            .with_total_bytes(70);
                        let answer =
                            DescribeLogDirsResponse::default().with_results(vec![dir.with_usable_bytes(-1)]);
                        framed(&answer, version, correlation)
                    }
                };
                stream.write_all(&answer).await.unwrap();
            }
        }
    })
    .await;
    tell.send(port).unwrap();
    let disks = plain(port).describe_log_dirs().await.unwrap();
    let there = disks[&1].as_ref().unwrap();
    assert_eq!((there.total_bytes(), there.usable_bytes()), (Some(70), None));
    let away = disks[&2].as_ref().unwrap_err();
    assert_eq!((away.code.as_str(), away.retriable), ("BROKER_NOT_AVAILABLE", true));
    assert!(away.message.contains("broker 2") && away.message.contains("refused"), "{away}");
}

#[tokio::test]
async fn rules_of_kinds_yet_unknown_do_not_hide_the_others() {
    let rule = |principal: &'static str, operation: i8| {
        AclDescription::default()
            .with_principal(principal.into())
            .with_host("*".into())
            .with_operation(operation)
            .with_permission_type(3)
    };
    let resource = |kind: i8, pattern: i8| {
        DescribeAclsResource::default()
            .with_resource_type(kind)
            .with_resource_name("r".into())
            .with_pattern_type(pattern)
            .with_acls(vec![
                rule("User:ours", 3),
                rule("User:ours", 15),
                rule("Group:ours", 3),
                rule("User:x", 99),
            ])
    };
    let answer = DescribeAclsResponse::default().with_error_message(None).with_resources(vec![
        resource(99, 3),
        resource(2, 99),
        resource(2, 3),
    ]);
    let seen = answering::<DescribeAclsRequest>(answer).await.describe_acls("ours").await.unwrap();
    let seen: Vec<String> = seen.iter().map(ToString::to_string).collect();
    assert_eq!(seen, ["User:ours may Read Topic r"]);
}

#[tokio::test]
async fn connections_are_closed_when_nothing_is_asked_for_a_while() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let port = server(move |mut stream| {
        let tell = tell.clone();
        async move {
            while let Some((key, version, correlation, _)) = request(&mut stream).await {
                let answer = if key == ApiVersionsRequest::KEY {
                    framed(&versions(), version, correlation)
                } else {
                    framed(&MetadataResponse::default(), version, correlation)
                };
                stream.write_all(&answer).await.unwrap();
            }
            tell.send(()).unwrap();
        }
    })
    .await;
    let cluster = plain(port);
    for _ in 0..10 {
        cluster.describe_cluster().await.unwrap();
    }
    assert!(told.try_recv().is_err(), "a busy connection was closed");
    // The cluster is still there, and yet its connection goes.
    let closed = tokio::time::timeout(Duration::from_secs(60), told.recv()).await;
    closed.expect("the idle connection is still open after 60 s").unwrap();
    drop(cluster);
}
