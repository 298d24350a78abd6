use thiserror::Error;

/// Why replicas have no place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlacementError {
    #[error(
        "replication factor {factor} takes {factor} brokers, and {usable} can hold a replica{}; {}",
        drained(*.draining),
        advice(*.usable)
    )]
    TooFewBrokers {
        factor: usize,
        /// Brokers that hold a replica already and keep it, or may take one.
        usable: usize,
        /// Brokers that may not, because they are being drained.
        draining: usize,
    },
    #[error("{partitions} partitions are more than can be placed at once, {most}; declare fewer")]
    TooManyPartitions { partitions: i32, most: i32 },
}

fn drained(draining: usize) -> String {
    if draining == 0 { String::new() } else { format!(" ({draining} being drained cannot)") }
}

fn advice(usable: usize) -> String {
    if usable == 0 {
        "add brokers, or end the draining of some".to_owned()
    } else {
        format!("declare {usable} at most, or add brokers")
    }
}
