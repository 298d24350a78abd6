//! A Pod's volumes, as folders of the bed's directory that containers mount.
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Pod, Volume};
use tokio::sync::{Mutex, watch};

use super::atomic_folder::AtomicFolder;
use super::context::Context;
use super::volume_files::{self, Tokens};
use crate::wait;

#[derive(Clone)]
pub(super) struct Volumes {
    context: Context,
    pod: watch::Receiver<Arc<Pod>>,
    address: String,
    folder: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    folders: Vec<(String, AtomicFolder)>,
    tokens: Tokens,
}

impl Volumes {
    pub(super) fn new(
        context: Context,
        pod: watch::Receiver<Arc<Pod>>,
        address: String,
        folder: PathBuf,
    ) -> Self {
        Self { context, pod, address, folder, state: Arc::default() }
    }

    /// Where a volume is on this machine.
    pub(super) fn source(&self, name: &str) -> Result<PathBuf> {
        let pod = self.pod.borrow();
        let volume = volumes(&pod).find(|volume| volume.name == name).cloned();
        match volume.with_context(|| format!("the Pod has no volume {name:?}"))?.host_path {
            Some(host) => Ok(PathBuf::from(host.path)),
            None => Ok(self.folder.join(name)),
        }
    }

    /// Brings every volume to what it should hold now.
    ///
    /// # Errors
    /// What is missing; the volumes before it are written.
    pub(super) async fn write(&self) -> Result<()> {
        let pod = Arc::clone(&self.pod.borrow());
        let group = group(&pod);
        let mut state = self.state.lock().await;
        let State { folders, tokens } = &mut *state;
        for volume in volumes(&pod) {
            let place = self.folder.join(&volume.name);
            if volume_files::has_files(volume) {
                let files =
                    volume_files::collect(&self.context, &pod, &self.address, volume, tokens)
                        .await
                        .with_context(|| format!("MountVolume.SetUp failed for volume {:?}", volume.name))?;
                let index = match folders.iter().position(|(name, _)| *name == volume.name) {
                    Some(index) => index,
                    None => {
                        folders.push((volume.name.clone(), AtomicFolder::new(place, group)));
                        folders.len() - 1
                    }
                };
                folders[index].1.write(&files)?;
            } else if volume.empty_dir.is_some() {
                make_empty(&place, group).with_context(|| format!("creating volume {:?}", volume.name))?;
            } else if volume.host_path.is_none() {
                bail!("the testbed's node has no volumes of the kind of {:?}", volume.name);
            }
        }
        Ok(())
    }

    /// Follows changes, for as long as it is polled; what cannot be written now is tried again.
    pub(super) async fn follow(&self) {
        let mut secrets = self.context.secrets.changes();
        let mut config_maps = self.context.config_maps.changes();
        let mut pod = self.pod.clone();
        loop {
            let change = async {
                tokio::select! {
                    _ = secrets.changed() => true,
                    _ = config_maps.changed() => true,
                    changed = pod.changed() => changed.is_ok(),
                }
            };
            // Tokens age without any change.
            let object_lives = tokio::time::timeout(wait::SHORT_WHILE * 10, change).await.unwrap_or(true);
            if !object_lives {
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.write().await {
                tracing::debug!(error = format!("{error:#}"), "a volume keeps its old content");
            }
        }
    }
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

fn group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(context.fs_group?).ok()
}

fn make_empty(place: &Path, group: Option<u32>) -> Result<()> {
    if !place.exists() {
        fs::create_dir_all(place)?;
        fs::set_permissions(place, fs::Permissions::from_mode(0o777))?;
        chown(place, None, group)?;
    }
    Ok(())
}
