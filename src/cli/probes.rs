use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text, registry::Registry};

use crate::controller::health::Health;

#[derive(Clone)]
struct Shown {
    health: Health,
    registry: Arc<Registry>,
    refresh: Arc<dyn Fn() + Send + Sync>,
}

/// `/metrics`, `/livez`, and `/readyz` with a line for each check; `/readyz/<check>` answers 503 when that check is not well,
/// so that `/readyz/kafka` can be alerted on although readiness does not hang on it.
///
/// `refresh` brings up to date, before each scrape, what is counted rather than noted.
pub(super) fn router(
    health: Health,
    registry: Arc<Registry>,
    refresh: Arc<dyn Fn() + Send + Sync>,
) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/readyz/{check}", get(check))
        .route("/metrics", get(metrics))
        .with_state(Shown { health, registry, refresh })
}

async fn ready(State(shown): State<Shown>) -> Response {
    let (ready, text) = shown.health.readiness();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text).into_response()
}

async fn check(State(shown): State<Shown>, Path(name): Path<String>) -> Response {
    match shown.health.check(&name) {
        Some(Ok(())) => (StatusCode::OK, "ok\n".to_owned()).into_response(),
        Some(Err(message)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{message}\n")).into_response(),
        None => (StatusCode::NOT_FOUND, format!("no check is named {name:?}; see /readyz\n")).into_response(),
    }
}

async fn metrics(State(shown): State<Shown>) -> Response {
    (shown.refresh)();
    let mut body = String::new();
    match text::encode(&mut body, &shown.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
