//! Single stories about the rotation; `rotation_model.rs` looks at all interleavings.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy knows tests by their functions, not by their file
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use topicops_certs::{Bundle, Leaf, Policy, ServerName, Step, StoredAuthorities, begin, next};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// One replica, one webhook configuration, and the Secret.
struct World {
    now: Timestamp,
    policy: Policy,
    stored: Option<StoredAuthorities>,
    live: Vec<Bundle>,
    leaf: Option<Leaf>,
}

impl World {
    fn new() -> Self {
        Self {
            now: "2026-11-21T12:00:00Z".parse().unwrap(),
            policy: Policy::default(),
            stored: None,
            live: vec![Bundle::default()],
            leaf: None,
        }
    }

    fn next(&self) -> Step {
        next(self.stored.as_ref(), &self.live, self.leaf.as_ref(), self.now, &self.policy)
    }

    fn carry_out(&mut self, step: &Step) {
        match step {
            Step::PublishBundle(bundle) => self.live.fill(bundle.clone()),
            Step::IssueLeaf { validity } => {
                let names = [ServerName::try_from("topicops.kafka.svc").unwrap()];
                let authority = self.stored.as_ref().unwrap().current();
                self.leaf = Some(authority.issue(&names, *validity).unwrap());
            }
            Step::WaitForBundle { until: Some(until) } => self.now = *until,
            other => self.stored = StoredAuthorities::after(self.stored.as_ref(), other).unwrap(),
        }
    }

    /// Carries out steps until nothing is left to do now; their names.
    fn settle(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        while done.len() < 50 {
            let step = self.next();
            if matches!(step, Step::Nothing { .. } | Step::WaitForBundle { until: None }) {
                return done;
            }
            self.carry_out(&step);
            done.push(format!("{step:?}").split([' ', '(', '{']).next().unwrap().to_owned());
        }
        panic!("does not come to rest: {done:?}");
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn verified(&self) -> bool {
        self.live.iter().all(|bundle| bundle.verifies(self.leaf.as_ref().unwrap(), self.now))
    }
}

#[test]
fn the_first_start_publishes_before_it_serves() {
    let mut world = World::new();
    assert_eq!(world.settle(), ["CreateAuthority", "PublishBundle", "IssueLeaf"]);
    assert!(world.verified());
}

#[test]
fn without_a_webhook_configuration_nothing_is_served() {
    let mut world = World { live: Vec::new(), ..World::new() };
    assert_eq!(world.settle(), ["CreateAuthority"]);
    assert_eq!(world.next(), Step::WaitForBundle { until: None });
    world.live = vec![Bundle::default()];
    assert_eq!(world.settle(), ["PublishBundle", "IssueLeaf"]);
}

#[test]
fn a_rotation_takes_its_steps_in_order() {
    let mut world = World::new();
    world.settle();
    world.pass(59 * DAY);
    assert_eq!(world.settle(), ["IssueLeaf"]);
    world.pass(2 * DAY);
    assert_eq!(
        world.settle(),
        ["AddNextAuthority", "PublishBundle", "NoteTrusted", "WaitForBundle", "SwitchSigner", "IssueLeaf"]
    );
    assert!(world.verified());
    assert_eq!(world.live[0].certificates().len(), 2);
    world.pass(8 * DAY);
    assert_eq!(world.settle(), ["IssueLeaf", "RetireOld", "PublishBundle"]);
    assert!(world.verified());
    assert_eq!(world.live[0].certificates().len(), 1);
    assert_eq!(world.live[0].certificates()[0].generation(), Some(2));
}

#[test]
fn a_rotation_can_be_asked_for_and_only_one_runs_at_a_time() {
    let mut world = World::new();
    world.settle();
    let stored = world.stored.clone().unwrap();
    let step = begin(&stored, &world.live, world.now, &world.policy).unwrap();
    world.carry_out(&step);
    assert!(begin(world.stored.as_ref().unwrap(), &world.live, world.now, &world.policy).is_none());
    world.settle();
    assert!(world.verified());
    assert_eq!(world.stored.unwrap().current().certificate().generation(), Some(2));
}

#[test]
fn ten_rotations_in_a_row_do_not_let_the_bundle_grow_without_bound() {
    let mut world = World::new();
    world.settle();
    for _ in 0..10 {
        let stored = world.stored.clone().unwrap();
        if let Some(step) = begin(&stored, &world.live, world.now, &world.policy) {
            world.carry_out(&step);
        }
        world.settle();
        assert!(world.verified());
        assert!(world.live[0].certificates().len() <= 6);
    }
    world.pass(8 * DAY);
    world.settle();
    assert_eq!(world.live[0].certificates().len(), 1);
}

#[test]
fn a_deleted_secret_is_made_anew_while_the_old_leaf_stays_trusted() {
    let mut world = World::new();
    world.settle();
    let old = world.leaf.clone().unwrap();
    world.stored = None;
    let create = world.next();
    world.carry_out(&create);
    let publish = world.next();
    assert!(matches!(publish, Step::PublishBundle(_)), "{publish:?}");
    world.carry_out(&publish);
    assert!(world.live[0].verifies(&old, world.now), "the other replicas' leaf lost its trust");
    assert_eq!(world.settle(), ["IssueLeaf"]);
    assert!(world.verified());
    assert_eq!(world.stored.unwrap().current().certificate().generation(), Some(2));
}

#[test]
fn a_bundle_that_somebody_emptied_is_written_again() {
    let mut world = World::new();
    world.settle();
    world.live = vec![Bundle::default()];
    assert_eq!(world.settle(), ["PublishBundle"]);
    assert!(world.verified());
}

#[test]
fn an_old_view_of_the_secret_never_takes_a_newer_ca_out_of_the_bundle() {
    let mut world = World::new();
    world.settle();
    let old_view = world.stored.clone();
    world.pass(61 * DAY);
    world.settle();
    let leaf = world.leaf.clone().unwrap();
    world.stored = old_view;
    // Writing the Secret would fail, because it is not the one that was looked at; all else is carried out.
    for _ in 0..5 {
        let step = world.next();
        if matches!(StoredAuthorities::after(world.stored.as_ref(), &step), Ok(None)) {
            world.carry_out(&step);
        }
        assert!(world.live[0].verifies(&leaf, world.now), "after {step:?}");
    }
}

#[test]
fn a_year_asleep_ends_with_a_new_ca() {
    let mut world = World::new();
    world.settle();
    world.pass(365 * DAY);
    assert!(!world.verified());
    let steps = world.settle();
    assert!(world.verified(), "{steps:?}");
}

#[test]
fn a_ca_from_the_future_is_replaced() {
    let mut world = World::new();
    world.settle();
    world.pass(-30 * DAY);
    let steps = world.settle();
    assert!(world.verified(), "{steps:?}");
}

#[test]
fn an_hour_back_changes_nothing() {
    let mut world = World::new();
    world.settle();
    world.pass(-HOUR + 1);
    assert!(world.verified());
    assert!(world.settle().is_empty());
}

#[test]
fn near_the_end_of_a_ca_that_cannot_be_replaced_leaves_are_not_issued_over_and_over() {
    let mut world = World::new();
    world.settle();
    let end = world.stored.as_ref().unwrap().current().certificate().validity().not_after;
    let mut issued = 0;
    while world.now < end {
        if let step @ Step::IssueLeaf { .. } = world.next() {
            world.carry_out(&step);
            issued += 1;
        }
        world.pass(HOUR);
    }
    assert!((10..=25).contains(&issued), "{issued} leaves in 90 days");
}

#[test]
fn short_lives_for_demonstrations_work_too() {
    let second = Duration::from_secs(1);
    let policy = Policy::new(60 * second, 10 * second, second, second).unwrap();
    let mut world = World { policy, ..World::new() };
    world.settle();
    for _ in 0..600 {
        world.pass(1);
        world.settle();
        assert!(world.verified());
    }
    assert!(world.stored.unwrap().current().certificate().generation() > Some(10));
}
