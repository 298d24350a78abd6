use std::{future::Future, time::Instant};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};

/// API writes under way at the same time: what a busy GitOps tool does.
const IN_FLIGHT: usize = 32;

/// Does `write` for `0..n`, many at a time; answers when it began.
pub(crate) async fn write_all<F, Fut>(n: usize, write: F) -> Result<Instant>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let started = Instant::now();
    stream::iter((0..n).map(write)).buffer_unordered(IN_FLIGHT).try_collect::<Vec<()>>().await?;
    Ok(started)
}
