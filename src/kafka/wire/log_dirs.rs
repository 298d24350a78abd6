use std::{collections::BTreeMap, sync::Arc};

use kafka_protocol::messages::{DescribeLogDirsRequest, describe_log_dirs_response::DescribeLogDirsResult};
use topicops_contract::{Problem, TopicName};

use super::{
    broker_each::{addresses, of_each},
    fault::Fault,
    pool::{Again, Pool, Target},
    text::outcome,
};
use crate::kafka::{Address, BrokerDisks, Item, LogDir, ReplicaSize, TopicPartition};

pub(super) async fn describe(pool: &Arc<Pool>) -> Result<BTreeMap<i32, Item<BrokerDisks>>, Fault> {
    let addresses = addresses(pool).await?;
    let asked = addresses.iter().map(|(broker, address)| (*broker, of_broker(pool, address)));
    Ok(of_each(asked.collect()).await)
}

async fn of_broker(pool: &Arc<Pool>, broker: &Address) -> Result<Item<BrokerDisks>, Fault> {
    let request = DescribeLogDirsRequest::default().with_topics(None);
    let answer = pool.call(Target::Broker(broker), &request, Again::Harmless).await?;
    if let Err(error) = outcome(answer.error_code, None) {
        return Ok(Err(error));
    }
    let dirs = answer.results.into_iter().map(log_dir).collect::<Result<_, _>>();
    let dirs = dirs.map_err(|problem| Fault::protocol(format!("the broker names a topic {problem}")))?;
    Ok(Ok(BrokerDisks { dirs }))
}

fn log_dir(dir: DescribeLogDirsResult) -> Result<LogDir, Problem> {
    let mut replicas = BTreeMap::new();
    for topic in dir.topics {
        let name: TopicName = topic.name.parse()?;
        replicas.extend(topic.partitions.into_iter().map(|partition| {
            let bytes = u64::try_from(partition.partition_size).unwrap_or(0);
            let key = TopicPartition { topic: name.clone(), partition: partition.partition_index };
            (key, ReplicaSize { bytes, future: partition.is_future_key })
        }));
    }
    Ok(LogDir {
        path: dir.log_dir.to_string(),
        error: outcome(dir.error_code, None).err(),
        // -1 where they are not known.
        total_bytes: u64::try_from(dir.total_bytes).ok(),
        usable_bytes: u64::try_from(dir.usable_bytes).ok(),
        replicas,
    })
}
