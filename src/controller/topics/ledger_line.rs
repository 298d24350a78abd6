//! One topic's line of the ledger: `topic namespace keys applied`.
//!
//! `keys` is a comma-separated list: `key=value` for a setting that was applied, `key` alone for one that is claimed.
//! `applied` is one too, of whatever is known of `id`, `partitions`, `factor`, `share` and `stepped`, of a deletion that is
//! due: `deletion`, `deletion-id`, and a `consumer` or `producer` for each line, of what is `left` of a topic that nobody
//! declares any more (`partitions/factor`, or `partitions/factor/bytes`), and of how often the line has `moved` to another
//! page. It may be missing: then nothing is known of what was applied.

use topicops_contract::TopicName;

use crate::topic::{Deletion, Extent, Holding};

const ID: &str = "id";
const PARTITIONS: &str = "partitions";
const FACTOR: &str = "factor";
const SHARE: &str = "share";
const STEPPED: &str = "stepped";
const DELETION: &str = "deletion";
const DELETION_ID: &str = "deletion-id";
const CONSUMER: &str = "consumer";
const PRODUCER: &str = "producer";
const LEFT: &str = "left";
const MOVED: &str = "moved";

const FORCED: &str = "forced";
const UNUSED: &str = "unused";

pub(super) fn write(topic: &TopicName, moved: u32, holding: &Holding) -> String {
    let applied = &holding.applied;
    let keys = holding.keys.iter().map(|key| match applied.config(key) {
        Some(value) => format!("{key}={}", escape(value)),
        None => key.clone(),
    });
    let facts = [
        applied.topic_id.as_deref().map(|id| format!("{ID}={}", escape(id))),
        applied.partitions.map(|count| format!("{PARTITIONS}={count}")),
        applied.replication_factor.map(|factor| format!("{FACTOR}={factor}")),
        applied.disk_share.map(|share| format!("{SHARE}={}", escape(&share.to_string()))),
        applied.stepped_at.map(|at| format!("{STEPPED}={at}")),
        holding.left.map(|left| format!("{LEFT}={}", write_extent(left))),
        (moved > 0).then(|| format!("{MOVED}={moved}")),
    ];
    let keys = keys.collect::<Vec<_>>().join(",");
    let mut facts: Vec<String> = facts.into_iter().flatten().collect();
    facts.extend(holding.deletion.iter().flat_map(deletion_facts));
    let facts = facts.join(",");
    format!("{topic} {} {keys} {facts}\n", holding.namespace)
}

/// The topic, how often its line has moved, and what is held.
pub(super) fn read(line: &str) -> Option<(TopicName, u32, Holding)> {
    let mut parts = line.splitn(4, ' ');
    let topic = parts.next()?.parse().ok()?;
    let namespace = parts.next().filter(|namespace| !namespace.is_empty())?.to_owned();
    let mut holding = Holding { namespace, ..Holding::default() };
    for entry in entries(parts.next()?) {
        let (key, value) = match entry.split_once('=') {
            Some((key, value)) => (key, Some(unescape(value)?)),
            None => (entry, None),
        };
        holding.keys.insert(key.to_owned());
        if let Some(value) = value {
            holding.applied.set(key, &value);
        }
    }
    let mut moved = 0;
    for entry in entries(parts.next().unwrap_or_default()) {
        match entry.split_once('=')? {
            (MOVED, times) => moved = times.parse().ok()?,
            (name, value) => read_fact(&mut holding, name, value)?,
        }
    }
    Some((topic, moved, holding))
}

fn write_extent(extent: Extent) -> String {
    let Extent { partitions, replication_factor, retention_bytes } = extent;
    let bytes = retention_bytes.map_or_else(String::new, |bytes| format!("/{bytes}"));
    format!("{partitions}/{replication_factor}{bytes}")
}

fn read_extent(text: &str) -> Option<Extent> {
    let mut parts = text.splitn(3, '/');
    Some(Extent {
        partitions: parts.next()?.parse().ok()?,
        replication_factor: parts.next()?.parse().ok()?,
        retention_bytes: parts.next().map(str::parse).transpose().ok()?,
    })
}

fn deletion_facts(deletion: &Deletion) -> Vec<String> {
    let mut facts = vec![format!("{DELETION}={}", if deletion.force { FORCED } else { UNUSED })];
    facts.extend(deletion.topic_id.as_deref().map(|id| format!("{DELETION_ID}={}", escape(id))));
    for (name, lines) in [(CONSUMER, &deletion.consumers), (PRODUCER, &deletion.producers)] {
        facts.extend(lines.iter().map(|line| format!("{name}={}", escape(&line.to_string()))));
    }
    facts
}

fn read_fact(holding: &mut Holding, name: &str, value: &str) -> Option<()> {
    let applied = &mut holding.applied;
    // Only what says that a deletion is due makes one due.
    let deletion = holding.deletion.as_mut();
    match name {
        ID => applied.topic_id = Some(unescape(value)?),
        PARTITIONS => applied.partitions = Some(value.parse().ok()?),
        FACTOR => applied.replication_factor = Some(value.parse().ok()?),
        SHARE => applied.disk_share = Some(unescape(value)?.parse().ok()?),
        LEFT => holding.left = Some(read_extent(value)?),
        STEPPED => applied.stepped_at = Some(value.parse().ok()?),
        DELETION => {
            let force = value == FORCED;
            if !force && value != UNUSED {
                return None;
            }
            holding.deletion = Some(Deletion { force, ..Deletion::default() });
        }
        DELETION_ID => deletion?.topic_id = Some(unescape(value)?),
        CONSUMER => deletion?.consumers.push(unescape(value)?.parse().ok()?),
        PRODUCER => deletion?.producers.push(unescape(value)?.parse().ok()?),
        // A newer version's: it will find out anew.
        _ => {}
    }
    Some(())
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|entry| !entry.is_empty())
}

/// Letters, digits and a few marks stand for themselves; every other byte is `%` and two hexadecimal digits.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b".:_*~+-/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02x}"));
        }
    }
    text
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::Applied;

    #[test]
    fn a_line_of_which_nothing_is_known_to_be_applied_is_read() {
        let (topic, moved, holding) = read("orders shop retention.ms,segment.ms").unwrap();
        assert_eq!((topic.as_str(), moved, holding.namespace.as_str()), ("orders", 0, "shop"));
        assert_eq!(holding.keys.len(), 2);
        assert_eq!(holding.applied, Applied::default());
        assert!(read("orders shop ").is_some_and(|(.., holding)| holding.keys.is_empty()));
    }

    #[test]
    fn what_is_no_line_is_not_read() {
        for bad in [
            "",
            "orders",
            "orders shop",
            "orders  a",
            "a/b shop k",
            "orders shop k=%2",
            "orders shop k partitions=x",
            "orders shop k moved=-1",
            "orders shop k left=3",
            "orders shop k left=3/1/x",
            "orders shop k deletion=perhaps",
            "orders shop k deletion-id=x",
            "orders shop k deletion=unused,consumer=nobody",
        ] {
            assert!(read(bad).is_none(), "{bad:?} was read");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(
            namespace in "[a-z]{1,5}",
            keys in proptest::collection::btree_map("[a-z.]{1,9}", proptest::option::of(any::<String>()), 0..4),
            topic_id in proptest::option::of("[A-Za-z0-9_-]{22}"),
            partitions in proptest::option::of(1i32..),
            replication_factor in proptest::option::of(1i16..),
            deletion in proptest::option::of((
                any::<bool>(),
                proptest::option::of("[A-Za-z0-9_-]{22}"),
                proptest::collection::vec("[a-z*]{1,5}/[a-z.*]{1,5}", 0..3),
            )),
            (share, stepped_at, moved, left) in (
                proptest::option::of(1u32..=100),
                proptest::option::of(any::<i64>()),
                0u32..3,
                proptest::option::of((1i32.., 1i16.., proptest::option::of(any::<u64>()))),
            ),
        ) {
            let disk_share = share.map(|percent| format!("{percent}%").parse().unwrap());
            let applied = Applied { topic_id, partitions, replication_factor, disk_share, stepped_at, ..Applied::default() };
            let deletion = deletion.map(|(force, topic_id, lines)| {
                let lines: Vec<_> = lines.iter().map(|line| line.parse().unwrap()).collect();
                let producers = lines.iter().take(1).cloned().collect();
                Deletion { topic_id, force, consumers: lines, producers }
            });
            let left = left.map(|(partitions, replication_factor, retention_bytes)| Extent {
                partitions,
                replication_factor,
                retention_bytes,
            });
            let mut holding = Holding { namespace, applied, deletion, left, ..Holding::default() };
            for (key, value) in keys {
                if let Some(value) = value {
                    holding.applied.set(&key, &value);
                }
                holding.keys.insert(key);
            }
            let topic: TopicName = "orders".parse().unwrap();
            let line = write(&topic, moved, &holding);
            prop_assert_eq!(line.lines().count(), 1);
            prop_assert_eq!(read(line.trim_end_matches('\n')), Some((topic, moved, holding)));
        }
    }
}
