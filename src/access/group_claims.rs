use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use jiff::Timestamp;
use topicops_contract::{ClientRequest, NamePattern, Workload};

use super::acls::streams_prefix;

/// Who holds which consumer group and transactional id, over all requests.
///
/// A workload's own range (its default group and all that begin with it and `_`) is always its own; of two kinds of
/// workload with one namespace and name the older has it. Other names belong to the namespace whose workload named them
/// first: older workloads first, then by namespace and name. A name that is refused holds nothing against others.
#[derive(Clone, Debug, Default)]
pub struct GroupClaims {
    /// Default group → its holder.
    own: BTreeMap<String, Claimant>,
    groups: Names,
    transactional_ids: Names,
}

/// A workload and since when it is there; the lesser comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claimant {
    created: Timestamp,
    namespace: String,
    name: String,
    workload: Workload,
}

impl Claimant {
    fn new(workload: &Workload, created: Timestamp) -> Self {
        Self {
            created,
            namespace: workload.namespace().to_owned(),
            name: workload.name().to_owned(),
            workload: workload.clone(),
        }
    }
}

impl GroupClaims {
    /// Claims of all requests, with the creation time of their workloads.
    pub fn of<'a>(requests: impl IntoIterator<Item = (&'a ClientRequest, Timestamp)>) -> Self {
        let mut ordered: Vec<(Claimant, &ClientRequest)> = requests
            .into_iter()
            .map(|(request, created)| (Claimant::new(&request.workload, created), request))
            .collect();
        ordered.sort_by(|(one, _), (two, _)| one.cmp(two));
        let mut claims = Self::default();
        for (claimant, request) in &ordered {
            claims.own.entry(request.workload.default_group()).or_insert_with(|| claimant.clone());
        }
        for (claimant, request) in ordered {
            let own_namespace = format!("{}.", request.workload.namespace());
            let streams = request
                .streams_application_id
                .as_ref()
                .filter(|application| application.starts_with(&own_namespace));
            let groups = request.groups.iter().cloned();
            for group in groups.chain(streams.map(|id| NamePattern::Literal(id.clone()))) {
                if claims.group_holder(&request.workload, claimant.created, &group).is_none() {
                    claims.groups.insert(group, claimant.clone());
                }
            }
            let ids = request.transactional_ids.iter().cloned();
            for id in ids.chain(streams.map(|id| NamePattern::Prefix(streams_prefix(id)))) {
                if claims.transactional_id_holder(&request.workload, claimant.created, &id).is_none() {
                    claims.transactional_ids.insert(id, claimant.clone());
                }
            }
        }
        claims
    }

    /// The other workload that has this workload's default group, if there is one.
    pub fn default_group_holder(&self, workload: &Workload, created: Timestamp) -> Option<&Workload> {
        let holder = self.own.get(&workload.default_group())?;
        (holder.workload != *workload && *holder < Claimant::new(workload, created))
            .then_some(&holder.workload)
    }

    /// Why `workload`, created then, may not have a group that it names: who has it, or some group of a prefix.
    pub fn group_holder(
        &self,
        workload: &Workload,
        created: Timestamp,
        group: &NamePattern,
    ) -> Option<&Workload> {
        let me = Claimant::new(workload, created);
        let own = self.own_ranges(group).find(|holder| {
            let twin = holder.workload.default_group() == workload.default_group();
            holder.workload != *workload && (!twin || **holder < me)
        });
        own.map(|holder| &holder.workload).or_else(|| self.groups.holder(&me, group))
    }

    /// Likewise for a transactional id.
    pub fn transactional_id_holder(
        &self,
        workload: &Workload,
        created: Timestamp,
        id: &NamePattern,
    ) -> Option<&Workload> {
        self.transactional_ids.holder(&Claimant::new(workload, created), id)
    }

    /// The holders of all own ranges that overlap a pattern.
    fn own_ranges<'c: 'p, 'p>(
        &'c self,
        pattern: &'p NamePattern,
    ) -> Box<dyn Iterator<Item = &'c Claimant> + 'p> {
        let text = pattern.text();
        // A range reaches beyond its default group only by an underscore, which no Kubernetes name holds.
        let around = text.match_indices('_').filter_map(move |(end, _)| self.own.get(&text[..end]));
        match pattern {
            NamePattern::Literal(name) => Box::new(around.chain(self.own.get(name))),
            NamePattern::Prefix(prefix) => Box::new(around.chain(beginning_with(&self.own, prefix))),
        }
    }
}

/// Names and prefixes that were given to somebody.
#[derive(Clone, Debug, Default)]
struct Names {
    literal: BTreeMap<String, BTreeSet<Claimant>>,
    prefixed: BTreeMap<String, BTreeSet<Claimant>>,
}

impl Names {
    fn insert(&mut self, pattern: NamePattern, claimant: Claimant) {
        let (names, text) = match pattern {
            NamePattern::Literal(text) => (&mut self.literal, text),
            NamePattern::Prefix(text) => (&mut self.prefixed, text),
        };
        names.entry(text).or_default().insert(claimant);
    }

    /// The first older claimant of another namespace whose claim overlaps the pattern.
    fn holder(&self, me: &Claimant, pattern: &NamePattern) -> Option<&Workload> {
        let text = pattern.text();
        let starts = text.char_indices().map(|(end, _)| &text[..end]).chain([text]);
        let covering = starts.filter_map(|start| self.prefixed.get(start));
        let found = match pattern {
            NamePattern::Literal(name) => first_of(covering.chain(self.literal.get(name)), me),
            NamePattern::Prefix(prefix) => {
                let inside =
                    beginning_with(&self.literal, prefix).chain(beginning_with(&self.prefixed, prefix));
                first_of(covering.chain(inside), me)
            }
        };
        found.map(|claimant| &claimant.workload)
    }
}

fn first_of<'a>(sets: impl Iterator<Item = &'a BTreeSet<Claimant>>, me: &Claimant) -> Option<&'a Claimant> {
    sets.filter_map(|set| {
        set.iter().take_while(|claimant| *claimant < me).find(|claimant| claimant.namespace != me.namespace)
    })
    .min()
}

fn beginning_with<'c: 'p, 'p, T>(
    map: &'c BTreeMap<String, T>,
    prefix: &'p str,
) -> impl Iterator<Item = &'c T> + 'p {
    map.range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(text, _)| text.starts_with(prefix))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use topicops_contract::WorkloadKind;

    use super::*;
    use crate::access::testing::{at, request, workload};

    fn holder(claims: &GroupClaims, who: &str, created: i64, group: &str) -> Option<String> {
        claims.group_holder(&workload(who), at(created), &NamePattern::read(group)).map(ToString::to_string)
    }

    #[test]
    fn another_workloads_own_range_is_refused_whoever_came_first() {
        let nosy = request("evil/nosy").group("shop.orders").group("shop.orders_*").group("shop.*");
        let orders = request("shop/orders");
        let claims = GroupClaims::of([(&*nosy, at(1)), (&*orders, at(2))]);
        for group in ["shop.orders", "shop.orders_x", "shop.orders_*", "shop.o*", "*", "shop.orders_x*"] {
            assert_eq!(
                holder(&claims, "evil/nosy", 1, group).as_deref(),
                Some("Deployment shop/orders"),
                "{group}"
            );
        }
        for group in ["shop.orders-x", "shop.ordersx*", "shop.order", "evil.nosy_*"] {
            assert_eq!(holder(&claims, "evil/nosy", 1, group), None, "{group}");
        }
        assert_eq!(holder(&claims, "shop/orders", 2, "shop.orders_x"), None);
    }

    #[test]
    fn who_named_a_group_first_keeps_it_against_other_namespaces_only() {
        let first = request("a/one").group("legacy*");
        let second = request("b/two").group("legacy-x");
        let sibling = request("a/three").group("legacy-x");
        let claims = GroupClaims::of([(&*second, at(5)), (&*first, at(1)), (&*sibling, at(9))]);
        assert_eq!(holder(&claims, "b/two", 5, "legacy-x").as_deref(), Some("Deployment a/one"));
        assert_eq!(holder(&claims, "a/one", 1, "legacy*"), None);
        assert_eq!(holder(&claims, "a/three", 9, "legacy-x"), None, "what was refused holds nothing");
    }

    #[test]
    fn workloads_of_equal_age_are_ordered_by_namespace_and_name() {
        let one = request("a/w").group("g");
        let two = request("b/a").group("g");
        let claims = GroupClaims::of([(&*two, at(1)), (&*one, at(1))]);
        assert_eq!(holder(&claims, "b/a", 1, "g").as_deref(), Some("Deployment a/w"));
        assert_eq!(holder(&claims, "a/w", 1, "g"), None);
    }

    #[test]
    fn of_two_kinds_with_one_name_the_older_has_the_default_group() {
        let old = request("shop/orders");
        let mut young = request("shop/orders");
        young.workload = Workload::new("shop", WorkloadKind::Job, "orders");
        let claims = GroupClaims::of([(&*young, at(2)), (&*old, at(1))]);
        assert_eq!(claims.default_group_holder(&young.workload, at(2)), Some(&old.workload));
        assert_eq!(claims.default_group_holder(&old.workload, at(1)), None);
        let group = NamePattern::read("shop.orders_x");
        assert_eq!(claims.group_holder(&young.workload, at(2), &group), Some(&old.workload));
        assert_eq!(claims.group_holder(&old.workload, at(1), &group), None);
    }

    #[test]
    fn a_streams_application_claims_its_transactional_prefix() {
        let streams = request("shop/s").streams("shop.app");
        let claims = GroupClaims::of([(&*streams, at(1))]);
        let id = NamePattern::read("shop.app-1");
        let nosy = workload("evil/nosy");
        assert_eq!(claims.transactional_id_holder(&nosy, at(2), &id), Some(&streams.workload));
        assert_eq!(holder(&claims, "evil/nosy", 2, "shop.app").as_deref(), Some("Deployment shop/s"));
    }

    proptest! {
        #[test]
        fn nobody_of_another_namespace_shares_a_granted_name(
            asked in proptest::collection::vec(("[abc]", "[ab]", 0i64..4, "[ab]{1,3}\\*?"), 1..12),
        ) {
            let mut requests = BTreeMap::new();
            for (namespace, name, created, id) in &asked {
                let (request, _) = requests
                    .entry(format!("{namespace}/{name}"))
                    .or_insert_with(|| (request(&format!("{namespace}/{name}")), *created));
                request.transactional_ids.insert(NamePattern::read(id));
            }
            let claims = GroupClaims::of(requests.values().map(|(request, created)| (&**request, at(*created))));
            let mut granted: Vec<(&Workload, &NamePattern)> = Vec::new();
            for (request, created) in requests.values() {
                for id in &request.transactional_ids {
                    if claims.transactional_id_holder(&request.workload, at(*created), id).is_none() {
                        granted.push((&request.workload, id));
                    }
                }
            }
            prop_assert!(!granted.is_empty(), "the oldest gets what it asks for");
            for (one, id) in &granted {
                for (two, other) in &granted {
                    prop_assert!(one.namespace() == two.namespace() || !id.overlaps(other), "{one} {id}, {two} {other}");
                }
            }
        }
    }
}
