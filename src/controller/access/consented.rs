use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::watch;
use topicops_contract::ClientRequest;

use super::ClientIndex;
use crate::{
    access::{Decision, Finding, GrantsMode, GroupClaims, resolve},
    topic::TopicGrants,
};

/// What a workload would not get, told while it is being admitted. Looks at watched caches only: it never waits.
#[derive(Debug)]
pub struct Consented {
    clients: Arc<ClientIndex>,
    revision: watch::Receiver<u64>,
    mode: GrantsMode,
    claims: Mutex<Option<Cached>>,
}

#[derive(Debug)]
struct Cached {
    revision: u64,
    made: Instant,
    claims: Arc<GroupClaims>,
}

/// Claims are gathered anew at most this often, however fast workloads come and go; an answer may be that old.
const FRESH: Duration = Duration::from_millis(250);

impl Consented {
    pub fn new(clients: Arc<ClientIndex>, mode: GrantsMode) -> Self {
        let revision = clients.changes();
        Self { clients, revision, mode, claims: Mutex::default() }
    }

    /// Everything that the request names and would not get now, in the words of the controller.
    pub fn findings(&self, request: &ClientRequest, grants: &TopicGrants) -> Vec<Finding> {
        // One that is not there yet is younger than all that are.
        let created = self.clients.client(&request.workload).map_or(Timestamp::MAX, |client| client.created);
        resolve(request, created, grants, &self.claims(), self.mode).findings
    }

    fn claims(&self) -> Arc<GroupClaims> {
        let revision = *self.revision.borrow();
        let mut cached = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cached.as_ref()
            && (cached.revision == revision || cached.made.elapsed() < FRESH)
        {
            return Arc::clone(&cached.claims);
        }
        let claims = Arc::new(Decision::claims(&self.clients.all()));
        *cached = Some(Cached { revision, made: Instant::now(), claims: Arc::clone(&claims) });
        claims
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{
        Client,
        testing::{at, grants, request},
    };

    #[test]
    fn a_request_hears_what_the_controller_would_find() {
        let clients = Arc::new(ClientIndex::default());
        let owner = request("shop/orders").group("legacy");
        clients.put(Client {
            workload: owner.workload.clone(),
            uid: "u".to_owned(),
            created: at(1),
            deleting: false,
            request: Ok(Some(Arc::new((*owner).clone()))),
        });
        let grants = grants(&[("shop/orders", &[])]);
        let consent = Consented::new(clients, GrantsMode::Namespace);
        let nosy = request("evil/nosy").consume("orders").group("legacy").group("shop.orders");
        let reasons: Vec<_> = consent.findings(&nosy, &grants).iter().map(|finding| finding.reason).collect();
        assert_eq!(reasons, ["TopicNotGranted", "GroupTaken", "GroupTaken"]);
        assert!(consent.findings(&owner, &grants).is_empty());
    }
}
