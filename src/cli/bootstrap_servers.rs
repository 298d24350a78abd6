use std::{fmt, str::FromStr};

use crate::kafka::Address;

/// Where clients find the brokers, as somebody wrote it: `HOST:PORT,…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapServers {
    text: String,
    addresses: Vec<Address>,
}

impl BootstrapServers {
    pub(super) fn addresses(&self) -> &[Address] {
        &self.addresses
    }
}

impl FromStr for BootstrapServers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let addresses = entries
            .map(|entry| entry.parse::<Address>().map_err(|expected| format!("\"{entry}\": {expected}")))
            .collect::<Result<Vec<_>, String>>()?;
        if addresses.is_empty() {
            return Err(format!("\"{text}\" names no server"));
        }
        Ok(Self { text: text.to_owned(), addresses })
    }
}

impl fmt::Display for BootstrapServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_shown_as_they_were_written_and_what_is_no_server_is_named() {
        for (text, count) in [("a:1", 1), ("a:1, [::1]:2,", 2)] {
            let servers: BootstrapServers = text.parse().unwrap();
            assert_eq!((servers.to_string().as_str(), servers.addresses().len()), (text, count));
        }
        for (wrong, says) in [("a:1,b", "\"b\": each server is host:port"), (" , ", "names no server")] {
            let told = wrong.parse::<BootstrapServers>().unwrap_err();
            assert!(told.contains(says), "{told}");
        }
    }
}
