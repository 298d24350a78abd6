use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::TopicIndex;
use crate::topic::{Refusal, TopicGrant, TopicGrants};

/// Whom the ConfigMaps let in, as every replica can tell from its caches: for what admission warns about.
///
/// The replica that leads decides who owns a topic; the others read that from the statuses. Right after a change the view
/// may be a moment old, which a warning can afford; access itself follows the leader's own decisions.
#[derive(Clone, Debug)]
pub struct GrantedView {
    grants: watch::Sender<Arc<TopicGrants>>,
}

impl Default for GrantedView {
    fn default() -> Self {
        Self { grants: watch::Sender::new(Arc::default()) }
    }
}

/// Changes come in crowds; the view is made anew once for each.
const GATHER: Duration = Duration::from_millis(100);

impl GrantedView {
    pub fn grants(&self) -> watch::Receiver<Arc<TopicGrants>> {
        self.grants.subscribe()
    }

    /// Follows the index, for ever.
    pub async fn follow(self, index: Arc<TopicIndex>) {
        let mut versions = index.versions();
        loop {
            versions.borrow_and_update();
            self.grants.send_replace(Arc::new(grants(&index)));
            if versions.changed().await.is_err() {
                return;
            }
            sleep(GATHER).await;
        }
    }
}

fn grants(index: &TopicIndex) -> TopicGrants {
    let mut grants = TopicGrants::default();
    let mut oldest = None;
    index.for_each_declaration(|topic, object| {
        let denied =
            object.status.as_ref().is_some_and(|status| Refusal::OWNERSHIP.contains(&status.reason.as_str()));
        let Some(manifest) = object.manifest.as_ref().filter(|_| !denied && !object.deleting) else { return };
        let seniority = (object.created, object.key.clone());
        // The declarations of one topic come one after the other.
        if let Some((before, senior)) = &oldest
            && before == topic
            && *senior <= seniority
        {
            return;
        }
        oldest = Some((topic.clone(), seniority));
        let grant = TopicGrant {
            namespace: object.key.namespace.clone(),
            config_map: object.key.name.clone(),
            consumers: manifest.consumers.clone(),
            producers: manifest.producers.clone(),
        };
        grants.set(topic, Some(grant));
    });
    grants
}
