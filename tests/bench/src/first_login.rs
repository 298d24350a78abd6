use std::{
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    Api,
    api::{DeleteParams, PostParams, WatchEvent, WatchParams},
};
use tokio::time::timeout;
use topicops::kafka::{VerifyRequest, verify};
use topicops_contract::{Password, TopicName};
use topicops_testbed::wait;

use crate::{
    bench::Bench,
    clients::{NAMESPACE, TOPIC, deployment},
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// From one Deployment's creation until a real client got in with its Secret and saw its topic, so many times, one after the other.
pub(crate) async fn first_logins(bench: &Bench, count: usize) -> Result<Vec<Duration>> {
    let mut taken = Vec::new();
    for index in 0..count {
        let name = format!("single-{index}");
        taken.push(first_login(bench, &name).await.with_context(|| format!("Deployment {name}"))?);
    }
    Ok(taken)
}

async fn first_login(bench: &Bench, name: &str) -> Result<Duration> {
    let deployments: Api<Deployment> = Api::namespaced(bench.client.clone(), NAMESPACE);
    let secrets: Api<Secret> = Api::namespaced(bench.client.clone(), NAMESPACE);
    let secret = format!("{name}-kafka-credentials");
    let version = secrets.list_metadata(&Default::default()).await?.metadata.resource_version;
    let only = WatchParams::default().fields(&format!("metadata.name={secret}"));
    let mut events = pin!(secrets.watch(&only, &version.unwrap_or_default()).await?);
    let object = deployment(name, true)?;
    let started = Instant::now();
    deployments.create(&PostParams::default(), &object).await?;
    let written = timeout(TIMEOUT, async {
        loop {
            match events.next().await.context("the watch ended")?? {
                WatchEvent::Added(secret) | WatchEvent::Modified(secret) => return Ok(secret),
                WatchEvent::Bookmark(_) => {}
                other => bail!("{other:?} while Secret {secret} was waited for"),
            }
        }
    });
    let written: Secret = written.await.with_context(|| format!("no Secret {secret}"))??;
    let properties = written.data.unwrap_or_default().remove("client.properties");
    let properties = String::from_utf8(properties.context("no client.properties in the Secret")?.0)?;
    verify(VerifyRequest {
        client_properties: Password::new(properties),
        topics: vec![TOPIC.parse::<TopicName>()?],
        groups: Vec::new(),
        timeout: VerifyRequest::TIMEOUT,
    })
    .await?;
    let taken = started.elapsed();
    deployments.delete(name, &DeleteParams::background()).await?;
    wait::until(format!("Secret {secret} to be gone"), TIMEOUT, || async {
        ensure!(secrets.get_metadata_opt(&secret).await?.is_none(), "it is there");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    Ok(taken)
}
