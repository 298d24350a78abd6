use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    access::Observed,
    kafka::{Acl, Quota, QuotaTarget, QuotaValue},
};

/// What the brokers are believed to have of ours: what they described last, and what they acknowledged since.
///
/// A broker reads from a metadata image that lags behind acknowledged writes, by seconds when there is much to do. So for
/// [`LAG`] after a write of our own its acknowledgement counts for more than a description that does not show it.
#[derive(Debug, Default)]
pub(super) struct Belief {
    pub(super) observed: Observed,
    /// Whether it is there, by our own write, and since when.
    written_users: HashMap<String, (bool, Instant)>,
    written_acls: HashMap<Acl, (bool, Instant)>,
    written_quotas: HashMap<QuotaTarget, WrittenQuota>,
}

/// A quota that we set, or took away.
#[derive(Debug)]
struct WrittenQuota {
    value: Option<QuotaValue>,
    /// What a broker may show that lags: any other value is somebody else's.
    before: BTreeSet<Option<QuotaValue>>,
    at: Instant,
}

pub(super) const LAG: Duration = Duration::from_secs(60);

impl Belief {
    /// Takes over what the brokers describe now.
    pub(super) fn described(
        &mut self,
        (users, otherwise): (BTreeSet<String>, BTreeSet<String>),
        acls: BTreeSet<Acl>,
        quotas: BTreeSet<Quota>,
        now: Instant,
    ) {
        self.observed.users = users;
        self.observed.otherwise = otherwise;
        self.observed.acls = acls;
        self.describe_quotas(quotas, now);
        self.written_users.retain(|_, (_, at)| now.duration_since(*at) < LAG);
        self.written_acls.retain(|_, (_, at)| now.duration_since(*at) < LAG);
        for (username, (there, _)) in &self.written_users {
            set(&mut self.observed.users, username, *there);
            if !there {
                self.observed.otherwise.remove(username);
            }
        }
        for (acl, (there, _)) in &self.written_acls {
            set(&mut self.observed.acls, acl, *there);
        }
    }

    fn describe_quotas(&mut self, quotas: BTreeSet<Quota>, now: Instant) {
        let mut shown: BTreeMap<QuotaTarget, QuotaValue> =
            quotas.into_iter().map(|quota| (quota.target, quota.value)).collect();
        self.written_quotas.retain(|_, written| now.duration_since(written.at) < LAG);
        for (target, written) in &self.written_quotas {
            if !written.before.contains(&shown.get(target).copied()) {
                continue;
            }
            match written.value {
                Some(value) => shown.insert(target.clone(), value),
                None => shown.remove(target),
            };
        }
        self.observed.quotas = shown.into_iter().map(|(target, value)| Quota { target, value }).collect();
    }

    pub(super) fn quota_acknowledged(
        &mut self,
        target: &QuotaTarget,
        value: Option<QuotaValue>,
        now: Instant,
    ) {
        let quotas = &mut self.observed.quotas;
        let known = quotas.iter().find(|quota| quota.target == *target).cloned();
        if let Some(known) = &known {
            quotas.remove(known);
        }
        quotas.extend(value.map(|value| Quota { target: target.clone(), value }));
        let mut before = self.written_quotas.remove(target).map(|earlier| earlier.before).unwrap_or_default();
        before.insert(known.map(|known| known.value));
        self.written_quotas.insert(target.clone(), WrittenQuota { value, before, at: now });
    }

    pub(super) fn user_acknowledged(&mut self, username: &str, there: bool, now: Instant) {
        set(&mut self.observed.users, &username.to_owned(), there);
        if !there {
            self.observed.otherwise.remove(username);
        }
        self.written_users.insert(username.to_owned(), (there, now));
    }

    pub(super) fn acl_acknowledged(&mut self, acl: &Acl, there: bool, now: Instant) {
        set(&mut self.observed.acls, acl, there);
        self.written_acls.insert(acl.clone(), (there, now));
    }

    /// A user can log in as its Secret says, and not in another way any more.
    pub(super) fn others_acknowledged(&mut self, username: &str) {
        self.observed.otherwise.remove(username);
    }

    /// The brokers may know another password than the Secret: the user has to be written again.
    pub(super) fn doubt_user(&mut self, username: &str) {
        self.observed.users.remove(username);
        self.written_users.remove(username);
    }
}

fn set<T: Ord + Clone>(all: &mut BTreeSet<T>, item: &T, there: bool) {
    if there {
        all.insert(item.clone());
    } else {
        all.remove(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::Granted, kafka::QuotaClients};

    #[tokio::test(start_paused = true)]
    async fn an_acknowledged_write_outlasts_lagging_descriptions_for_a_minute() {
        let acls = Granted { produces: ["t".parse().unwrap()].into(), ..Granted::default() }.acls("new");
        let start = Instant::now();
        let mut belief = Belief::default();
        belief.described(
            (["old".to_owned()].into(), BTreeSet::new()),
            BTreeSet::new(),
            BTreeSet::new(),
            start,
        );
        belief.user_acknowledged("new", true, start);
        belief.user_acknowledged("old", false, start);
        for acl in &acls {
            belief.acl_acknowledged(acl, true, start);
        }
        let lagging = || ["old".to_owned()].into();
        belief.described((lagging(), BTreeSet::new()), BTreeSet::new(), BTreeSet::new(), start + LAG / 2);
        assert_eq!((&belief.observed.users, &belief.observed.acls), (&["new".to_owned()].into(), &acls));
        belief.described((lagging(), BTreeSet::new()), BTreeSet::new(), BTreeSet::new(), start + LAG);
        assert_eq!((belief.observed.users, belief.observed.acls), (lagging(), BTreeSet::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_lagging_broker_may_show_of_a_quota_is_not_taken_for_an_edit_and_an_edit_is() {
        let target = QuotaTarget {
            username: "u".to_owned(),
            clients: QuotaClients::All,
            key: QuotaTarget::PRODUCER_BYTE_RATE.to_owned(),
        };
        let start = Instant::now();
        let mut belief = Belief::default();
        let look = |belief: &mut Belief, shown: Option<f64>, after: Duration| {
            let shown = shown.map(|amount| Quota { target: target.clone(), value: QuotaValue::new(amount) });
            belief.described(Default::default(), BTreeSet::new(), shown.into_iter().collect(), start + after);
            belief.observed.quotas.iter().next().map(|quota| quota.value.get())
        };
        let write = |belief: &mut Belief, amount: f64| {
            belief.quota_acknowledged(&target, Some(QuotaValue::new(amount)), start);
        };
        write(&mut belief, 1.0);
        write(&mut belief, 2.0);
        for (shown, believed) in [(None, 2.0), (Some(1.0), 2.0), (Some(2.0), 2.0), (Some(3.0), 3.0)] {
            assert_eq!(look(&mut belief, shown, LAG / 2), Some(believed), "{shown:?}");
        }
        assert_eq!(look(&mut belief, None, LAG), None);
        belief.quota_acknowledged(&target, None, start + LAG);
        assert_eq!(look(&mut belief, None, LAG), None);
    }
}
