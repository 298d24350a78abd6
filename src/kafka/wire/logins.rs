use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt, TryStreamExt, stream};
use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeTransactionsRequest, GroupId, MetadataRequest, TransactionalId,
    metadata_request::MetadataRequestTopic,
};

use super::{
    connection::Connection,
    fault::Fault,
    login::Login,
    pool::{Pool, Setup},
    text::text,
    topics::wire,
};
use crate::kafka::{Item, ItemError, LoginCheck, LoginReport, Trouble};

/// Logins under way at once: enough to hide the round trips, few enough for a broker's login rate.
const CONCURRENCY: usize = 8;

/// Where clients log in.
#[derive(Clone)]
pub(super) struct Logins {
    /// The listener that topicops itself uses.
    own: Arc<Pool>,
    /// The clients' own, where that is another one.
    clients: Option<Arc<Pool>>,
    /// The first one turned out to take no logins of that kind.
    elsewhere: Arc<AtomicBool>,
}

impl Logins {
    pub(super) fn new(own: &Arc<Pool>, clients: Option<Arc<Pool>>) -> Self {
        Self { own: Arc::clone(own), clients, elsewhere: Arc::default() }
    }

    pub(super) fn set_up(&self, clients: Option<Setup>) {
        self.elsewhere.store(false, Ordering::Relaxed);
        if let (Some(pool), Some(setup)) = (&self.clients, clients) {
            pool.set_up(setup);
        }
    }

    /// topicops' own listener is the one that it certainly reaches; where that has no such logins, it is tried where the
    /// clients are to log in. What is wrong with such a listener is the answer for each login, and no trouble of topicops' own
    /// with the brokers.
    pub(super) async fn check(&self, checks: &[LoginCheck]) -> Result<Vec<Item<LoginReport>>, Fault> {
        if let Some(clients) = self.clients.as_ref().filter(|_| self.elsewhere.load(Ordering::Relaxed)) {
            return Ok(check_elsewhere(clients, checks).await);
        }
        match (check_at(&self.own, checks).await, &self.clients) {
            (Err(fault), Some(clients)) if fault.unoffered => {
                self.elsewhere.store(true, Ordering::Relaxed);
                Ok(check_elsewhere(clients, checks).await)
            }
            (Err(fault), None) if fault.unoffered => {
                let message = format!(
                    "{}; --client-bootstrap-servers may name a listener where clients can log in so",
                    fault.message
                );
                Ok(all(checks, &Fault { message, ..fault }))
            }
            (outcome, _) => outcome,
        }
    }
}

async fn check_elsewhere(clients: &Arc<Pool>, checks: &[LoginCheck]) -> Vec<Item<LoginReport>> {
    check_at(clients, checks).await.unwrap_or_else(|fault| {
        let message = format!("{} (one of --client-bootstrap-servers)", fault.message);
        all(checks, &Fault { message, ..fault })
    })
}

/// The same answer for each of them.
fn all(checks: &[LoginCheck], fault: &Fault) -> Vec<Item<LoginReport>> {
    const NETWORK_EXCEPTION: i16 = 13;
    const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
    let (code, retriable) = match (fault.unoffered, fault.trouble) {
        (true, _) => (UNSUPPORTED_SASL_MECHANISM, false),
        (false, trouble) => (NETWORK_EXCEPTION, trouble == Trouble::Unreachable),
    };
    let error = ItemError { retriable, ..ItemError::of(code, Some(&fault.message)) };
    checks.iter().map(|_| Err(error.clone())).collect()
}

async fn check_at(pool: &Arc<Pool>, checks: &[LoginCheck]) -> Result<Vec<Item<LoginReport>>, Fault> {
    let checks: Vec<_> = checks.iter().map(|check| check_one(pool, check)).collect();
    stream::iter(checks).buffered(CONCURRENCY).try_collect().await
}

async fn check_one(pool: &Arc<Pool>, check: &LoginCheck) -> Result<Item<LoginReport>, Fault> {
    let login = Login::Keys { username: check.username.clone(), keys: check.keys.clone() };
    let mut connection = match pool.open_as(&login).await {
        Ok(connection) => connection,
        Err(Fault { login: Some(refused), .. }) => return Ok(Err(refused)),
        Err(fault) => return Err(fault),
    };
    let report = report(&mut connection, check).await;
    report.map(Ok).map_err(|fault| fault.at(connection.address()))
}

async fn report(connection: &mut Connection, check: &LoginCheck) -> Result<LoginReport, Fault> {
    let mut report = LoginReport::default();
    if !check.topics.is_empty() {
        let names =
            check.topics.iter().map(|name| MetadataRequestTopic::default().with_name(Some(wire(name))));
        let request = MetadataRequest::default()
            .with_topics(Some(names.collect()))
            .with_allow_auto_topic_creation(false);
        let answer = connection.call(&request).await?;
        for name in &check.topics {
            let seen = answer
                .topics
                .iter()
                .find(|topic| topic.name.as_ref().is_some_and(|seen| **seen == *name.as_str()));
            match seen.map(|topic| topic.error_code) {
                Some(0) => {}
                code => {
                    let error = code.map_or_else(ItemError::unmentioned, |code| ItemError::of(code, None));
                    report.hidden_topics.push((name.clone(), error.to_string()));
                }
            }
        }
    }
    if !check.groups.is_empty() {
        // Any broker checks who may see a group before it looks whose group it is; so one request to the broker at hand
        // is enough, and unlike a search for coordinators it never makes a broker create its offsets topic.
        let groups = check.groups.iter().map(|group| GroupId(text(group)));
        let answer = connection.call(&DescribeGroupsRequest::default().with_groups(groups.collect())).await?;
        for group in &check.groups {
            match answer.groups.iter().find(|seen| *seen.group_id.0 == **group).map(|seen| seen.error_code) {
                Some(ItemError::GROUP_AUTHORIZATION_FAILED) => {
                    let error = ItemError::of(ItemError::GROUP_AUTHORIZATION_FAILED, None);
                    report.hidden_groups.push((group.clone(), error.to_string()));
                }
                Some(_) => {}
                None => report.hidden_groups.push((group.clone(), ItemError::unmentioned().to_string())),
            }
        }
    }
    if !check.transactional_ids.is_empty() {
        // Likewise for whose transaction it is. To begin one would tell more, and fence the producer that has the id.
        let ids = check.transactional_ids.iter().map(|id| TransactionalId(text(id)));
        let request = DescribeTransactionsRequest::default().with_transactional_ids(ids.collect());
        let answer = connection.call(&request).await?;
        for id in &check.transactional_ids {
            let seen = answer.transaction_states.iter().find(|seen| *seen.transactional_id.0 == **id);
            let error = match seen.map(|seen| seen.error_code) {
                Some(code @ ItemError::TRANSACTIONAL_ID_AUTHORIZATION_FAILED) => ItemError::of(code, None),
                Some(_) => continue,
                None => ItemError::unmentioned(),
            };
            report.hidden_transactional_ids.push((id.clone(), error.to_string()));
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use topicops_contract::Password;

    use super::*;
    use crate::kafka::{ScramKeys, ScramMechanism};

    #[test]
    fn what_is_wrong_with_the_clients_listener_is_each_logins_own_answer() {
        let check = |username: &str| LoginCheck {
            username: username.to_owned(),
            keys: ScramKeys::derive(ScramMechanism::Sha512, 4096, &Password::new("p")).unwrap(),
            topics: Vec::new(),
            groups: Vec::new(),
            transactional_ids: Vec::new(),
        };
        let checks = [check("a"), check("b")];
        for (fault, code, retriable) in [
            (Fault::broken("a:1: refused"), "NETWORK_EXCEPTION", true),
            (Fault::new(Trouble::Tls, "a:1: refused"), "NETWORK_EXCEPTION", false),
            (Fault::unoffered(Trouble::Protocol, "a:1: refused"), "UNSUPPORTED_SASL_MECHANISM", false),
        ] {
            let answers = all(&checks, &fault);
            assert_eq!(answers.len(), 2);
            for error in answers.into_iter().map(Result::unwrap_err) {
                assert_eq!((error.code.as_str(), error.retriable), (code, retriable));
                assert_eq!(error.message, "a:1: refused");
            }
        }
    }
}
