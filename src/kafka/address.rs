use std::{fmt, str::FromStr};

/// Where a broker listens: host name or IP address, and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl FromStr for Address {
    type Err = &'static str;

    /// `host:port`, `[v6]:port`, or either behind `PROTOCOL://`, which Java clients skip.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "each server is host:port, with a port from 1 to 65535";
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or(EXPECTED)?,
            None if host.contains(':') => return Err("an IPv6 address stands in brackets: [::1]:9092"),
            None => host,
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || !host.chars().all(legal) {
            return Err(EXPECTED);
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(EXPECTED)?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_java_clients_read_them() {
        for (text, shown) in [
            ("kafka.example:9093", "kafka.example:9093"),
            ("[::1]:9092", "[::1]:9092"),
            ("SASL_SSL://b-1:9093", "b-1:9093"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "kafka",
            "kafka:",
            ":9092",
            "kafka:0",
            "kafka:65536",
            "::1:9092",
            "[::1:9092",
            "a b:1",
            "a/b:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?} was accepted");
        }
    }
}
