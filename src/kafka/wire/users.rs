use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, DescribeUserScramCredentialsRequest,
    alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion},
};

use super::{
    fault::Fault,
    pool::{Again, Pool, Target},
    text::{outcome, text},
};
use crate::kafka::{Item, ItemError, ScramKeys, ScramMechanism, ScramUser};

/// Users of one request.
const CHUNK: usize = 1000;

/// Brokers cannot filter by the beginning of a name, so all users come and ours are kept.
pub(super) async fn describe(pool: &Arc<Pool>, prefix: &str) -> Result<Vec<ScramUser>, Fault> {
    // An empty list is all users as well as none is, and brokers never answer a user who may not ask when it is none.
    let request = DescribeUserScramCredentialsRequest::default().with_users(Some(Vec::new()));
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    if answer.error_code != 0 {
        return Err(Fault::answer(answer.error_code, answer.error_message.as_deref()));
    }
    let mut users = Vec::new();
    for user in answer.results.iter().filter(|user| user.user.starts_with(prefix)) {
        match user.error_code {
            0 => {}
            ItemError::RESOURCE_NOT_FOUND => continue,
            code => return Err(Fault::answer(code, user.error_message.as_deref())),
        }
        let known = user.credential_infos.iter();
        let credentials = known.filter_map(|info| Some((mechanism_of(info.mechanism)?, info.iterations)));
        users.push(ScramUser { username: user.user.to_string(), credentials: credentials.collect() });
    }
    users.sort_unstable_by(|one, other| one.username.cmp(&other.username));
    Ok(users)
}

pub(super) async fn upsert(pool: &Arc<Pool>, users: &[(String, ScramKeys)]) -> Result<Vec<Item<()>>, Fault> {
    let mut outcomes = Vec::with_capacity(users.len());
    for part in users.chunks(CHUNK) {
        let upsertions = part.iter().map(|(username, keys)| {
            ScramCredentialUpsertion::default()
                .with_name(text(username))
                .with_mechanism(mechanism_number(keys.mechanism))
                .with_iterations(keys.iterations)
                .with_salt(Bytes::copy_from_slice(&keys.salt))
                .with_salted_password(Bytes::copy_from_slice(&keys.salted_password))
        });
        let request = AlterUserScramCredentialsRequest::default().with_upsertions(upsertions.collect());
        let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
        let altered = by_user(&answer);
        outcomes.extend(part.iter().map(|(username, _)| of_user(&altered, username)));
    }
    Ok(outcomes)
}

/// Each for all mechanisms: what a describe shows may lag behind what there is to delete.
pub(super) async fn delete(pool: &Arc<Pool>, usernames: &[String]) -> Result<Vec<Item<()>>, Fault> {
    let mut outcomes: Vec<Item<()>> = usernames.iter().map(|_| Ok(())).collect();
    for mechanism in [ScramMechanism::Sha512, ScramMechanism::Sha256] {
        let credentials: Vec<(String, ScramMechanism)> =
            usernames.iter().map(|username| (username.clone(), mechanism)).collect();
        for (slot, outcome) in outcomes.iter_mut().zip(delete_credentials(pool, &credentials).await?) {
            if outcome.is_err() {
                *slot = outcome;
            }
        }
    }
    Ok(outcomes)
}

/// One request for each chunk. Brokers refuse one that names a user twice, whatever the mechanism.
pub(super) async fn delete_credentials(
    pool: &Arc<Pool>,
    credentials: &[(String, ScramMechanism)],
) -> Result<Vec<Item<()>>, Fault> {
    let mut outcomes = Vec::with_capacity(credentials.len());
    for part in credentials.chunks(CHUNK) {
        let distinct: HashSet<&(String, ScramMechanism)> = part.iter().collect();
        let deletions = distinct.iter().map(|(username, mechanism)| {
            ScramCredentialDeletion::default()
                .with_name(text(username))
                .with_mechanism(mechanism_number(*mechanism))
        });
        let request = AlterUserScramCredentialsRequest::default().with_deletions(deletions.collect());
        let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
        let altered = by_user(&answer);
        outcomes.extend(part.iter().map(|(username, _)| match of_user(&altered, username) {
            Err(error) if error.is(ItemError::RESOURCE_NOT_FOUND) => Ok(()),
            outcome => outcome,
        }));
    }
    Ok(outcomes)
}

fn by_user(answer: &AlterUserScramCredentialsResponse) -> HashMap<&str, Item<()>> {
    let results = answer.results.iter();
    results.map(|result| (&*result.user, outcome(result.error_code, result.error_message.as_ref()))).collect()
}

fn of_user(outcomes: &HashMap<&str, Item<()>>, username: &str) -> Item<()> {
    outcomes.get(username).cloned().unwrap_or_else(|| Err(ItemError::unmentioned()))
}

fn mechanism_number(mechanism: ScramMechanism) -> i8 {
    match mechanism {
        ScramMechanism::Sha256 => 1,
        ScramMechanism::Sha512 => 2,
    }
}

fn mechanism_of(number: i8) -> Option<ScramMechanism> {
    match number {
        1 => Some(ScramMechanism::Sha256),
        2 => Some(ScramMechanism::Sha512),
        _ => None,
    }
}
