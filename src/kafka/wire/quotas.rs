use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    alter_client_quotas_request::{EntityData, EntryData, OpData},
    alter_client_quotas_response,
    describe_client_quotas_request::ComponentData,
    describe_client_quotas_response,
};
use kafka_protocol::protocol::StrBytes;

use super::{
    fault::Fault,
    pool::{Again, Pool, Target},
    text::{outcome, text},
};
use crate::kafka::{Item, ItemError, Quota, QuotaClients, QuotaTarget, QuotaValue};

/// Users of one request; a controller takes at most 10,000 records in one, and each limit is one.
const CHUNK: usize = 1500;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
/// Whatever has a name; not what counts for all that have no quota of their own.
const NAMED: i8 = 2;

/// Brokers cannot filter by the beginning of a name, so those of all users come and ours are kept.
pub(super) async fn describe(pool: &Arc<Pool>, prefix: &str) -> Result<BTreeSet<Quota>, Fault> {
    let users = ComponentData::default().with_entity_type(text(USER)).with_match_type(NAMED).with_match(None);
    let request = DescribeClientQuotasRequest::default().with_components(vec![users]).with_strict(false);
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    if answer.error_code != 0 {
        return Err(Fault::answer(answer.error_code, answer.error_message.as_deref()));
    }
    let mut ours = BTreeSet::new();
    for entry in answer.entries.iter().flatten() {
        let Some((username, clients)) = described(&entry.entity) else {
            tracing::debug!("a quota of a kind that this version does not know is left alone");
            continue;
        };
        if !username.starts_with(prefix) {
            continue;
        }
        ours.extend(entry.values.iter().map(|value| Quota {
            target: QuotaTarget {
                username: username.clone(),
                clients: clients.clone(),
                key: value.key.to_string(),
            },
            value: QuotaValue::new(value.value),
        }));
    }
    Ok(ours)
}

/// What is changed about one user is one entry, and goes through as a whole or not at all.
pub(super) async fn alter(
    pool: &Arc<Pool>,
    changes: &[(QuotaTarget, Option<QuotaValue>)],
) -> Result<Vec<Item<()>>, Fault> {
    let mut entries: BTreeMap<(&str, &QuotaClients), Vec<OpData>> = BTreeMap::new();
    for (target, value) in changes {
        let amount = value.map_or(0.0, QuotaValue::get);
        let operation =
            OpData::default().with_key(text(&target.key)).with_value(amount).with_remove(value.is_none());
        entries.entry((&target.username, &target.clients)).or_default().push(operation);
    }
    let mut outcomes: BTreeMap<(String, QuotaClients), Item<()>> = BTreeMap::new();
    let entries: Vec<_> = entries.into_iter().collect();
    for part in entries.chunks(CHUNK) {
        let part = part.iter().map(|((username, clients), operations)| {
            EntryData::default().with_entity(entity(username, clients)).with_ops(operations.clone())
        });
        let request = AlterClientQuotasRequest::default().with_entries(part.collect());
        let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
        outcomes.extend(by_entity(&answer));
    }
    let of = |target: &QuotaTarget| {
        let entity = (target.username.clone(), target.clients.clone());
        outcomes.get(&entity).cloned().unwrap_or_else(|| Err(ItemError::unmentioned()))
    };
    Ok(changes.iter().map(|(target, _)| of(target)).collect())
}

fn entity(username: &str, clients: &QuotaClients) -> Vec<EntityData> {
    let part = |kind: &str, name: Option<&str>| {
        EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text))
    };
    let mut entity = vec![part(USER, Some(username))];
    match clients {
        QuotaClients::All => {}
        QuotaClients::Id(id) => entity.push(part(CLIENT_ID, Some(id))),
        QuotaClients::EachOther => entity.push(part(CLIENT_ID, None)),
    }
    entity
}

fn by_entity(
    answer: &AlterClientQuotasResponse,
) -> impl Iterator<Item = ((String, QuotaClients), Item<()>)> + '_ {
    answer.entries.iter().filter_map(|entry| {
        let entity = altered(&entry.entity)?;
        Some((entity, outcome(entry.error_code, entry.error_message.as_ref())))
    })
}

fn described(entity: &[describe_client_quotas_response::EntityData]) -> Option<(String, QuotaClients)> {
    entity_of(entity.iter().map(|part| (&*part.entity_type, part.entity_name.as_ref())))
}

fn altered(entity: &[alter_client_quotas_response::EntityData]) -> Option<(String, QuotaClients)> {
    entity_of(entity.iter().map(|part| (&*part.entity_type, part.entity_name.as_ref())))
}

/// `None` for an entity that is not a user, or something more than a user and its client id.
fn entity_of<'a>(
    parts: impl Iterator<Item = (&'a str, Option<&'a StrBytes>)>,
) -> Option<(String, QuotaClients)> {
    let (mut username, mut clients) = (None, QuotaClients::All);
    for (kind, name) in parts {
        match (kind, name) {
            (USER, Some(name)) => username = Some(name.to_string()),
            (CLIENT_ID, Some(name)) => clients = QuotaClients::Id(name.to_string()),
            (CLIENT_ID, None) => clients = QuotaClients::EachOther,
            _ => return None,
        }
    }
    Some((username?, clients))
}
