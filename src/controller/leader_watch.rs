use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::ListParams};
use tokio::time::{Instant, sleep};

/// Between looks: a leader renews its Lease this often.
const LOOK: Duration = Duration::from_secs(1);
/// For a Lease that promises nothing.
const PROMISED: Duration = Duration::from_secs(15);

/// The replica that leads by a Lease of this name in whatever namespace, as `namespace/replica`. `None`: nobody does.
///
/// A Lease that has a holder is watched until it is renewed, or for as long as its holder promised to renew it within: by
/// our own clock, so that clocks need not agree.
///
/// # Errors
/// Those of the API server.
pub async fn leader(client: &Client, lease: &str) -> Result<Option<String>, kube::Error> {
    let api: Api<Lease> = Api::all(client.clone());
    let params = ListParams::default().fields(&format!("metadata.name={lease}"));
    let began = Instant::now();
    let mut seen: Option<BTreeMap<String, Held>> = None;
    loop {
        let held: BTreeMap<String, Held> = api.list(&params).await?.items.iter().filter_map(held).collect();
        let Some(first) = &seen else {
            if held.is_empty() {
                return Ok(None);
            }
            seen = Some(held);
            sleep(LOOK).await;
            continue;
        };
        let renewed = held
            .iter()
            .find(|(holder, now)| first.get(*holder).is_none_or(|before| before.version != now.version));
        if let Some((holder, _)) = renewed {
            return Ok(Some(holder.clone()));
        }
        if held.values().all(|held| began.elapsed() > held.promised) {
            return Ok(None);
        }
        sleep(LOOK).await;
    }
}

struct Held {
    version: String,
    promised: Duration,
}

fn held(lease: &Lease) -> Option<(String, Held)> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
    let namespace = lease.metadata.namespace.as_deref().unwrap_or_default();
    let promised = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let held = Held {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        promised: promised.map_or(PROMISED, Duration::from_secs),
    };
    Some((format!("{namespace}/{holder}"), held))
}
