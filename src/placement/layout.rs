use std::collections::BTreeMap;

/// One broker, and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerLayout {
    pub rack: Option<String>,
    /// All replicas are to leave it; it takes none.
    pub draining: bool,
    /// How many replicas it holds, of all topics.
    pub replicas: u64,
    /// How many partitions it is the preferred leader of.
    pub leaders: u64,
    /// What its replicas take on its disks, in bytes.
    pub bytes: u64,
    /// The size of its disks, in bytes. `None`: not known.
    pub disk_total: Option<u64>,
    /// What is free on them, in bytes.
    pub disk_usable: Option<u64>,
}

/// The brokers by id, and how much each holds. A broker that is not in it takes no replica and is in no rack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub brokers: BTreeMap<i32, BrokerLayout>,
}

impl Layout {
    /// Empty brokers, in their racks.
    pub fn new(brokers: impl IntoIterator<Item = (i32, Option<String>)>) -> Self {
        let with_rack = |(id, rack)| (id, BrokerLayout { rack, ..BrokerLayout::default() });
        Self { brokers: brokers.into_iter().map(with_rack).collect() }
    }

    /// Counts a partition in: its replicas, preferred leader first, of so many bytes each.
    pub fn hold(&mut self, replicas: &[i32], bytes: u64) {
        self.count(replicas, |broker, leads| {
            broker.replicas = broker.replicas.saturating_add(1);
            broker.leaders = broker.leaders.saturating_add(u64::from(leads));
            broker.bytes = broker.bytes.saturating_add(bytes);
        });
    }

    /// Counts a partition out, the opposite of [`Self::hold`].
    pub fn release(&mut self, replicas: &[i32], bytes: u64) {
        self.count(replicas, |broker, leads| {
            broker.replicas = broker.replicas.saturating_sub(1);
            broker.leaders = broker.leaders.saturating_sub(u64::from(leads));
            broker.bytes = broker.bytes.saturating_sub(bytes);
        });
    }

    fn count(&mut self, replicas: &[i32], change: impl Fn(&mut BrokerLayout, bool)) {
        for (position, id) in replicas.iter().enumerate() {
            if let Some(broker) = self.brokers.get_mut(id) {
                change(broker, position == 0);
            }
        }
    }
}
