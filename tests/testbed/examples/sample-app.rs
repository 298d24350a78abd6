//! The application that the testbed's own tests deploy: answers every request with `$VERSION` and the
//! content of `$SHOW`, a file.
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{env, fs, thread};

fn main() -> io::Result<()> {
    let address = env::var("POD_IP").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let listener = TcpListener::bind(format!("{address}:8080"))?;
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || answer(stream));
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = [0; 1024];
    let length = stream.read(&mut request)?;
    let ready = match env::var("READY_FILE") {
        Ok(file) => fs::exists(file)?,
        Err(_) => true,
    };
    let is_probe = request[..length].starts_with(b"GET /ready");
    let status = if is_probe && !ready { "503 Service Unavailable" } else { "200 OK" };
    let shown = env::var("SHOW").ok().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let body = format!("{} {shown}", env::var("VERSION").unwrap_or_default());
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
