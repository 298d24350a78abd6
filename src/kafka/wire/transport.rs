use std::{io, sync::Arc};

use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::{
    connection::{Endpoint, Stream},
    fault::Fault,
};
use crate::kafka::{Address, Trouble};

/// Opens TCP and, where it is wanted, TLS. Every address that the name resolves to is tried, and every cause is kept.
pub(super) async fn open(endpoint: &Arc<Endpoint>, address: &Address) -> Result<Box<dyn Stream>, Fault> {
    let stream = connect(address).await?;
    // A request is one write and then waits for its answer: Nagle's algorithm could only delay it.
    stream.set_nodelay(true).map_err(|error| Fault::io(&error))?;
    let Some(tls) = &endpoint.tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(address.host.clone()).map_err(|_| {
        Fault::new(Trouble::Tls, format!("{} is no name a certificate could be for", address.host))
    })?;
    match TlsConnector::from(tls.clone()).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(handshake_fault(&error)),
    }
}

async fn connect(address: &Address) -> Result<TcpStream, Fault> {
    let resolved = lookup_host((address.host.as_str(), address.port))
        .await
        .map_err(|error| Fault::broken(format!("the name cannot be resolved: {error}")))?;
    let mut causes: Vec<String> = Vec::new();
    for socket in resolved {
        match TcpStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) => causes.push(format!("{}: {}", socket.ip(), Fault::io(&error).message)),
        }
    }
    if causes.is_empty() {
        return Err(Fault::broken("the name resolves to no address"));
    }
    Err(Fault::broken(causes.join(", ")))
}

fn handshake_fault(error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Fault::new(
            Trouble::Tls,
            "TLS: the server hung up during the handshake; does this listener speak TLS?",
        );
    }
    let fault = Fault::io(error);
    if fault.trouble == Trouble::Tls && fault.message.contains("corrupt message") {
        return Fault::new(Trouble::Tls, format!("{}; does this listener speak TLS?", fault.message));
    }
    fault
}
