//! topicops itself: its replicas, and what kills them.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{PATIENCE, World, http_get, wait};

impl World {
    pub async fn pods(&self, namespace: &str, labels: &str) -> Result<Vec<Pod>> {
        Ok(self.api::<Pod>(namespace).list(&ListParams::default().labels(labels)).await?.items)
    }

    /// Gives topicops these variables, as an administrator does, and waits until both replicas run with them.
    pub async fn set_variables(&self, variables: &[(&str, &str)]) -> Result<()> {
        let env: Vec<Value> =
            variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let containers = json!([{ "name": "topicops", "env": env }]);
        let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        let api = self.api::<Deployment>("topicops");
        api.patch("topicops", &PatchParams::default(), &Patch::Strategic(patch)).await?;
        self.until_rolled_out("topicops", "topicops", PATIENCE).await
    }

    /// The Pod that holds the Lease, as long as it is there.
    pub async fn until_leader(&self) -> Result<Pod> {
        let leases: Api<Lease> = self.api("topicops");
        wait::until("a replica to lead", PATIENCE, || async {
            let lease = leases.get(self.operator_id).await?;
            let holder = lease.spec.and_then(|spec| spec.holder_identity).filter(|name| !name.is_empty());
            let holder = holder.context("nobody holds the lease")?;
            Ok::<_, anyhow::Error>(self.api::<Pod>("topicops").get(&holder).await?)
        })
        .await
    }

    /// SIGKILLs the process of whoever leads.
    pub async fn kill_the_leader(&self) -> Result<()> {
        let pid = wait::until("the process of the replica that leads", PATIENCE, || async {
            // The one killed before may hold the lease still while its container waits to be started again.
            let leader = self.until_leader().await?.name_any();
            process_of(&leader)?.with_context(|| format!("Pod {leader} has no process"))
        })
        .await?;
        let status = tokio::process::Command::new("kill").args(["-KILL", &pid]).status().await?;
        ensure!(status.success(), "kill -KILL {pid}: {status}");
        Ok(())
    }

    /// `GET` of a path on the probe port of a topicops Pod: code and body.
    pub async fn probe(&self, pod: &Pod, path: &str) -> Result<(u16, String)> {
        let address =
            pod.status.as_ref().and_then(|status| status.pod_ip.clone()).context("the Pod has no address")?;
        http_get(std::net::SocketAddr::new(address.parse()?, 9889), path).await
    }

    /// When the leader last began to look at everything and when it will do so again, by its own word, in seconds of Unix time.
    pub async fn resyncs(&self) -> Result<(f64, f64)> {
        let (_, metrics) = self.probe(&self.until_leader().await?, "/metrics").await?;
        let value = |name: &str| metric(&metrics, name).with_context(|| format!("{name} is missing"));
        Ok((
            value("topicops_last_resync_timestamp_seconds")?,
            value("topicops_next_resync_timestamp_seconds")?,
        ))
    }

    /// Waits until everything was looked at once more, as it was when this was called. There has to be something declared.
    pub async fn until_all_looked_at(&self) -> Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        wait::until("a look at everything", PATIENCE, || async {
            let (began, _) = self.resyncs().await?;
            ensure!(began >= since, "the last one began at {began}, before {since}");
            let (_, metrics) = self.probe(&self.until_leader().await?, "/metrics").await?;
            let ended = metric(&metrics, "topicops_last_success_timestamp_seconds{pass=\"topics\"}");
            ensure!(
                ended.is_some_and(|ended| ended > began),
                "it began at {began}, and {ended:?} was the last end"
            );
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    pub(super) fn fail_points(&self) -> PathBuf {
        self.bed.info().directory.join("fail-points")
    }

    /// Has whoever comes by this place (of [`topicops::fail_point::NAMES`]) killed by SIGKILL while `work` is done and until
    /// it has happened; started again, it is not killed there any more.
    pub async fn killed_at<T>(&self, place: &str, work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        self.kill_at(place, place, work, async |result| Ok(result)).await
    }

    /// The same, and nobody leads while `meanwhile` is done: whoever was killed is killed at each start until it is over, and
    /// the others wait for longer before they take its place.
    pub async fn killed_at_and_kept_away<T>(
        &self,
        place: &str,
        work: impl AsyncFnOnce() -> Result<()>,
        meanwhile: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<T> {
        let leases: Api<Lease> = self.api("topicops");
        let leads = async || {
            let spec = leases.get(self.operator_id).await?.spec.unwrap_or_default();
            Ok::<_, anyhow::Error>((spec.holder_identity, spec.lease_transitions))
        };
        let before = leads().await?;
        let then = async |()| {
            // The others wait for as long as the Lease says, however slow this machine is; whoever was killed finds it its own.
            let long = Patch::Merge(json!({ "spec": { "leaseDurationSeconds": 600 } }));
            leases.patch(self.operator_id, &PatchParams::default(), &long).await?;
            let result = meanwhile().await?;
            let now = leads().await?;
            ensure!(now == before, "{now:?} leads meanwhile, it was {before:?}");
            Ok(result)
        };
        self.kill_at(place, &format!("{place}\nrun/begun"), work, then).await
    }

    async fn kill_at<T, U>(
        &self,
        place: &str,
        text: &str,
        work: impl AsyncFnOnce() -> Result<T>,
        then: impl AsyncFnOnce(T) -> Result<U>,
    ) -> Result<U> {
        ensure!(topicops::fail_point::NAMES.contains(&place), "there is no place {place}");
        let armed = self.fail_points().join("armed");
        let before = self.starts().await?;
        std::fs::write(self.fail_points().join("new"), text)?;
        std::fs::rename(self.fail_points().join("new"), &armed)?;
        let killed = async {
            let result = work().await?;
            wait::until(format!("somebody to be killed at {place}"), PATIENCE, || async {
                let now = self.starts().await?;
                ensure!(now.all > before.all, "{now:?} starts, as before");
                Ok::<_, anyhow::Error>(())
            })
            .await?;
            then(result).await
        };
        let result = killed.await;
        std::fs::remove_file(&armed)?;
        let result = result?;
        // What is armed next is not for one that began after it.
        wait::until("whoever was killed to be there again", PATIENCE, || async {
            let now = self.starts().await?;
            ensure!(now.begun > before.begun, "{now:?} starts, before {before:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        Ok(result)
    }

    async fn starts(&self) -> Result<Starts> {
        let mut starts = Starts::default();
        for pod in self.pods("topicops", "app.kubernetes.io/name=topicops").await? {
            let logs = self.bed.log_instances("topicops", &pod.name_any(), "topicops").unwrap_or_default();
            starts.all += logs.len();
            starts.begun += logs.iter().filter(|log| !log.is_empty()).count();
        }
        Ok(starts)
    }
}

/// The value of a metric, by its name with its labels.
pub fn metric(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|text| text.trim().parse().ok())
}

/// How often containers of topicops were started, and how many of those had a word to say.
#[derive(Debug, Default)]
struct Starts {
    all: usize,
    begun: usize,
}

fn process_of(pod: &str) -> Result<Option<String>> {
    let identity = format!("TOPICOPS_IDENTITY={pod}");
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let of_pod = environment.split(|byte| *byte == 0).any(|pair| pair == identity.as_bytes());
        if of_pod && command.starts_with(b"/usr/local/bin/topicops\0") {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}
