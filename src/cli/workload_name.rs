use std::{fmt, str::FromStr};

/// A workload as it is named on the command line, `NAMESPACE/WORKLOAD`; of whatever kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadName {
    pub namespace: String,
    pub name: String,
}

impl FromStr for WorkloadName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |part: &str| {
            let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
            !part.is_empty() && part.chars().all(known)
        };
        match text.split_once('/') {
            Some((namespace, name)) if legal(namespace) && legal(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("\"{text}\" is no NAMESPACE/WORKLOAD, such as shop/orders")),
        }
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_of_display_is_identity_and_what_is_no_name_is_refused() {
        for text in ["shop/orders", "a-1/b.c"] {
            assert_eq!(text.parse::<WorkloadName>().unwrap().to_string(), text);
        }
        for wrong in ["", "orders", "/", "shop/", "/app", "a/b/c", "Shop/app", "a b/c"] {
            assert!(wrong.parse::<WorkloadName>().is_err(), "{wrong:?} was accepted");
        }
    }
}
