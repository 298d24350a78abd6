//! The routes, as a function: no socket is needed to try them.
//!
//! Whatever goes wrong here is an HTTP error and never an admission: the API server then does what the webhook's failure
//! policy says.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::BytesMut;
use futures::StreamExt;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{Answer, Consent, Metrics, Review, TopicPolicy, metrics::Outcome, mutate, validate};

/// Where workloads are sent.
pub const MUTATE_PATH: &str = "/mutate";
/// Where topic ConfigMaps and KafkaTopics are sent.
pub const VALIDATE_PATH: &str = "/validate";

/// What the API server may send: an object of up to 3 MiB, the same again as the old one, and the review around them.
pub const BODY_LIMIT: usize = 7 * 1024 * 1024;

/// All bodies together, in permits of 64 KiB. Ordinary reviews take one, so 1,024 of them fit at once; nine of the largest do.
const BODY_MEMORY: usize = 1024;
const PERMIT: usize = 64 * 1024;

/// For waiting until there is room and for the body to arrive: an answer before the API server gives up, which is after 5 s as
/// topicops is installed.
const BODY_TIMEOUT: Duration = Duration::from_secs(4);

/// What the handlers share.
#[derive(Clone)]
pub struct WebhookState {
    consent: Arc<dyn Consent>,
    policy: Arc<dyn TopicPolicy>,
    metrics: Metrics,
    /// The namespaces that are looked after; `None`: all.
    namespaces: Option<Arc<BTreeSet<String>>>,
    room: Arc<Semaphore>,
}

impl WebhookState {
    pub fn new(consent: Arc<dyn Consent>, policy: Arc<dyn TopicPolicy>, metrics: Metrics) -> Self {
        Self { consent, policy, metrics, namespaces: None, room: Arc::new(Semaphore::new(BODY_MEMORY)) }
    }

    /// Leaves objects of other namespaces as they are.
    pub fn only_in(self, namespaces: BTreeSet<String>) -> Self {
        Self { namespaces: Some(Arc::new(namespaces)), ..self }
    }

    /// What is to be said of an object that nobody here looks after: what was added to it would never work.
    fn elsewhere(&self, review: &Review<'_>) -> Option<Answer> {
        let namespace = review.namespace();
        if self.namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(namespace)) {
            return None;
        }
        let warning =
            format!("topicops does not look after namespace {namespace}: nothing comes of this label");
        let warnings = if review.writes_object() { vec![warning] } else { Vec::new() };
        Some(Answer::Allowed { patch: Default::default(), warnings })
    }
}

impl std::fmt::Debug for WebhookState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookState").finish_non_exhaustive()
    }
}

/// The webhook: `POST /mutate` and `POST /validate`. A panic in a handler is answered with 500.
pub fn router(state: WebhookState) -> Router {
    let metrics = state.metrics.clone();
    let panicked = move |_| {
        tracing::error!("a handler panicked; the panic's own message stands on standard error");
        metrics.request("unknown", "unknown", Outcome::Panicked);
        (StatusCode::INTERNAL_SERVER_ERROR, "a fault of topicops; its log says more").into_response()
    };
    Router::new()
        .route(MUTATE_PATH, post(mutate_route))
        .route(VALIDATE_PATH, post(validate_route))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(state)
}

async fn mutate_route(State(state): State<WebhookState>, request: Request) -> Response {
    respond(&state, "mutate", request, |review| mutate(review, &*state.consent)).await
}

async fn validate_route(State(state): State<WebhookState>, request: Request) -> Response {
    respond(&state, "validate", request, |review| validate(review, &*state.policy)).await
}

async fn respond(
    state: &WebhookState,
    webhook: &'static str,
    request: Request,
    decide: impl FnOnce(&Review<'_>) -> Answer,
) -> Response {
    let refuse = |code: StatusCode, outcome: Outcome, text: String| {
        state.metrics.request(webhook, "unknown", outcome);
        tracing::warn!(webhook, %code, reason = %text, "request refused");
        (code, text).into_response()
    };
    let too_large = || {
        let text = format!("a review of more than {BODY_LIMIT} bytes is not read");
        refuse(StatusCode::PAYLOAD_TOO_LARGE, Outcome::TooLarge, text)
    };
    let late = |what: &str| {
        let text = format!("{what} within {} s", BODY_TIMEOUT.as_secs());
        refuse(StatusCode::REQUEST_TIMEOUT, Outcome::TimedOut, text)
    };

    let expected = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok())
        .or_else(|| request.body().size_hint().exact().and_then(|length| usize::try_from(length).ok()));
    // A body of unknown length may become the largest.
    let reserved = expected.unwrap_or(BODY_LIMIT);
    if reserved > BODY_LIMIT {
        return too_large();
    }
    let deadline = Instant::now() + BODY_TIMEOUT;
    let permits = u32::try_from(reserved / PERMIT + 1).unwrap_or(u32::MAX);
    let Ok(Ok(_room)) = timeout_at(deadline, state.room.acquire_many(permits)).await else {
        return late("there was no room for another review");
    };
    let body = match timeout_at(deadline, collect(request.into_body(), expected.unwrap_or_default())).await {
        Ok(Ok(Some(body))) => body,
        Ok(Ok(None)) => return too_large(),
        Ok(Err(error)) => {
            let text = format!("the body broke off: {error}");
            return refuse(StatusCode::BAD_REQUEST, Outcome::Unreadable, text);
        }
        Err(_) => return late("the body did not arrive"),
    };

    let began = Instant::now();
    let review = match Review::read(&body) {
        Ok(review) => review,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, Outcome::Unreadable, error.to_string()),
    };
    let answer = state.elsewhere(&review).unwrap_or_else(|| decide(&review));
    let (text, patch_bytes) = match answer.to_body(&review) {
        Ok(written) => written,
        Err(error) => {
            let text = format!("the answer cannot be written: {error}");
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, Outcome::Unreadable, text);
        }
    };
    let outcome = match (&answer, patch_bytes) {
        (Answer::Denied { .. }, _) => Outcome::Denied,
        (Answer::Allowed { .. }, 0) => Outcome::Untouched,
        (Answer::Allowed { .. }, _) => Outcome::Patched,
    };
    state.metrics.request(webhook, review.operation().as_str(), outcome);
    state.metrics.answered(webhook, began.elapsed(), patch_bytes);
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The whole body; `None` when it is larger than [`BODY_LIMIT`]. A body in one piece is not copied.
async fn collect(body: Body, expected: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut stream = body.into_data_stream();
    let Some(first) = stream.next().await.transpose()? else { return Ok(Some(Bytes::new())) };
    if first.len() >= expected && expected > 0 {
        return Ok((first.len() <= BODY_LIMIT).then_some(first));
    }
    let mut whole = BytesMut::with_capacity(expected.max(first.len()));
    whole.extend_from_slice(&first);
    while let Some(chunk) = stream.next().await.transpose()? {
        if whole.len() + chunk.len() > BODY_LIMIT {
            return Ok(None);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Some(whole.freeze()))
}
