use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    moves::{duration, size},
    placement::{Rebalance, ReplicaMove},
};

/// What a rebalance would move, what each broker would hold, and how long it would take; under the throttle `assumed` when
/// none is asked for.
pub(super) fn table(plan: &Rebalance, throttle: Option<u64>, assumed: u64) -> String {
    if plan.moves.is_empty() {
        return "nothing to move\n".to_owned();
    }
    let brokers = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let mut rows = vec![["PARTITION", "FROM", "TO", "TO COPY"].map(str::to_owned).to_vec()];
    rows.extend(plan.moves.iter().map(|one| {
        let name = format!("{}-{}", one.topic, one.partition);
        vec![name, brokers(&one.from), brokers(&one.to), size(one.bytes_to_copy())]
    }));
    let mut text = aligned(&rows);

    let heads = ["BROKER", "REPLICAS", "AT MOST", "LEADERS", "BYTES", "AT MOST"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(plan.brokers.iter().map(|(id, one)| {
        vec![
            id.to_string(),
            format!("{} to {}", one.before.replicas, one.after.replicas),
            one.most.replicas.to_string(),
            format!("{} to {}", one.before.leaders, one.after.leaders),
            format!("{} to {}", size(one.before.bytes), size(one.after.bytes)),
            size(one.most.bytes),
        ]
    }));
    text.push('\n');
    text.push_str(&aligned(&rows));

    let _ = write!(text, "\n{} partitions, {} to copy", plan.moves.len(), size(plan.bytes_to_copy()));
    let rate = throttle.unwrap_or(assumed);
    if rate > 0 {
        let seconds = busiest(&plan.moves).div_ceil(rate);
        let _ = write!(text, ", {} at least under a throttle of {}/s", duration(seconds), size(rate));
        if throttle.is_none() {
            text.push_str(" (the default of --move-throttle; topicops may run with another)");
        }
    }
    text.push('\n');
    text
}

/// Bytes that pass through the broker that has the most to copy or to be copied from.
fn busiest(moves: &[ReplicaMove]) -> u64 {
    let (mut into, mut out_of): (BTreeMap<i32, u64>, BTreeMap<i32, u64>) = Default::default();
    for one in moves {
        one.adding().for_each(|broker| *into.entry(broker).or_default() += one.bytes);
        if let Some(leader) = one.from.first() {
            *out_of.entry(*leader).or_default() += one.bytes_to_copy();
        }
    }
    into.into_values().chain(out_of.into_values()).max().unwrap_or(0)
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_moves_brokers_and_the_time_of_the_busiest_broker() {
        let one = |partition, from: &[i32], to: &[i32]| ReplicaMove {
            topic: "orders".parse().unwrap(),
            partition,
            from: from.to_vec(),
            to: to.to_vec(),
            bytes: 600_000_000,
        };
        let plan = Rebalance {
            moves: vec![one(0, &[1, 2], &[1, 3]), one(1, &[2, 1], &[3, 1])],
            ..Rebalance::default()
        };
        let text = table(&plan, Some(10_000_000), 1);
        assert!(!text.contains("--move-throttle"), "{text}");
        assert!(text.contains("orders-0   1,2   1,3  572.2 MiB"), "{text}");
        assert!(text.contains("2 partitions, 1.1 GiB to copy, 2 min at least"), "{text}");
        let assumed = table(&plan, None, 50_000_000);
        assert!(
            assumed.contains("24 s at least under a throttle of 47.7 MiB/s (the default of --move-throttle"),
            "{assumed}"
        );
        assert!(!table(&plan, Some(0), 50_000_000).contains("at least under"), "as fast as it can");
        assert_eq!(table(&Rebalance::default(), None, 1), "nothing to move\n");
    }
}
