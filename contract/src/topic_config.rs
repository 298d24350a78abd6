use crate::{Problem, nearest::nearest};

/// What kind of value a topic configuration key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Boolean,
    /// 32 bit, with the least and greatest value.
    Int(i64, i64),
    /// 64 bit, with the least value.
    Long(i64),
    /// With the least and greatest value.
    Double(f64, f64),
    OneOf(&'static [&'static str]),
    ListOf(&'static [&'static str]),
    /// `partition:broker` pairs, or `*`.
    ThrottledReplicas,
}

const INT: i64 = i32::MAX as i64;

/// The topic configuration keys of Kafka 3.9 to 4.3 with the type and the bounds that Kafka gives them
/// (`org.apache.kafka.storage.internals.log.LogConfig`). Where versions differ, the wider bound stands here and the
/// broker has the last word.
const KEYS: &[(&str, Kind)] = &[
    ("cleanup.policy", Kind::ListOf(&["delete", "compact"])),
    ("compression.gzip.level", Kind::Int(-1, 9)),
    ("compression.lz4.level", Kind::Int(1, 17)),
    ("compression.type", Kind::OneOf(&["producer", "uncompressed", "zstd", "lz4", "snappy", "gzip"])),
    ("compression.zstd.level", Kind::Int(-131_072, 22)),
    ("delete.retention.ms", Kind::Long(0)),
    ("file.delete.delay.ms", Kind::Long(0)),
    ("flush.messages", Kind::Long(0)),
    ("flush.ms", Kind::Long(0)),
    ("follower.replication.throttled.replicas", Kind::ThrottledReplicas),
    ("index.interval.bytes", Kind::Int(0, INT)),
    ("leader.replication.throttled.replicas", Kind::ThrottledReplicas),
    ("local.retention.bytes", Kind::Long(-2)),
    ("local.retention.ms", Kind::Long(-2)),
    ("max.compaction.lag.ms", Kind::Long(1)),
    ("max.message.bytes", Kind::Int(0, INT)),
    ("message.downconversion.enable", Kind::Boolean),
    ("message.timestamp.after.max.ms", Kind::Long(0)),
    ("message.timestamp.before.max.ms", Kind::Long(0)),
    ("message.timestamp.type", Kind::OneOf(&["CreateTime", "LogAppendTime"])),
    ("min.cleanable.dirty.ratio", Kind::Double(0.0, 1.0)),
    ("min.compaction.lag.ms", Kind::Long(0)),
    ("min.insync.replicas", Kind::Int(1, INT)),
    ("preallocate", Kind::Boolean),
    ("remote.log.copy.disable", Kind::Boolean),
    ("remote.log.delete.on.disable", Kind::Boolean),
    ("remote.storage.enable", Kind::Boolean),
    ("retention.bytes", Kind::Long(-1)),
    ("retention.ms", Kind::Long(-1)),
    ("segment.bytes", Kind::Int(14, INT)),
    ("segment.index.bytes", Kind::Int(4, INT)),
    ("segment.jitter.ms", Kind::Long(0)),
    ("segment.ms", Kind::Long(1)),
    ("unclean.leader.election.enable", Kind::Boolean),
];

/// The topic configuration that Kafka knows: keys, types and bounds.
#[derive(Debug)]
pub struct TopicConfig;

impl TopicConfig {
    /// All keys, in alphabetical order.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        KEYS.iter().map(|(key, _)| *key)
    }

    /// A key as it stands in this table: what is kept of it takes no room of its own.
    pub fn known(key: &str) -> Option<&'static str> {
        Self::keys().find(|known| *known == key)
    }

    /// Whether topicops itself sets a key, while it moves replicas: no topic may declare it.
    pub fn is_reserved(key: &str) -> bool {
        KEYS.iter().any(|(known, kind)| *known == key && *kind == Kind::ThrottledReplicas)
    }

    /// Refuses an unknown key (with the nearest known one) and a value of another type or out of bounds.
    pub fn check(key: &str, value: &str) -> Result<(), Problem> {
        let Some((_, kind)) = KEYS.iter().find(|(known, _)| *known == key) else {
            let expected = match nearest(key, Self::keys()) {
                Some(near) => format!("no topic configuration key of Kafka; did you mean {near}?"),
                None => {
                    "no topic configuration key of Kafka; see Kafka's documentation, Topic Configs".to_owned()
                }
            };
            return Err(Problem::new(key, value, expected));
        };
        kind.check(value.trim()).map_err(|expected| Problem::new(key, value, expected))
    }

    /// Whether two values of a key mean the same to Kafka: brokers answer in their own spelling.
    pub fn same(key: &str, one: &str, other: &str) -> bool {
        let (one, other) = (one.trim(), other.trim());
        one == other
            || match KEYS.iter().find(|(known, _)| *known == key) {
                Some((_, Kind::Boolean)) => one.eq_ignore_ascii_case(other),
                Some((_, Kind::Int(..) | Kind::Long(_))) => {
                    matches!((one.parse::<i64>(), other.parse::<i64>()), (Ok(a), Ok(b)) if a == b)
                }
                Some((_, Kind::Double(..))) => {
                    matches!((one.parse::<f64>(), other.parse::<f64>()), (Ok(a), Ok(b)) if a.total_cmp(&b).is_eq())
                }
                Some((_, Kind::ListOf(_) | Kind::ThrottledReplicas)) => {
                    one.split(',').map(str::trim).eq(other.split(',').map(str::trim))
                }
                Some((_, Kind::OneOf(_))) | None => false,
            }
    }
}

impl Kind {
    fn check(self, value: &str) -> Result<(), String> {
        match self {
            Self::Boolean => {
                let lower = value.to_ascii_lowercase();
                ok_if(lower == "true" || lower == "false", || "true or false".to_owned())
            }
            Self::Int(least, greatest) => in_range(value, least, greatest),
            Self::Long(least) => in_range(value, least, i64::MAX),
            Self::Double(least, greatest) => {
                let right = value.parse::<f64>().is_ok_and(|number| (least..=greatest).contains(&number));
                ok_if(right, || format!("a number from {least} to {greatest}"))
            }
            Self::OneOf(values) => ok_if(values.contains(&value), || format!("one of {}", values.join(", "))),
            Self::ListOf(values) => {
                let right = value.is_empty() || value.split(',').all(|part| values.contains(&part.trim()));
                ok_if(right, || format!("a comma-separated list of {}", values.join(", ")))
            }
            Self::ThrottledReplicas => {
                let pair = |part: &str| {
                    part.trim().split_once(':').is_some_and(|(partition, broker)| {
                        partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
                    })
                };
                let right = value.is_empty() || value == "*" || value.split(',').all(pair);
                ok_if(right, || "partition:broker pairs such as 0:1,1:2, or *".to_owned())
            }
        }
    }
}

fn in_range(value: &str, least: i64, greatest: i64) -> Result<(), String> {
    let right = value.parse::<i64>().is_ok_and(|number| (least..=greatest).contains(&number));
    ok_if(right, || match greatest {
        i64::MAX => format!("a whole number, {least} or more"),
        _ => format!("a whole number from {least} to {greatest}"),
    })
}

fn ok_if(right: bool, expected: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_unique() {
        assert!(KEYS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn the_nearest_key_is_named() {
        let problem = TopicConfig::check("retention.sm", "1").unwrap_err();
        assert!(problem.expected.contains("retention.ms"), "{problem}");
    }

    #[test]
    fn a_retention_longer_than_an_int_is_a_long() {
        assert!(TopicConfig::check("retention.ms", "31536000000").is_ok());
        assert!(TopicConfig::check("max.message.bytes", "31536000000").is_err());
    }

    #[test]
    fn spelling_is_no_difference() {
        assert!(TopicConfig::same("preallocate", "TRUE", "true"));
        assert!(TopicConfig::same("retention.ms", "007", "7"));
        assert!(TopicConfig::same("cleanup.policy", "compact, delete", "compact,delete"));
        assert!(TopicConfig::same("min.cleanable.dirty.ratio", "0.50", "0.5"));
        assert!(!TopicConfig::same("compression.type", "zstd", "ZSTD"));
        assert!(!TopicConfig::same("retention.ms", "7", "8"));
    }

    #[test]
    fn every_kind_refuses_a_wrong_value() {
        for (key, bad) in [
            ("preallocate", "yes"),
            ("segment.bytes", "1.5"),
            ("segment.bytes", "13"),
            ("retention.ms", "7d"),
            ("retention.ms", "-2"),
            ("min.cleanable.dirty.ratio", "1.1"),
            ("min.cleanable.dirty.ratio", "NaN"),
            ("compression.type", "zip"),
            ("cleanup.policy", "delete,shrink"),
            ("leader.replication.throttled.replicas", "0-1"),
        ] {
            assert!(TopicConfig::check(key, bad).is_err(), "{key}={bad} was accepted");
        }
        for (key, good) in [
            ("cleanup.policy", "compact, delete"),
            ("min.cleanable.dirty.ratio", "0.5"),
            ("leader.replication.throttled.replicas", "0:1,1:2"),
            ("leader.replication.throttled.replicas", "*"),
            ("compression.type", "zstd"),
            ("unclean.leader.election.enable", "TRUE"),
        ] {
            assert!(TopicConfig::check(key, good).is_ok(), "{key}={good} was refused");
        }
    }
}
