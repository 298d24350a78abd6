//! Answers what tests ask of a running bed.
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::Bed;
use crate::bed_info::BedInfo;
use crate::control::{Answer, Change, DiskChange, Request};
use crate::residence;

pub(super) fn start(bed: Bed, shutdown: CancellationToken) -> Result<()> {
    let socket = BedInfo::control_socket(&bed.directory);
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("listening on {}", socket.display()))?;
    let bed = Arc::new(bed);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (bed, shutdown) = (Arc::clone(&bed), shutdown.clone());
            tokio::spawn(async move {
                if let Err(error) = converse(stream, &bed, &shutdown).await {
                    tracing::warn!(error = format!("{error:#}"), "a conversation broke off");
                }
            });
        }
    });
    Ok(())
}

async fn converse(stream: UnixStream, bed: &Bed, shutdown: &CancellationToken) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let request: Request = serde_json::from_str(&line)?;
    let ends = matches!(request, Request::Shutdown);
    let answer = match answer(bed, request).await {
        Ok(value) => Answer::Done(value),
        Err(error) => Answer::Failed(format!("{error:#}")),
    };
    let mut line = serde_json::to_string(&answer)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    stream.flush().await?;
    if ends {
        shutdown.cancel();
    }
    Ok(())
}

async fn answer(bed: &Bed, request: Request) -> Result<Value> {
    match request {
        Request::Info => return Ok(serde_json::to_value(&bed.info)?),
        Request::MapImage { image, program } => bed.images.map(&image, program),
        Request::Broker { id, change } => change_broker(bed, id, change).await?,
        Request::Disk { broker, change } => change_disk(bed, broker, change)?,
        Request::ApiServer { change } => change_api_server(bed, change).await?,
        Request::Keep => residence::keep(&bed.directory)?,
        Request::Shutdown => {}
    }
    Ok(Value::Null)
}

async fn change_broker(bed: &Bed, id: u8, change: Change) -> Result<()> {
    let brokers = bed.brokers.as_ref().context("this bed was started without Kafka")?;
    let broker = brokers.component(id)?;
    match change {
        Change::Stop => broker.stop().await,
        Change::Kill => broker.kill().await,
        Change::Start => brokers.restart(id).await,
        Change::Pause => broker.signal(Signal::STOP).await,
        Change::Resume => broker.signal(Signal::CONT).await,
    }
}

fn change_disk(bed: &Bed, broker: u8, change: DiskChange) -> Result<()> {
    let brokers = bed.brokers.as_ref().context("this bed was started without Kafka")?;
    let disk = brokers.disk(broker)?;
    match change {
        DiskChange::Resize { mebibytes } => disk.resize(mebibytes),
        DiskChange::Pull => disk.pull(),
        DiskChange::PutBack => disk.put_back(),
    }
}

async fn change_api_server(bed: &Bed, change: Change) -> Result<()> {
    let api_server = bed.control_plane.api_server();
    match change {
        Change::Stop => bail!("an API server that is asked to end takes a minute over it; kill it"),
        Change::Kill => api_server.kill().await,
        Change::Start => {
            api_server.start().await?;
            bed.control_plane.api_server_ready().await
        }
        Change::Pause => api_server.signal(Signal::STOP).await,
        Change::Resume => api_server.signal(Signal::CONT).await,
    }
}
