use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use aws_lc_rs::rand;
use kafka_protocol::{
    messages::{
        AlterClientQuotasRequest, AlterPartitionReassignmentsRequest, AlterUserScramCredentialsRequest,
        ApiVersionsRequest, CreateAclsRequest, CreatePartitionsRequest, CreateTopicsRequest,
        DeleteAclsRequest, DeleteTopicsRequest, DescribeAclsRequest, DescribeClientQuotasRequest,
        DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
        DescribeTransactionsRequest, DescribeUserScramCredentialsRequest, ElectLeadersRequest, GroupId,
        IncrementalAlterConfigsRequest, ListGroupsRequest, ListPartitionReassignmentsRequest,
        MetadataRequest, OffsetFetchRequest, TopicName as WireName, metadata_request::MetadataRequestTopic,
    },
    protocol::{Request, StrBytes},
};
use tokio::time::timeout;

use super::{
    acls::operation_of,
    connection::{Connection, common_version},
    fault::Fault,
    login,
    pool::{Again, Pool, Target},
    text::text,
};
use crate::kafka::{AclOperation, BrokerAbilities, ItemError, OwnStanding, Trouble};

/// The operations that brokers say we may do. Nothing is made for it, and nothing is looked at that belongs to anybody.
pub(super) async fn of_ourselves(pool: &Arc<Pool>) -> Result<OwnStanding, Fault> {
    let request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    if answer.error_code != 0 {
        return Err(Fault::answer(answer.error_code, answer.error_message.as_deref()));
    }
    let cluster = operations(answer.cluster_authorized_operations);
    // One that nobody has made: what is allowed on it is allowed on any name.
    let nobodys = text(&nobodys_name()?);
    let topic = MetadataRequestTopic::default().with_name(Some(WireName(nobodys.clone())));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(false)
        .with_include_topic_authorized_operations(true);
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    let topic = answer.topics.first().and_then(|topic| match topic.error_code {
        0 | ItemError::UNKNOWN_TOPIC_OR_PARTITION => operations(topic.topic_authorized_operations),
        _ => None,
    });
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(nobodys)]);
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    let describes_groups =
        answer.groups.first().is_some_and(|group| group.error_code != ItemError::GROUP_AUTHORIZATION_FAILED);
    Ok(OwnStanding { cluster, topic, describes_groups })
}

fn nobodys_name() -> Result<String, Fault> {
    let mut bytes = [0; 12];
    rand::fill(&mut bytes)
        .map_err(|_| Fault::new(Trouble::Protocol, "the machine gave no random bytes for a name"))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("topicops-preflight-{hex}"))
}

/// A bit for each; none at all, and the highest alone, mean that we are not told.
fn operations(bits: i32) -> Option<BTreeSet<AclOperation>> {
    if bits == 0 || bits == i32::MIN {
        return None;
    }
    Some((0..31).filter(|bit| bits & (1 << bit) != 0).filter_map(operation_of).collect())
}

pub(super) async fn abilities(pool: &Arc<Pool>) -> Result<BrokerAbilities, Fault> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("topicops"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    if answer.error_code != 0 {
        return Err(Fault::answer(answer.error_code, None));
    }
    let known: Known =
        answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
    let mut features = answer.finalized_features.iter();
    let metadata = features.find(|feature| &*feature.name == "metadata.version");
    Ok(BrokerAbilities {
        lacking: lacking(&known),
        metadata_version: metadata.map(|feature| feature.max_version_level),
    })
}

type Known = HashMap<i16, (i16, i16)>;

/// Of all requests but those for kinds of groups that older brokers do not have.
fn lacking(known: &Known) -> Vec<String> {
    fn of<R: Request>(known: &Known) -> Option<String> {
        common_version::<R>(known.get(&R::KEY)).err().map(|fault| fault.message)
    }
    let needed = [
        of::<AlterClientQuotasRequest>,
        of::<AlterPartitionReassignmentsRequest>,
        of::<AlterUserScramCredentialsRequest>,
        of::<CreateAclsRequest>,
        of::<CreatePartitionsRequest>,
        of::<CreateTopicsRequest>,
        of::<DeleteAclsRequest>,
        of::<DeleteTopicsRequest>,
        of::<DescribeAclsRequest>,
        of::<DescribeConfigsRequest>,
        of::<DescribeGroupsRequest>,
        of::<DescribeClientQuotasRequest>,
        of::<DescribeLogDirsRequest>,
        of::<DescribeTransactionsRequest>,
        of::<DescribeUserScramCredentialsRequest>,
        of::<ElectLeadersRequest>,
        of::<IncrementalAlterConfigsRequest>,
        of::<ListGroupsRequest>,
        of::<ListPartitionReassignmentsRequest>,
        of::<MetadataRequest>,
        of::<OffsetFetchRequest>,
    ];
    needed.iter().filter_map(|of| of(known)).collect()
}

/// The SASL mechanisms that the first bootstrap server that answers offers.
pub(super) async fn mechanisms(pool: &Arc<Pool>) -> Result<Vec<String>, Fault> {
    let mut last = Fault::new(Trouble::Unreachable, "there is no bootstrap server");
    for address in pool.bootstrap_servers() {
        let endpoint = pool.endpoint();
        let limit = endpoint.connect_timeout();
        let offered = timeout(limit, async {
            let mut connection = Connection::open(&endpoint, &address).await?;
            login::offered(&mut connection).await
        });
        let late = || Fault::new(Trouble::Unreachable, format!("no answer within {limit:?}"));
        match offered.await.unwrap_or_else(|_| Err(late())) {
            Ok(offered) => return Ok(offered),
            Err(fault) => last = fault.at(&address),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_operations_and_none_of_them_is_silence() {
        assert_eq!(operations(0), None);
        assert_eq!(operations(i32::MIN), None);
        let some = operations((1 << 3) | (1 << 8) | (1 << 30)).unwrap();
        assert_eq!(some, BTreeSet::from([AclOperation::Read, AclOperation::Describe]));
    }

    #[test]
    fn a_broker_that_knows_nothing_lacks_every_request_by_name() {
        let lacking = lacking(&Known::new());
        assert_eq!(lacking.len(), 21);
        assert!(lacking.iter().any(|text| text.contains("CreateTopics")), "{lacking:?}");
    }
}
