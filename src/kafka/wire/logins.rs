use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeTransactionsRequest, GroupId, MetadataRequest, TransactionalId,
    metadata_request::MetadataRequestTopic,
};

use super::{connection::Connection, fault::Fault, login::Login, pool::Pool, text::text, topics::wire};
use crate::kafka::{Item, ItemError, LoginCheck, LoginReport};

/// Logins under way at once: enough to hide the round trips, few enough for a broker's login rate.
const CONCURRENCY: usize = 8;

pub(super) async fn check(pool: &Arc<Pool>, checks: &[LoginCheck]) -> Result<Vec<Item<LoginReport>>, Fault> {
    let checks: Vec<_> = checks.iter().map(|check| check_one(pool, check)).collect();
    stream::iter(checks).buffered(CONCURRENCY).try_collect().await
}

async fn check_one(pool: &Arc<Pool>, check: &LoginCheck) -> Result<Item<LoginReport>, Fault> {
    let login = Login::Keys { username: check.username.clone(), keys: check.keys.clone() };
    let mut connection = match pool.bootstrap(&login).await {
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
