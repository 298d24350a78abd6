use std::{collections::BTreeSet, sync::Arc};

use kafka_protocol::messages::{
    CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, create_acls_request::AclCreation,
    delete_acls_request::DeleteAclsFilter,
};

use super::{
    fault::Fault,
    pool::{Again, Pool, Target},
    text::{outcome, text},
};
use crate::kafka::{Acl, AclOperation, AclResource, AclRule, Item, ItemError, PatternType, ResourceType};

/// Rules of one request; a controller takes at most 10,000 records in one.
const CHUNK: usize = 2000;

const ANY: i8 = 1;
const ALLOW: i8 = 3;
const PRINCIPAL: &str = "User:";
const EVERY_HOST: &str = "*";

/// Brokers cannot filter by the beginning of a name, so all rules come and ours are kept.
pub(super) async fn describe(pool: &Arc<Pool>, prefix: &str) -> Result<BTreeSet<Acl>, Fault> {
    let rules = ask(pool, EVERY_HOST_ALONE, |principal| {
        principal.strip_prefix(PRINCIPAL).is_some_and(|name| name.starts_with(prefix))
    });
    Ok(rules.await?.iter().filter_map(AclRule::acl).collect())
}

/// All rules, whoever wrote them.
pub(super) async fn all(pool: &Arc<Pool>) -> Result<Vec<AclRule>, Fault> {
    ask(pool, (None, ANY), |_| true).await
}

/// Rules that allow something from any host: the host and the permission to ask for.
const EVERY_HOST_ALONE: (Option<&str>, i8) = (Some(EVERY_HOST), ALLOW);

/// What others wrote may be of kinds that this version does not know; it is passed over unread.
async fn ask(
    pool: &Arc<Pool>,
    (host, permission): (Option<&'static str>, i8),
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<AclRule>, Fault> {
    let request = DescribeAclsRequest::default()
        .with_resource_type_filter(ANY)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(ANY)
        .with_principal_filter(None)
        .with_host_filter(host.map(text))
        .with_operation(ANY)
        .with_permission_type(permission);
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    if answer.error_code != 0 {
        return Err(Fault::answer(answer.error_code, answer.error_message.as_deref()));
    }
    let mut rules = Vec::new();
    for resource in &answer.resources {
        for rule in resource.acls.iter().filter(|rule| wanted(&rule.principal)) {
            let known = (
                resource_type_of(resource.resource_type),
                pattern_of(resource.pattern_type),
                operation_of(rule.operation),
            );
            let principal = rule.principal.to_string();
            let (Some(resource_type), Some(pattern), Some(operation)) = known else {
                tracing::debug!(principal, "a rule of a kind that this version does not know is left alone");
                continue;
            };
            let name = resource.resource_name.to_string();
            let resource = AclResource { resource_type, name, pattern };
            let (host, allow) = (rule.host.to_string(), rule.permission_type == ALLOW);
            rules.push(AclRule { principal, host, allow, resource, operation });
        }
    }
    Ok(rules)
}

pub(super) async fn create(pool: &Arc<Pool>, acls: &[Acl]) -> Result<Vec<Item<()>>, Fault> {
    let mut outcomes = Vec::with_capacity(acls.len());
    for part in acls.chunks(CHUNK) {
        let creations = part.iter().map(|acl| {
            AclCreation::default()
                .with_resource_type(resource_type_number(acl.resource.resource_type))
                .with_resource_name(text(&acl.resource.name))
                .with_resource_pattern_type(pattern_number(acl.resource.pattern))
                .with_principal(principal(acl).into())
                .with_host(text(EVERY_HOST))
                .with_operation(operation_number(acl.operation))
                .with_permission_type(ALLOW)
        });
        let request = CreateAclsRequest::default().with_creations(creations.collect());
        let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
        let results =
            answer.results.iter().map(|result| outcome(result.error_code, result.error_message.as_ref()));
        outcomes.extend(by_position(part.len(), results));
    }
    Ok(outcomes)
}

pub(super) async fn delete(pool: &Arc<Pool>, acls: &[Acl]) -> Result<Vec<Item<()>>, Fault> {
    let mut outcomes = Vec::with_capacity(acls.len());
    for part in acls.chunks(CHUNK) {
        let filters = part.iter().map(|acl| {
            DeleteAclsFilter::default()
                .with_resource_type_filter(resource_type_number(acl.resource.resource_type))
                .with_resource_name_filter(Some(text(&acl.resource.name)))
                .with_pattern_type_filter(pattern_number(acl.resource.pattern))
                .with_principal_filter(Some(principal(acl).into()))
                .with_host_filter(Some(text(EVERY_HOST)))
                .with_operation(operation_number(acl.operation))
                .with_permission_type(ALLOW)
        });
        let request = DeleteAclsRequest::default().with_filters(filters.collect());
        let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
        let results = answer.filter_results.iter().map(|result| {
            outcome(result.error_code, result.error_message.as_ref())?;
            // The filter went through, and yet a rule that it matched may have stayed.
            result
                .matching_acls
                .iter()
                .try_for_each(|rule| outcome(rule.error_code, rule.error_message.as_ref()))
        });
        outcomes.extend(by_position(part.len(), results));
    }
    Ok(outcomes)
}

/// The answers of ACL requests name nothing; they stand in the order of the request.
fn by_position(wanted: usize, results: impl Iterator<Item = Item<()>>) -> Vec<Item<()>> {
    results.chain(std::iter::repeat_with(|| Err(ItemError::unmentioned()))).take(wanted).collect()
}

fn principal(acl: &Acl) -> String {
    format!("{PRINCIPAL}{}", acl.username)
}

const RESOURCE_TYPES: [(ResourceType, i8); 6] = [
    (ResourceType::Topic, 2),
    (ResourceType::Group, 3),
    (ResourceType::Cluster, 4),
    (ResourceType::TransactionalId, 5),
    (ResourceType::DelegationToken, 6),
    (ResourceType::User, 7),
];

fn resource_type_number(resource_type: ResourceType) -> i8 {
    match resource_type {
        ResourceType::Topic => 2,
        ResourceType::Group => 3,
        ResourceType::Cluster => 4,
        ResourceType::TransactionalId => 5,
        ResourceType::DelegationToken => 6,
        ResourceType::User => 7,
    }
}

fn resource_type_of(number: i8) -> Option<ResourceType> {
    RESOURCE_TYPES.iter().find(|(_, known)| *known == number).map(|(resource_type, _)| *resource_type)
}

fn pattern_number(pattern: PatternType) -> i8 {
    match pattern {
        PatternType::Literal => 3,
        PatternType::Prefixed => 4,
    }
}

fn pattern_of(number: i8) -> Option<PatternType> {
    match number {
        3 => Some(PatternType::Literal),
        4 => Some(PatternType::Prefixed),
        _ => None,
    }
}

const OPERATIONS: [AclOperation; 13] = [
    AclOperation::All,
    AclOperation::Read,
    AclOperation::Write,
    AclOperation::Create,
    AclOperation::Delete,
    AclOperation::Alter,
    AclOperation::Describe,
    AclOperation::ClusterAction,
    AclOperation::DescribeConfigs,
    AclOperation::AlterConfigs,
    AclOperation::IdempotentWrite,
    AclOperation::CreateTokens,
    AclOperation::DescribeTokens,
];

/// Kafka numbers them in this order, from 2 on.
fn operation_number(operation: AclOperation) -> i8 {
    match operation {
        AclOperation::All => 2,
        AclOperation::Read => 3,
        AclOperation::Write => 4,
        AclOperation::Create => 5,
        AclOperation::Delete => 6,
        AclOperation::Alter => 7,
        AclOperation::Describe => 8,
        AclOperation::ClusterAction => 9,
        AclOperation::DescribeConfigs => 10,
        AclOperation::AlterConfigs => 11,
        AclOperation::IdempotentWrite => 12,
        AclOperation::CreateTokens => 13,
        AclOperation::DescribeTokens => 14,
    }
}

pub(super) fn operation_of(number: i8) -> Option<AclOperation> {
    OPERATIONS.into_iter().find(|operation| operation_number(*operation) == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_number_of_its_own_and_comes_back() {
        for (resource_type, number) in RESOURCE_TYPES {
            assert_eq!(resource_type_number(resource_type), number);
        }
        for operation in OPERATIONS {
            assert_eq!(operation_of(operation_number(operation)), Some(operation));
        }
        for pattern in [PatternType::Literal, PatternType::Prefixed] {
            assert_eq!(pattern_of(pattern_number(pattern)), Some(pattern));
        }
        assert_eq!((operation_of(15), pattern_of(2), resource_type_of(99)), (None, None, None));
    }

    #[test]
    fn a_rule_that_the_answer_lacks_is_an_error() {
        let outcomes = by_position(2, [Ok(())].into_iter());
        assert!(outcomes[0].is_ok() && outcomes[1].is_err());
    }
}
