use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use super::{VerifyError, VerifyRequest, VerifyStep, session};

static PLACES: Semaphore = Semaphore::const_new(VerifyRequest::AT_ONCE);

/// How much longer than its own time-out a session may take to come down.
const GRACE: Duration = Duration::from_secs(2);

/// Logs in as a client would, and looks at its topics and groups. Writes nothing, commits nothing, joins nothing.
///
/// Runs on a thread of its own, at most [`VerifyRequest::AT_ONCE`] at once; the runtime's workers only wait. Ends within the request's time-out
/// and two seconds; a session that does not come down by then is left to end by itself and keeps its place until it has.
pub async fn verify(request: VerifyRequest) -> Result<(), VerifyError> {
    let limit = request.timeout;
    let deadline = Instant::now() + limit;
    let late = |words: &str| VerifyError::new(VerifyStep::Connect, words);
    let place = timeout(limit, PLACES.acquire())
        .await
        .map_err(|_| late("other verifications were under way all the time"))?
        .map_err(|_| late("verification has ended"))?;
    let (tell, told) = oneshot::channel();
    let session = move || {
        let _place = place;
        // Nobody listens any more when the caller gave up.
        let _ = tell.send(session::run(&request, deadline));
    };
    thread::Builder::new()
        .name("verify".to_owned())
        .spawn(session)
        .map_err(|error| late(&format!("no thread for the verification: {error}")))?;
    let left = deadline.saturating_duration_since(Instant::now()) + GRACE;
    match timeout(left, told).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(late("the verification ended without an answer")),
        Err(_) => Err(late("the client library did not come back in time")),
    }
}
