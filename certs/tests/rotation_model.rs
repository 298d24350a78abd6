//! All interleavings: several replicas with clocks of their own and old views of the world decide, are interrupted, carry out
//! late, and crash. Secret and webhook configurations are written by compare-and-swap, as at the API server.
#![allow(clippy::unwrap_used)] // clippy knows tests by their functions, not by their file
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use topicops_certs::{Bundle, Leaf, Policy, ServerName, Step, StoredAuthorities, begin, next};

const REPLICAS: usize = 3;
const CONFIGURATIONS: usize = 2;
/// The skew of the default policy, in seconds.
const SKEW: i64 = 3600;

type Data = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Event {
    /// Time passes for everybody, from seconds to more than the life of a CA.
    Pass(i64),
    /// A replica's watch brings it up to date about the Secret, or about one configuration.
    SeeSecret(usize),
    SeeConfiguration(usize, usize),
    Decide(usize),
    /// An administrator asks this replica for a rotation.
    Begin(usize),
    /// What was decided is carried out, perhaps much later.
    CarryOut(usize),
    Crash(usize),
    /// A replica that is up to date decides and acts at once.
    AllUpToDate(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let replica = 0..REPLICAS;
    prop_oneof![
        6 => prop_oneof![
            8 => 1_i64..120,
            4 => 3600_i64..200_000,
            1 => 200_000_i64..3_000_000,
            1 => Just(100 * 86_400_i64),
        ].prop_map(Event::Pass),
        3 => replica.clone().prop_map(Event::SeeSecret),
        3 => (replica.clone(), 0..CONFIGURATIONS).prop_map(|(replica, at)| Event::SeeConfiguration(replica, at)),
        6 => replica.clone().prop_map(Event::Decide),
        2 => replica.clone().prop_map(Event::Begin),
        6 => replica.clone().prop_map(Event::CarryOut),
        1 => replica.clone().prop_map(Event::Crash),
        8 => replica.prop_map(Event::AllUpToDate),
    ]
}

struct Replica {
    /// Ahead of true time by so many seconds; two replicas differ by no more than the skew.
    ahead: i64,
    secret: usize,
    configurations: [usize; CONFIGURATIONS],
    /// When this view of the Secret was last known to be the newest.
    fresh_at: Timestamp,
    /// A step with the versions that it was decided on.
    pending: Option<(Step, usize, [usize; CONFIGURATIONS])>,
    leaf: Option<Leaf>,
}

struct World {
    now: Timestamp,
    policy: Policy,
    /// All versions ever, the last one is the truth.
    secrets: Vec<Data>,
    configurations: [Vec<Bundle>; CONFIGURATIONS],
    replicas: Vec<Replica>,
}

impl World {
    fn new(ahead: &[i64]) -> Self {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let replica = |ahead: &i64| Replica {
            ahead: *ahead,
            secret: 0,
            configurations: [0; CONFIGURATIONS],
            fresh_at: now,
            pending: None,
            leaf: None,
        };
        Self {
            now,
            policy: Policy::default(),
            secrets: vec![Data::new()],
            configurations: std::array::from_fn(|_| vec![Bundle::default()]),
            replicas: ahead.iter().map(replica).collect(),
        }
    }

    fn see_secret(&mut self, replica: usize) {
        let newest = self.secrets.len() - 1;
        let replica = &mut self.replicas[replica];
        replica.secret = newest;
        replica.fresh_at = self.now;
    }

    fn see_configuration(&mut self, replica: usize, at: usize) {
        self.replicas[replica].configurations[at] = self.configurations[at].len() - 1;
    }

    fn decide(&mut self, index: usize, rotate: bool) {
        // The caller's duty: no decision on a view of the Secret older than the skew.
        if self.replicas[index].secret + 1 == self.secrets.len() {
            self.replicas[index].fresh_at = self.now;
        } else if self.now.duration_since(self.replicas[index].fresh_at).as_secs() >= SKEW {
            self.see_secret(index);
        }
        let replica = &self.replicas[index];
        let stored = StoredAuthorities::read(&self.secrets[replica.secret]).unwrap();
        let live: Vec<_> = (0..CONFIGURATIONS)
            .map(|at| self.configurations[at][replica.configurations[at]].clone())
            .collect();
        let clock = self.now + SignedDuration::from_secs(replica.ahead);
        let asked = stored.as_ref().filter(|_| rotate);
        let step = asked
            .and_then(|stored| begin(stored, &live, clock, &self.policy))
            .unwrap_or_else(|| next(stored.as_ref(), &live, replica.leaf.as_ref(), clock, &self.policy));
        self.replicas[index].pending = Some((step, replica.secret, replica.configurations));
    }

    fn carry_out(&mut self, index: usize) {
        let Some((step, secret, configurations)) = self.replicas[index].pending.take() else { return };
        let stored = StoredAuthorities::read(&self.secrets[secret]).unwrap();
        match &step {
            Step::PublishBundle(bundle) => {
                for (at, seen) in configurations.into_iter().enumerate() {
                    if seen + 1 == self.configurations[at].len() && self.configurations[at][seen] != *bundle {
                        self.configurations[at].push(bundle.clone());
                    }
                }
            }
            Step::IssueLeaf { validity } => {
                let names = [ServerName::try_from("topicops.kafka.svc").unwrap()];
                let leaf = stored.as_ref().unwrap().current().issue(&names, *validity).unwrap();
                self.replicas[index].leaf = Some(leaf);
            }
            other => {
                let after = StoredAuthorities::after(stored.as_ref(), other).unwrap();
                if let Some(after) = after.filter(|_| secret + 1 == self.secrets.len()) {
                    self.secrets.push(after.to_data().unwrap());
                }
            }
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Pass(seconds) => {
                for replica in &mut self.replicas {
                    if replica.secret + 1 == self.secrets.len() {
                        replica.fresh_at = self.now;
                    }
                }
                self.now += SignedDuration::from_secs(seconds);
            }
            Event::SeeSecret(replica) => self.see_secret(replica),
            Event::SeeConfiguration(replica, at) => self.see_configuration(replica, at),
            Event::Decide(replica) => self.decide(replica, false),
            Event::Begin(replica) => self.decide(replica, true),
            Event::CarryOut(replica) => self.carry_out(replica),
            Event::Crash(replica) => {
                self.replicas[replica].pending = None;
                self.replicas[replica].leaf = None;
            }
            Event::AllUpToDate(replica) => self.turn(replica),
        }
    }

    /// A replica that is up to date decides and acts at once.
    fn turn(&mut self, replica: usize) {
        self.see_secret(replica);
        for at in 0..CONFIGURATIONS {
            self.see_configuration(replica, at);
        }
        self.decide(replica, false);
        self.carry_out(replica);
    }

    /// No served leaf that an API server still takes for valid lacks its CA in any live bundle.
    fn check(&self) -> Result<(), TestCaseError> {
        for (index, replica) in self.replicas.iter().enumerate() {
            let Some(leaf) = &replica.leaf else { continue };
            // The API server's clock may be as far off as anybody's; the leaf counts until it has expired for all.
            for api_server in [-SKEW / 2, 0, SKEW / 2] {
                let clock = self.now + SignedDuration::from_secs(api_server);
                if !leaf.validity().contains(clock) {
                    continue;
                }
                for versions in &self.configurations {
                    let live = versions.last().unwrap();
                    prop_assert!(
                        live.verifies(leaf, clock),
                        "replica {index} serves {leaf:?}, live is {live:?}"
                    );
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_serves_a_leaf_that_a_live_bundle_does_not_verify(
        ahead in prop::collection::vec(-SKEW / 2..=SKEW / 2, REPLICAS),
        events in prop::collection::vec(event(), 1..300),
    ) {
        let mut world = World::new(&ahead);
        for event in &events {
            world.happen(event);
            if !matches!(event, Event::SeeSecret(_) | Event::SeeConfiguration(..) | Event::Decide(_)) {
                world.check()?;
            }
        }
    }

    #[test]
    fn whatever_happened_all_replicas_come_to_serve_a_verified_leaf_and_one_ca_remains(
        ahead in prop::collection::vec(-SKEW / 2..=SKEW / 2, REPLICAS),
        events in prop::collection::vec(event(), 1..80),
    ) {
        let mut world = World::new(&ahead);
        for event in &events {
            world.happen(event);
        }
        // Long enough for a hand-over that may be under way, short enough for no other to become due after it.
        for pause in [0, 120, 120, 0, 9 * 86_400] {
            world.now += SignedDuration::from_secs(pause);
            for _ in 0..12 {
                (0..REPLICAS).for_each(|replica| world.turn(replica));
            }
        }
        for replica in &world.replicas {
            let leaf = replica.leaf.as_ref().unwrap();
            for versions in &world.configurations {
                prop_assert!(versions.last().unwrap().verifies(leaf, world.now));
            }
        }
        let stored = StoredAuthorities::read(world.secrets.last().unwrap()).unwrap().unwrap();
        prop_assert!(stored.bundle().certificates().len() <= 2, "{stored:?}");
    }
}
