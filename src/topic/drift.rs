use std::fmt;

/// One thing about a topic that is not as it was declared and applied: somebody changed it on the brokers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    /// `None`: the setting was taken away.
    Config {
        key: String,
        declared: String,
        found: Option<String>,
    },
    Partitions {
        declared: i32,
        found: i32,
    },
    ReplicationFactor {
        declared: i16,
        found: i16,
    },
    /// The topic was deleted.
    Missing,
    /// It was deleted and made anew.
    Remade,
}

/// Longer values are cut in messages.
const VALUE_SHOWN: usize = 80;

impl Drift {
    /// The label of its metric.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Config { .. } => "config",
            Self::Partitions { .. } => "partitions",
            Self::ReplicationFactor { .. } => "replication-factor",
            Self::Missing | Self::Remade => "missing",
        }
    }

    /// What was put back, for whoever changed it.
    pub fn corrected(&self) -> String {
        match self {
            Self::Config { key, declared, found } => {
                format!("{key}: {} -> {}", found_value(found.as_deref()), cut(declared))
            }
            Self::Partitions { declared, found } => format!("partitions: {found} -> {declared}"),
            Self::ReplicationFactor { declared, found } => {
                format!("replication-factor: {found} -> {declared}")
            }
            Self::Missing => {
                "the topic was deleted on the brokers and is made anew: what was in it is gone".to_owned()
            }
            Self::Remade => {
                "the topic was deleted and made anew on the brokers: what was in it is gone".to_owned()
            }
        }
    }
}

/// What is declared, and what was found instead.
impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { key, declared, found } => {
                write!(f, "{key}: declared {}, found {}", cut(declared), found_value(found.as_deref()))
            }
            Self::Partitions { declared, found } if found > declared => write!(
                f,
                "partitions: declared {declared}, found {found}; Kafka cannot take any away: declare {found}"
            ),
            Self::Partitions { declared, found } => {
                write!(f, "partitions: declared {declared}, found {found}")
            }
            Self::ReplicationFactor { declared, found } => {
                write!(f, "replication-factor: declared {declared}, found {found}")
            }
            Self::Missing => {
                f.write_str("the topic was deleted on the brokers; to have it made anew, delete what declares it and apply that again")
            }
            Self::Remade => f.write_str("the topic was deleted and made anew on the brokers"),
        }
    }
}

fn found_value(found: Option<&str>) -> String {
    found.map_or_else(|| "nothing set".to_owned(), cut)
}

fn cut(value: &str) -> String {
    match value.char_indices().nth(VALUE_SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
