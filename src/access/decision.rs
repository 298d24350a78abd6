use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use topicops_contract::{ClientRequest, OperatorId, RotationWish};

use super::{
    Client, Desired, DesiredSecret, Finding, Granted, GrantsMode, GroupClaims, Lineage, Observed,
    RotationRules, quotas::quotas, resolve, still_granted,
};
use crate::{
    ObjectKey, Reason,
    kafka::{Acl, Quota},
    topic::{TopicGrants, TopicPolicy},
};

/// What is decided about one client: what it is to have, and why not more.
#[derive(Clone, Debug)]
pub struct Decision {
    pub client: Arc<Client>,
    pub granted: Granted,
    pub desired: Desired,
    /// The same for each of its users.
    pub findings: Vec<Finding>,
    pub lineage: Lineage,
}

impl Borrow<Desired> for Decision {
    fn borrow(&self) -> &Desired {
        &self.desired
    }
}

impl Decision {
    /// Decides about all clients at once, by user name; while the Pods of a workload change over to new credentials, there is
    /// one for each of its users. A workload that asks for nothing is in no decision: what it had goes.
    ///
    /// A workload whose annotations cannot be read, one that is going away, and one whose Secret's name another workload
    /// has, keep what they have of the observed rules as far as the topics' owners still grant it, and their quotas.
    pub fn all(
        clients: &[Arc<Client>],
        operator: &OperatorId,
        grants: &TopicGrants,
        mode: GrantsMode,
        policy: &TopicPolicy,
        observed: &Observed,
        rotation: &RotationRules,
    ) -> BTreeMap<String, Self> {
        let claims = Self::claims(clients);
        let holders = secret_holders(clients);
        let mut kept: BTreeMap<&str, Vec<&Acl>> = BTreeMap::new();
        for acl in &observed.acls {
            kept.entry(&acl.username).or_default().push(acl);
        }
        let mut limited: BTreeMap<&str, BTreeSet<Quota>> = BTreeMap::new();
        for quota in &observed.quotas {
            limited.entry(&quota.target.username).or_default().insert(quota.clone());
        }
        let mut lineages = Lineage::all(clients, operator, observed, rotation);
        let mut decisions = BTreeMap::new();
        for client in clients {
            let Some(lineage) = lineages.remove(&client.workload) else { continue };
            let username = lineage.current.clone();
            let kept_of = |username: &str| -> Desired {
                let mine = kept.get(username).into_iter().flatten();
                let acls = mine.filter(|acl| still_granted(acl, &client.workload, grants, mode));
                let quotas = limited.get(username).cloned().unwrap_or_default();
                Desired { acls: acls.map(|acl| (*acl).clone()).collect(), quotas, secret: None }
            };
            let keep = |findings: Vec<Finding>| Self {
                client: Arc::clone(client),
                granted: Granted::default(),
                desired: kept_of(&username),
                findings,
                lineage: lineage.clone(),
            };
            let decision = match &client.request {
                Ok(None) => continue,
                Err(problems) => keep(vec![Finding::new(Reason::InvalidAnnotations, problems.to_string())]),
                Ok(Some(_)) if client.deleting => keep(Vec::new()),
                Ok(Some(request)) => match other_holder(request, client, &holders) {
                    Some(finding) => keep(vec![finding]),
                    None => {
                        let mut resolution = resolve(request, client.created, grants, &claims, mode);
                        let quotas = limits(
                            request,
                            &username,
                            policy,
                            limited.get(username.as_str()),
                            &mut resolution.findings,
                        );
                        let secret = DesiredSecret {
                            key: secret_key(request),
                            owner_uid: client.uid.clone(),
                            replaces: lineage.previous.clone().filter(|_| lineage.begins),
                            previous: lineage.previous.clone(),
                        };
                        let acls = resolution.granted.acls(&username);
                        Self {
                            client: Arc::clone(client),
                            granted: resolution.granted,
                            desired: Desired { acls, quotas, secret: Some(secret) },
                            findings: resolution.findings,
                            lineage: lineage.clone(),
                        }
                    }
                },
            };
            if let Some(previous) = &lineage.previous {
                let desired = match asked(client).filter(|_| decision.desired.secret.is_some()) {
                    Some(request) => {
                        let acls = decision.granted.acls(previous);
                        let observed = limited.get(previous.as_str());
                        // What is to be said of them was said of the user after him.
                        let quotas = limits(request, previous, policy, observed, &mut Vec::new());
                        Desired { acls, quotas, secret: None }
                    }
                    None => kept_of(previous),
                };
                decisions.insert(previous.clone(), Self { desired, ..decision.clone() });
            }
            decisions.insert(username, decision);
        }
        decisions
    }

    /// What the workload says of when its credentials are to be made anew; `None` where that cannot be read.
    pub fn wish(&self) -> Option<&RotationWish> {
        asked(&self.client).map(|request| &request.rotation)
    }

    /// Whether it is about the user that the workload has or is to have, and not about the one before.
    pub fn is_current(&self, username: &str) -> bool {
        self.lineage.current == username
    }

    /// Who holds which group and transactional id among these.
    pub fn claims(clients: &[Arc<Client>]) -> GroupClaims {
        GroupClaims::of(clients.iter().filter_map(|client| Some((asked(client)?, client.created))))
    }
}

/// The quotas that the policy lets a workload have. While no policy is known, what is set stays.
fn limits(
    request: &ClientRequest,
    username: &str,
    policy: &TopicPolicy,
    observed: Option<&BTreeSet<Quota>>,
    findings: &mut Vec<Finding>,
) -> BTreeSet<Quota> {
    if policy.unread {
        let mut kept = observed.cloned().unwrap_or_default();
        for quota in quotas(&request.quotas, username) {
            if kept.iter().all(|kept| kept.target != quota.target) {
                kept.insert(quota);
            }
        }
        return kept;
    }
    let judgement = policy.rules.of(request.workload.namespace()).judge_quotas(&request.quotas);
    findings.extend(judgement.refused.iter().map(|(problem, instead)| {
        Finding::new(Reason::QuotaRefused, format!("{problem}; {instead} counts until it is changed"))
    }));
    findings.extend(judgement.notices().map(|notice| Finding::new(Reason::QuotaOutOfBounds, notice)));
    quotas(&judgement.quotas, username)
}

fn asked(client: &Client) -> Option<&ClientRequest> {
    client.request.as_ref().ok().and_then(Option::as_deref)
}

fn secret_key(request: &ClientRequest) -> ObjectKey {
    ObjectKey::new(request.workload.namespace(), &request.secret_name)
}

/// Each Secret's name belongs to the oldest workload that names it.
fn secret_holders(clients: &[Arc<Client>]) -> BTreeMap<ObjectKey, &Client> {
    let mut holders: BTreeMap<ObjectKey, &Client> = BTreeMap::new();
    for client in clients {
        let Some(request) = asked(client) else { continue };
        holders
            .entry(secret_key(request))
            .and_modify(|holder| {
                if (client.created, &client.workload) < (holder.created, &holder.workload) {
                    *holder = client;
                }
            })
            .or_insert(client);
    }
    holders
}

fn other_holder(
    request: &ClientRequest,
    client: &Client,
    holders: &BTreeMap<ObjectKey, &Client>,
) -> Option<Finding> {
    let key = secret_key(request);
    let holder = holders.get(&key).filter(|holder| holder.workload != client.workload)?;
    let message = format!(
        "Secret {key} belongs to {}, which is older; choose another name with topic.kafka.nb/topic-secret",
        holder.workload
    );
    Some(Finding::new(Reason::SecretShared, message))
}

#[cfg(test)]
mod tests {
    use topicops_contract::{Problem, Problems, Workload, WorkloadKind};

    use super::*;
    use crate::{
        access::testing::{Asking, at, grants, request},
        topic::limits::TopicRules,
    };

    fn client(asking: &Asking, created: i64) -> Client {
        Client {
            workload: asking.workload.clone(),
            uid: format!("uid-{created}"),
            created: at(created),
            deleting: false,
            request: Ok(Some(Arc::new((**asking).clone()))),
        }
    }

    fn decide(
        clients: Vec<Client>,
        grants: &TopicGrants,
        acls: &BTreeSet<Acl>,
    ) -> BTreeMap<String, Decision> {
        let clients: Vec<_> = clients.into_iter().map(Arc::new).collect();
        let observed = Observed { acls: acls.clone(), ..Observed::default() };
        let (operator, rules) = (OperatorId::default(), RotationRules::default());
        let policy = TopicPolicy::default();
        Decision::all(&clients, &operator, grants, GrantsMode::Namespace, &policy, &observed, &rules)
    }

    #[test]
    fn unreadable_annotations_change_nothing_but_what_owners_withdrew() {
        let granted = grants(&[("shop/orders", &[]), ("billing/payments", &["shop/w"])]);
        let asking = request("shop/w").consume("orders").consume("payments");
        let readable = decide(vec![client(&asking, 1)], &granted, &BTreeSet::new());
        let acls = readable["topicops.shop.w"].desired.acls.clone();
        let problems = Problems::from(Problem::new("topic.kafka.nb/inject", "file", "files"));
        let broken = Client { request: Err(Arc::new(problems)), ..client(&asking, 1) };
        let kept = decide(vec![broken.clone()], &granted, &acls);
        assert_eq!(kept["topicops.shop.w"].desired, Desired { acls: acls.clone(), ..Desired::default() });
        assert_eq!(kept["topicops.shop.w"].findings[0].reason, "InvalidAnnotations");
        let withdrawn = grants(&[("shop/orders", &[]), ("billing/payments", &[])]);
        let left = decide(vec![broken], &withdrawn, &acls);
        assert!(left["topicops.shop.w"].desired.acls.iter().all(|acl| acl.resource.name != "payments"));
        assert!(left["topicops.shop.w"].desired.acls.iter().any(|acl| acl.resource.name == "orders"));
    }

    #[test]
    fn of_two_workloads_that_name_one_secret_the_older_has_it() {
        let grants = grants(&[("shop/orders", &[])]);
        let old = request("shop/orders").produce("orders");
        let mut young = old.clone();
        young.workload = Workload::new("shop", WorkloadKind::Job, "orders");
        let decisions = decide(vec![client(&young, 2), client(&old, 1)], &grants, &BTreeSet::new());
        assert!(decisions["topicops.shop.orders"].desired.secret.is_some());
        let refused = &decisions["topicops.shop.orders_job"];
        assert_eq!(refused.desired, Desired::default());
        assert_eq!(
            refused.findings[0].message,
            "Secret shop/orders-kafka-credentials belongs to Deployment shop/orders, which is older; choose another name \
             with topic.kafka.nb/topic-secret"
        );
    }

    #[test]
    fn a_workload_that_is_going_away_keeps_what_it_has_and_gets_nothing_new() {
        let grants = grants(&[("shop/orders", &[])]);
        let asking = request("shop/w").consume("orders");
        let acls = decide(vec![client(&asking, 1)], &grants, &BTreeSet::new())["topicops.shop.w"]
            .desired
            .acls
            .clone();
        let going = || vec![Client { deleting: true, ..client(&asking, 1) }];
        let with_rules = decide(going(), &grants, &acls);
        assert_eq!(with_rules["topicops.shop.w"].desired, Desired { acls, ..Desired::default() });
        let without = decide(going(), &grants, &BTreeSet::new());
        assert_eq!(without["topicops.shop.w"].desired, Desired::default());
    }

    fn decide_quotas(client: Client, policy: &TopicPolicy, observed: &Observed) -> Decision {
        let clients = [Arc::new(client)];
        let (operator, rules) = (OperatorId::default(), RotationRules::default());
        let mut decisions =
            Decision::all(&clients, &operator, &grants(&[]), GrantsMode::Namespace, policy, observed, &rules);
        decisions.remove("topicops.shop.w").unwrap()
    }

    #[test]
    fn what_the_policy_refuses_of_a_quota_is_held_to_the_nearest_and_told() {
        let rules = TopicRules::parse("limits: { producer-byte-rate: { max: 10MB/s } }").unwrap();
        let policy = TopicPolicy { rules: Arc::new(rules), ..TopicPolicy::default() };
        let asking = request("shop/w").group("g").producer_byte_rate("100MB/s");
        let decision = decide_quotas(client(&asking, 1), &policy, &Observed::default());
        let quotas: Vec<_> = decision.desired.quotas.iter().map(|quota| quota.value.get()).collect();
        assert_eq!(quotas, [10_000_000.0]);
        assert_eq!(
            (decision.findings[0].reason, decision.findings[0].message.as_str()),
            (
                Reason::QuotaRefused,
                "topic.kafka.nb/producer-byte-rate: \"100MB/s\": 10MB/s at most, says the operator's policy \
                 (limits.producer-byte-rate); 10MB/s counts until it is changed"
            )
        );
    }

    #[test]
    fn quotas_stay_while_nobody_can_tell_what_is_asked_or_what_the_policy_says() {
        let asking = request("shop/w").group("g").producer_byte_rate("1MB/s");
        let asked = client(&asking, 1);
        let set = decide_quotas(asked.clone(), &TopicPolicy::default(), &Observed::default()).desired.quotas;
        let observed = Observed { quotas: set.clone(), ..Observed::default() };
        let problems = Problems::from(Problem::new("topic.kafka.nb/inject", "file", "files"));
        let unreadable = Client { request: Err(Arc::new(problems)), ..asked.clone() };
        let going = Client { deleting: true, ..asked };
        for client in [unreadable, going] {
            let decision = decide_quotas(client, &TopicPolicy::default(), &observed);
            assert_eq!(decision.desired.quotas, set);
        }
        let unread = TopicPolicy { unread: true, ..TopicPolicy::default() };
        let more = client(&request("shop/w").group("g").producer_byte_rate("9MB/s"), 1);
        assert_eq!(decide_quotas(more.clone(), &unread, &observed).desired.quotas, set);
        assert_eq!(decide_quotas(more, &unread, &Observed::default()).desired.quotas.len(), 1);
    }

    #[test]
    fn a_workload_that_asks_for_nothing_has_no_decision() {
        let nothing = Client { request: Ok(None), ..client(&request("shop/w"), 1) };
        assert!(decide(vec![nothing], &grants(&[]), &BTreeSet::new()).is_empty());
    }
}
