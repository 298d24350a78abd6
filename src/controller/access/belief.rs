use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{access::Observed, kafka::Acl};

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
}

pub(super) const LAG: Duration = Duration::from_secs(60);

impl Belief {
    /// Takes over what the brokers describe now.
    pub(super) fn described(&mut self, users: BTreeSet<String>, acls: BTreeSet<Acl>, now: Instant) {
        self.observed.users = users;
        self.observed.acls = acls;
        self.written_users.retain(|_, (_, at)| now.duration_since(*at) < LAG);
        self.written_acls.retain(|_, (_, at)| now.duration_since(*at) < LAG);
        for (username, (there, _)) in &self.written_users {
            set(&mut self.observed.users, username, *there);
        }
        for (acl, (there, _)) in &self.written_acls {
            set(&mut self.observed.acls, acl, *there);
        }
    }

    pub(super) fn user_acknowledged(&mut self, username: &str, there: bool, now: Instant) {
        set(&mut self.observed.users, &username.to_owned(), there);
        self.written_users.insert(username.to_owned(), (there, now));
    }

    pub(super) fn acl_acknowledged(&mut self, acl: &Acl, there: bool, now: Instant) {
        set(&mut self.observed.acls, acl, there);
        self.written_acls.insert(acl.clone(), (there, now));
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
    use crate::access::Granted;

    #[tokio::test(start_paused = true)]
    async fn an_acknowledged_write_outlasts_lagging_descriptions_for_a_minute() {
        let acls = Granted { produces: ["t".parse().unwrap()].into(), ..Granted::default() }.acls("new");
        let start = Instant::now();
        let mut belief = Belief::default();
        belief.described(["old".to_owned()].into(), BTreeSet::new(), start);
        belief.user_acknowledged("new", true, start);
        belief.user_acknowledged("old", false, start);
        for acl in &acls {
            belief.acl_acknowledged(acl, true, start);
        }
        let lagging = || ["old".to_owned()].into();
        belief.described(lagging(), BTreeSet::new(), start + LAG / 2);
        assert_eq!((&belief.observed.users, &belief.observed.acls), (&["new".to_owned()].into(), &acls));
        belief.described(lagging(), BTreeSet::new(), start + LAG);
        assert_eq!((belief.observed.users, belief.observed.acls), (lagging(), BTreeSet::new()));
    }
}
