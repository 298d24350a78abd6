use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use tokio::{
    sync::Semaphore,
    task::{Id, JoinError, JoinSet},
};

use super::{Rollout, RolloutError, Rollouts};
use crate::{ObjectKey, access::Client};

/// Looks at rollouts, each in a task of its own: an API server that takes its time for an answer about Pods holds up nobody's
/// access. They end with this, and so with the tenure.
#[derive(Debug)]
pub(super) struct Looks {
    tasks: JoinSet<Answer>,
    asked: HashMap<Id, Asked>,
    at_once: Arc<Semaphore>,
}

type Answer = Result<Rollout, RolloutError>;

/// What is looked at.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) client: Arc<Client>,
    /// The user whose credentials the Pods are to have, and the one before.
    pub(super) username: String,
    pub(super) previous: String,
    pub(super) secret: ObjectKey,
    /// When the password in the Secret was made, and since when Pods find it there.
    pub(super) made: Timestamp,
    pub(super) since: Timestamp,
    pub(super) may_roll: bool,
}

/// What came of one look.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) id: Id,
    pub(super) asked: Asked,
    pub(super) answer: Answer,
}

/// Looks with the API server at the same time. Others wait: they are not counted among the requests about Secrets, which matter
/// more.
const AT_ONCE: usize = 8;

impl Default for Looks {
    fn default() -> Self {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        Self { tasks: JoinSet::new(), asked: HashMap::new(), at_once }
    }
}

impl Looks {
    pub(super) fn begin(&mut self, rollouts: &Arc<dyn Rollouts>, asked: Asked) -> Id {
        let (rollouts, at_once, of) = (Arc::clone(rollouts), Arc::clone(&self.at_once), asked.clone());
        let task = self.tasks.spawn(async move {
            let _permit = at_once.acquire().await;
            rollouts.advance(&of.client, &of.username, of.made, of.since, of.may_roll).await
        });
        self.asked.insert(task.id(), asked);
        task.id()
    }

    /// What came of one that has ended; waits for it. `None`: none is under way.
    pub(super) async fn next(&mut self) -> Option<Look> {
        loop {
            let ended = self.tasks.join_next_with_id().await?;
            if let Some(look) = self.look(ended) {
                return Some(look);
            }
        }
    }

    /// Likewise, without waiting.
    pub(super) fn try_next(&mut self) -> Option<Look> {
        loop {
            let ended = self.tasks.try_join_next_with_id()?;
            if let Some(look) = self.look(ended) {
                return Some(look);
            }
        }
    }

    fn look(&mut self, ended: Result<(Id, Answer), JoinError>) -> Option<Look> {
        let (id, ended) = match ended {
            Ok((id, answer)) => (id, Ok(answer)),
            Err(error) => (error.id(), Err(error)),
        };
        let asked = self.asked.remove(&id)?;
        let answer = ended.unwrap_or_else(|error| {
            let workload = asked.client.workload.to_string();
            Err(RolloutError { doing: "look after the rollout of", workload, message: error.to_string() })
        });
        Some(Look { id, asked, answer })
    }
}
