use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, stream};

use super::{describe, fault::Fault, pool::Pool};
use crate::kafka::{Address, Item, ItemError};

/// Brokers asked at once.
const CONCURRENCY: usize = 8;

/// Where each live broker listens for us.
pub(super) async fn addresses(pool: &Arc<Pool>) -> Result<BTreeMap<i32, Address>, Fault> {
    let (_, brokers) = describe::brokers(pool).await?;
    Ok(brokers.into_iter().map(|broker| (broker.id, broker.address)).collect())
}

/// The answers of these brokers, several asked at once. One that does not answer is an error of its own and spoils
/// nothing for the others.
pub(super) async fn of_each<T, A: Future<Output = Result<Item<T>, Fault>>>(
    asked: Vec<(i32, A)>,
) -> BTreeMap<i32, Item<T>> {
    let answers = asked.into_iter().map(|(broker, answer)| async move {
        (broker, answer.await.unwrap_or_else(|fault| Err(away(broker, &fault.message))))
    });
    stream::iter(answers.collect::<Vec<_>>()).buffer_unordered(CONCURRENCY).collect().await
}

/// What a broker that cannot be asked stands for.
pub(super) fn away(broker: i32, why: &str) -> ItemError {
    let error = ItemError::of(ItemError::BROKER_NOT_AVAILABLE, Some(&format!("broker {broker}: {why}")));
    ItemError { retriable: true, ..error }
}
