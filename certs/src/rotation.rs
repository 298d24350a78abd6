//! The order of things, as a pure function.
//!
//! # Flow
//! create → publish → issue · and, when two thirds of the CA's life are over: add next → publish both → note that both are
//! live → wait for the propagation → switch → every replica issues → the last old leaf expires → retire → publish without.
//!
//! # Guarantee
//! No replica begins to serve a leaf whose CA is not in every live bundle, and no CA leaves a bundle while a leaf that it
//! signed is valid.
//!
//! # What it rests on
//! - The Secret is written on condition of its `resourceVersion`, each webhook configuration on condition of its own. Views
//!   may be old otherwise: a CA in the live bundle that the viewed Secret does not know is kept when its generation is
//!   higher than any known one.
//! - Clocks of replicas are at most `clock_skew` apart, and a leaf is issued from a view of the Secret that is at most as old.
//!   Time may leap (suspended or migrated machines). A clock that is further off ends trust early or late by as much; the
//!   replicas concerned see it at their next look and issue anew.
//! - A new CA is known by two names: its certificate, and its generation, which only grows.
use jiff::Timestamp;

use crate::{
    Bundle, CaCertificate, Leaf, Policy, Step, StoredAuthorities, Validity,
    validity::{earlier, later},
};

/// Old CAs kept at most. Only a clock gone mad or an impatient administrator gets there; rotation waits then, instead of
/// letting `caBundle` grow without bound.
const MAX_PREVIOUS: usize = 4;

/// Decides one step from what is seen: the Secret (`None`: there is none), the bundle of each webhook of each configuration
/// that is ours to keep (an unreadable one counts as empty), and the leaf that this replica serves.
///
/// Ask again after each step, at each change of Secret or configurations, at the time named by [`Step::Nothing`], and at
/// least once a minute, because wall clocks leap.
pub fn next(
    stored: Option<&StoredAuthorities>,
    live_bundles: &[Bundle],
    my_leaf: Option<&Leaf>,
    now: Timestamp,
    policy: &Policy,
) -> Step {
    let Some(stored) = stored else { return create(live_bundles, now, policy) };
    let current = stored.current.certificate();
    let trusted = |ca: &CaCertificate| {
        !live_bundles.is_empty() && live_bundles.iter().all(|bundle| bundle.contains(ca))
    };

    if trusted(current)
        && let Some(validity) = due_leaf(current, my_leaf, now, policy)
    {
        return Step::IssueLeaf { validity };
    }
    let wanted = wanted(stored, live_bundles, now, policy);
    if live_bundles.iter().any(|bundle| *bundle != wanted) {
        return Step::PublishBundle(wanted);
    }
    if live_bundles.is_empty() {
        return Step::WaitForBundle { until: None };
    }
    let retire_at = stored.previous_until.filter(|_| !stored.previous.is_empty());
    if retire_at.is_some_and(|until| until < now) {
        return Step::RetireOld;
    }
    if let Some(next) = &stored.next
        && next.certificate().validity().contains(now)
    {
        return hand_over(stored, now, policy);
    }
    if due(current, now, policy) && stored.previous.len() < MAX_PREVIOUS {
        return add_next(stored, live_bundles, now, policy);
    }
    let until =
        [Some(ca_renewal(current, policy)), my_leaf.map(|leaf| leaf_renewal(leaf, policy)), retire_at];
    // What is overdue and cannot be done now is no reason to come back at once.
    let soonest = until.into_iter().flatten().filter(|until| *until > now).min();
    Step::Nothing { until: soonest.unwrap_or_else(|| later(now, policy.propagation)) }
}

/// The step that begins a rotation before its time; `None` while one is under way.
pub fn begin(
    stored: &StoredAuthorities,
    live_bundles: &[Bundle],
    now: Timestamp,
    policy: &Policy,
) -> Option<Step> {
    let free = stored.next.is_none() && stored.previous.len() < MAX_PREVIOUS;
    free.then(|| add_next(stored, live_bundles, now, policy))
}

fn create(live_bundles: &[Bundle], now: Timestamp, policy: &Policy) -> Step {
    let live: Bundle = live_bundles
        .iter()
        .flat_map(Bundle::certificates)
        .filter(|ca| alive(ca, now, policy))
        .cloned()
        .collect();
    let mut previous = live.certificates().to_vec();
    // The newest are the likeliest to be in use.
    previous.sort_by_key(|ca| std::cmp::Reverse(ca.generation()));
    previous.truncate(MAX_PREVIOUS);
    Step::CreateAuthority {
        generation: highest(live_bundles).map_or(1, |highest| highest.saturating_add(1)),
        validity: authority_validity(now, policy),
        previous_until: (!previous.is_empty()).then(|| last_leaf_expired(now, policy)),
        previous,
    }
}

fn add_next(stored: &StoredAuthorities, live_bundles: &[Bundle], now: Timestamp, policy: &Policy) -> Step {
    let known = [stored.bundle()];
    let highest = highest(live_bundles).max(highest(&known)).unwrap_or(0);
    Step::AddNextAuthority {
        generation: highest.saturating_add(1),
        validity: authority_validity(now, policy),
    }
}

/// The next CA is live everywhere: note it, let it settle, switch.
fn hand_over(stored: &StoredAuthorities, now: Timestamp, policy: &Policy) -> Step {
    let Some(since) = stored.next_trusted_since else { return Step::NoteTrusted { at: now } };
    let settled = later(since, policy.propagation);
    // A note from the future was made by a clock that is wrong: begin again, or the switch might never come.
    if since > later(now, policy.clock_skew) {
        Step::NoteTrusted { at: now }
    } else if now < settled {
        Step::WaitForBundle { until: Some(settled) }
    } else {
        Step::SwitchSigner { previous_until: last_leaf_expired(now, policy) }
    }
}

/// What every webhook has to trust: all that the Secret names, and whatever is newer than anything in this view of it.
fn wanted(stored: &StoredAuthorities, live_bundles: &[Bundle], now: Timestamp, policy: &Policy) -> Bundle {
    let mut wanted = stored.bundle();
    let known = highest(&[wanted.clone()]);
    for ca in live_bundles.iter().flat_map(Bundle::certificates) {
        if ca.generation().is_some() && ca.generation() > known && alive(ca, now, policy) {
            wanted.push(ca.clone());
        }
    }
    wanted
}

/// The period of a leaf to issue now, when one is due and the CA can sign it.
fn due_leaf(ca: &CaCertificate, my_leaf: Option<&Leaf>, now: Timestamp, policy: &Policy) -> Option<Validity> {
    if !ca.validity().contains(now) {
        return None;
    }
    let fresh = Validity {
        not_before: earlier(now, policy.clock_skew),
        not_after: later(now, policy.leaf_lifetime).min(ca.validity().not_after),
    };
    let due = match my_leaf {
        None => true,
        Some(leaf) if !leaf.issued_by(ca) => true,
        Some(leaf) if now < leaf.validity().not_before => true,
        // Near the CA's end a new leaf would last no longer than the one there is.
        Some(leaf) => {
            now >= leaf_renewal(leaf, policy)
                && fresh.not_after.as_second() > leaf.validity().not_after.as_second()
        }
    };
    (due && fresh.not_after > now).then_some(fresh)
}

/// Also when it does not hold yet: a replica whose clock ran ahead made it, and the API server will not accept it.
fn due(ca: &CaCertificate, now: Timestamp, policy: &Policy) -> bool {
    now < ca.validity().not_before || now >= ca_renewal(ca, policy)
}

/// Counted from the end, because the beginning is dated back.
fn ca_renewal(ca: &CaCertificate, policy: &Policy) -> Timestamp {
    earlier(ca.validity().not_after, policy.authority_lifetime / 3)
}

/// See [`ca_renewal`].
fn leaf_renewal(leaf: &Leaf, policy: &Policy) -> Timestamp {
    earlier(leaf.validity().not_after, policy.leaf_lifetime / 3)
}

fn alive(ca: &CaCertificate, now: Timestamp, policy: &Policy) -> bool {
    now <= later(ca.validity().not_after, policy.clock_skew)
}

fn authority_validity(now: Timestamp, policy: &Policy) -> Validity {
    Validity { not_before: earlier(now, policy.clock_skew), not_after: later(now, policy.authority_lifetime) }
}

/// Thrice the skew: the replica that signed last may be ahead by one, its view of the Secret old by one, and the API server
/// behind whoever retires the CA by one.
fn last_leaf_expired(now: Timestamp, policy: &Policy) -> Timestamp {
    later(now, policy.leaf_lifetime + 3 * policy.clock_skew)
}

fn highest(bundles: &[Bundle]) -> Option<u64> {
    bundles.iter().flat_map(Bundle::certificates).filter_map(CaCertificate::generation).max()
}
