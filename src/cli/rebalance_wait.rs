//! `topicops rebalance --wait`: how a rebalance goes on, as the replica that leads tells it.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result, bail};

use super::Rebalanced;
use crate::{
    controller::moves::ConfigMapMoveStore,
    moves::{RebalanceRequest, RebalanceState, RebalanceStatus},
};

/// Between two looks of --wait.
const LOOK: Duration = Duration::from_secs(1);
/// Looks of --wait that fail one after the other before it is given up.
const PATIENCE: u32 = 120;

/// Waits until it is over. An API server that does not answer is asked again for a while.
pub(super) async fn wait(
    store: &ConfigMapMoveStore,
    mut request: RebalanceRequest,
    out: &mut (dyn Write + Send),
) -> Result<Rebalanced> {
    let (mut last, mut failures) = (None, 0);
    loop {
        match store.requested().await {
            Ok((standing, status)) => {
                failures = 0;
                match standing {
                    Some(standing) if standing.asks_for_the_same(&request) => request = standing,
                    Some(_) => bail!("somebody asked for something else meanwhile"),
                    None => {
                        bail!("somebody took the request away meanwhile: what was under way is called off")
                    }
                }
                let status = status.filter(|status| status.id == request.id);
                if let Some(status) = status.filter(|status| last.as_ref() != Some(status)) {
                    writeln!(out, "{}", told(&status))?;
                    match Rebalanced::from(status.state) {
                        Rebalanced::Pending => last = Some(status),
                        over => return Ok(over),
                    }
                }
            }
            Err(error) if failures < PATIENCE => {
                if failures == 0 {
                    writeln!(out, "trying again: {}", crate::chain(&error))?;
                }
                failures += 1;
            }
            Err(error) => return Err(error).context("it may go on all the same: see --status"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) fn told(status: &RebalanceStatus) -> String {
    let state = match status.state {
        RebalanceState::Waiting => "waiting",
        RebalanceState::Moving => "moving",
        RebalanceState::Done => "done",
        RebalanceState::Cancelled => "called off",
        RebalanceState::Refused => "refused",
    };
    let parts = [state, status.message.as_str(), status.remarks.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use axum::{Json, Router, http::StatusCode};
    use kube::Client;
    use serde_json::json;

    use super::*;

    /// What the API server answers to one look, and to all after it if it is the last.
    #[derive(Clone)]
    enum Look {
        Silence,
        Nothing,
        Standing(Box<(RebalanceRequest, Option<RebalanceStatus>)>),
    }

    fn standing(request: RebalanceRequest, status: Option<RebalanceStatus>) -> Look {
        Look::Standing(Box::new((request, status)))
    }

    fn asked(drain: i32) -> RebalanceRequest {
        RebalanceRequest { id: "one".to_owned(), drain: [drain].into(), ..RebalanceRequest::default() }
    }

    fn status(id: &str, state: RebalanceState, message: &str) -> Option<RebalanceStatus> {
        Some(RebalanceStatus { id: id.to_owned(), state, message: message.to_owned(), ..Default::default() })
    }

    /// The outcome of waiting for `asked(4)`, and what was said meanwhile.
    async fn waited(looks: &[Look]) -> (Result<Rebalanced>, String) {
        let looks: Arc<Mutex<VecDeque<Look>>> = Arc::new(Mutex::new(looks.iter().cloned().collect()));
        let api_server = Router::new().fallback(move || {
            let mut looks = looks.lock().unwrap();
            let look = if looks.len() > 1 { looks.pop_front() } else { looks.front().cloned() };
            let refused = |code: StatusCode, reason: &str| {
                let status = json!({
                    "kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16(),
                });
                (code, Json(status))
            };
            let answer = match look {
                Some(Look::Standing(standing)) => {
                    let (request, status) = *standing;
                    let mut data = json!({ "request": serde_json::to_string(&request).unwrap() });
                    if let Some(status) = status {
                        data["status"] = json!(serde_json::to_string(&status).unwrap());
                    }
                    let object = json!({
                        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "any" }, "data": data,
                    });
                    (StatusCode::OK, Json(object))
                }
                Some(Look::Nothing) => refused(StatusCode::NOT_FOUND, "NotFound"),
                Some(Look::Silence) | None => refused(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            };
            std::future::ready(answer)
        });
        let operator = "topicops".parse().unwrap();
        let store = ConfigMapMoveStore::new(Client::new(api_server, "default"), "topicops", operator);
        let mut said = Vec::new();
        let outcome = wait(&store, asked(4), &mut said).await;
        (outcome, String::from_utf8(said).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_is_away_for_a_while_is_asked_again_and_each_step_is_told_once() {
        let moving = standing(asked(4), status("one", RebalanceState::Moving, "2 left"));
        let away = vec![Look::Silence; usize::try_from(PATIENCE).unwrap()];
        let begun = [standing(asked(4), status("before", RebalanceState::Done, "old")), moving.clone()];
        let over = [moving, standing(asked(4), status("one", RebalanceState::Done, "all"))];
        let (outcome, said) = waited(&[&away[..], &begun, &away, &over].concat()).await;
        assert_eq!(outcome.unwrap(), Rebalanced::Done);
        let lines: Vec<&str> = said.lines().map(|line| line.split(": the").next().unwrap()).collect();
        assert_eq!(lines.len(), 4, "{said}");
        assert!(lines[0].starts_with("trying again: ") && lines[2].starts_with("trying again: "), "{said}");
        assert_eq!([lines[1], lines[3]], ["moving: 2 left", "done: all"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_stays_away_is_given_up_with_word_of_what_to_do() {
        let (outcome, _) = waited(&[Look::Silence]).await;
        let error = format!("{:#}", outcome.unwrap_err());
        assert!(error.starts_with("it may go on all the same: see --status"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_asked_for_again_is_waited_for_and_something_else_is_not() {
        let again = RebalanceRequest { id: "two".to_owned(), throttle: Some(9), ..asked(4) };
        let done = |id| status(id, RebalanceState::Done, "all");
        let (outcome, said) =
            waited(&[standing(again.clone(), done("one")), standing(again, done("two"))]).await;
        assert_eq!((outcome.unwrap(), said.as_str()), (Rebalanced::Done, "done: all\n"));
        let (outcome, _) = waited(&[standing(asked(3), done("one"))]).await;
        assert_eq!(outcome.unwrap_err().to_string(), "somebody asked for something else meanwhile");
        let (outcome, _) = waited(&[Look::Nothing]).await;
        assert!(outcome.unwrap_err().to_string().contains("took the request away"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_done_is_told_as_such() {
        let refused = status("one", RebalanceState::Refused, "broker 9 is not alive");
        let (outcome, said) = waited(&[standing(asked(4), refused)]).await;
        assert_eq!(
            (outcome.unwrap(), said.as_str()),
            (Rebalanced::Refused, "refused: broker 9 is not alive\n")
        );
    }
}
