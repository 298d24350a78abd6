//! The hosts file of each Pod: names of Services instead of a name server.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use futures::future;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;

use crate::services::{ServiceProxy, matches};

/// Hosts files are swapped by a rename, so each has a folder that is mounted instead of the file.
#[derive(Debug)]
pub(super) struct Hosts {
    proxy: ServiceProxy,
    pods: Mutex<BTreeMap<String, PodHosts>>,
}

#[derive(Debug, Clone)]
struct PodHosts {
    folder: PathBuf,
    namespace: String,
    own_line: String,
    written: String,
}

impl Hosts {
    /// Keeps the files of all Pods as Services come and go.
    pub(super) fn start(proxy: ServiceProxy) -> Arc<Self> {
        let hosts = Arc::new(Self { proxy, pods: Mutex::default() });
        let keeper = Arc::clone(&hosts);
        tokio::spawn(async move {
            let mut services = keeper.proxy.services().changes();
            let mut pods = keeper.proxy.pods().changes();
            loop {
                let change = future::select(Box::pin(services.changed()), Box::pin(pods.changed())).await;
                let (Ok(()) | Err(_)) = change.factor_first().0;
                keeper.write_all();
            }
        });
        hosts
    }

    /// Writes the file of a new Pod and keeps it up to date from now on.
    pub(super) fn add(&self, pod: &Pod, address: &str, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let mut entry = PodHosts {
            folder: folder.to_owned(),
            namespace: pod.namespace().unwrap_or_default(),
            own_line: format!("{address}\t{}\n", pod.name_any()),
            written: String::new(),
        };
        self.write(&mut entry)?;
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).insert(pod.uid().unwrap_or_default(), entry);
        Ok(())
    }

    pub(super) fn remove(&self, uid: &str) {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    fn write_all(&self) {
        for entry in self.pods.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            if let Err(error) = self.write(entry) {
                tracing::warn!(error = format!("{error:#}"), "a hosts file was not written");
            }
        }
    }

    fn write(&self, entry: &mut PodHosts) -> Result<()> {
        let mut text = String::from("127.0.0.1\tlocalhost\n");
        text.push_str(&entry.own_line);
        for service in self.proxy.services().all() {
            self.lines(&mut text, &service, &entry.namespace);
        }
        if text == entry.written {
            return Ok(());
        }
        let new = entry.folder.join("hosts.new");
        fs::write(&new, &text)?;
        fs::rename(&new, entry.folder.join("hosts"))?;
        entry.written = text;
        Ok(())
    }

    fn lines(&self, text: &mut String, service: &Service, own_namespace: &str) {
        let (name, namespace) = (service.name_any(), service.namespace().unwrap_or_default());
        let short = if namespace == own_namespace { format!(" {name}") } else { String::new() };
        let full = format!("{name}.{namespace}.svc.cluster.local {name}.{namespace}.svc {name}.{namespace}");
        let Some(spec) = &service.spec else { return };
        match spec.cluster_ip.as_deref() {
            Some("None") => {}
            Some(address) if !address.is_empty() => {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{address}\t{full}{short}");
                return;
            }
            _ => return,
        }
        let Some(selector) = &spec.selector else { return };
        for pod in self.proxy.pods().all() {
            let behind = pod.namespace().as_deref() == Some(&namespace) && matches(&pod, selector);
            let Some(address) = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) else {
                continue;
            };
            if behind {
                let host = pod
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.hostname.clone())
                    .unwrap_or_else(|| pod.name_any());
                let _ = writeln!(
                    text,
                    "{address}\t{full}{short} {host}.{name}.{namespace}.svc.cluster.local \
                     {host}.{name}.{namespace}.svc"
                );
            }
        }
    }
}
