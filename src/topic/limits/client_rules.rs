//! What a policy says about the quotas of workloads: defaults and limits of what their annotations name.

use topicops_contract::{ByteRate, ClientQuotas, Problem, RequestPercentage, keys::client};

use super::{Action, Limit, NamespaceRules, Range, RuleSet, Said};

/// The default and the limit of one quota: bytes per second, or hundredths of a percent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaRule {
    pub default: Said<i64>,
    pub limit: Said<Limit<Range>>,
}

impl QuotaRule {
    pub(super) fn narrow(&mut self, by: &Self) {
        self.default.narrowed(&by.default);
        self.limit.narrowed(&by.limit);
    }
}

/// What the policy makes of the quotas that a workload asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaJudgement {
    /// What counts. What was refused is held to the nearest value that is right: no quota at all would be more.
    pub quotas: ClientQuotas,
    /// What admission denies, with the value that counts where it came by another way.
    pub refused: Vec<(Problem, String)>,
    /// What was outside a limit, with the value that was taken instead.
    pub adjusted: Vec<(Problem, String)>,
    /// What is outside a limit and counts all the same.
    pub warned: Vec<Problem>,
}

impl QuotaJudgement {
    /// What an author should know although it is done.
    pub fn notices(&self) -> impl Iterator<Item = String> + '_ {
        let adjusted =
            self.adjusted.iter().map(|(problem, instead)| format!("{problem}: adjusted to {instead}"));
        adjusted.chain(self.warned.iter().map(ToString::to_string))
    }
}

/// One of the three quotas, wherever it stands.
pub(super) struct Kind {
    pub(super) key: &'static str,
    annotation: &'static str,
    pub(super) rule: fn(&RuleSet) -> &QuotaRule,
    value: fn(&ClientQuotas) -> Option<i64>,
    put: fn(&mut ClientQuotas, i64),
    pub(super) show: fn(i64) -> String,
}

pub(super) const KINDS: [Kind; 3] = [
    Kind {
        key: "producer-byte-rate",
        annotation: client::PRODUCER_BYTE_RATE,
        rule: |rules| &rules.producer_byte_rate,
        value: |quotas| quotas.producer_byte_rate.map(of_rate),
        put: |quotas, rate| quotas.producer_byte_rate = rate_of(rate),
        show: show_rate,
    },
    Kind {
        key: "consumer-byte-rate",
        annotation: client::CONSUMER_BYTE_RATE,
        rule: |rules| &rules.consumer_byte_rate,
        value: |quotas| quotas.consumer_byte_rate.map(of_rate),
        put: |quotas, rate| quotas.consumer_byte_rate = rate_of(rate),
        show: show_rate,
    },
    Kind {
        key: "request-percentage",
        annotation: client::REQUEST_PERCENTAGE,
        rule: |rules| &rules.request_percentage,
        value: |quotas| quotas.request_percentage.map(|share| share.hundredths().into()),
        put: |quotas, hundredths| quotas.request_percentage = percentage_of(hundredths),
        show: |hundredths| percentage_of(hundredths).map_or_else(String::new, |share| share.to_string()),
    },
];

pub(super) fn of_rate(rate: ByteRate) -> i64 {
    i64::try_from(rate.bytes()).unwrap_or(i64::MAX)
}

fn rate_of(bytes: i64) -> Option<ByteRate> {
    ByteRate::from_bytes(u64::try_from(bytes).ok()?)
}

fn show_rate(bytes: i64) -> String {
    rate_of(bytes).map_or_else(String::new, |rate| rate.to_string())
}

fn percentage_of(hundredths: i64) -> Option<RequestPercentage> {
    RequestPercentage::from_hundredths(u32::try_from(hundredths).ok()?)
}

impl NamespaceRules {
    /// Puts in what the annotations leave to the defaults, and compares the result with the limits.
    pub fn judge_quotas(&self, asked: &ClientQuotas) -> QuotaJudgement {
        let mut judgement = QuotaJudgement { quotas: *asked, ..QuotaJudgement::default() };
        for kind in &KINDS {
            let rule = (kind.rule)(&self.rules);
            let Some(value) = (kind.value)(asked) else {
                if let Some(default) = rule.default.get() {
                    (kind.put)(&mut judgement.quotas, *default);
                }
                continue;
            };
            let Some(limit) = rule.limit.get() else { continue };
            let Some(nearest) = limit.rule.nearest(value) else { continue };
            let expected = limit.says(&limit.rule.describe(kind.show));
            let problem = Problem::new(kind.annotation, (kind.show)(value), expected);
            if limit.action == Action::Warn {
                judgement.warned.push(problem);
                continue;
            }
            (kind.put)(&mut judgement.quotas, nearest);
            let told =
                if limit.action == Action::Adjust { &mut judgement.adjusted } else { &mut judgement.refused };
            told.push((problem, (kind.show)(nearest)));
        }
        judgement
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::limits::TopicRules;

    fn asked(producer: &str) -> ClientQuotas {
        ClientQuotas { producer_byte_rate: Some(producer.parse().unwrap()), ..ClientQuotas::default() }
    }

    fn judge(policy: &str, asked: &ClientQuotas) -> QuotaJudgement {
        TopicRules::parse(policy).unwrap().of("shop").judge_quotas(asked)
    }

    fn rate(judgement: &QuotaJudgement) -> Option<String> {
        judgement.quotas.producer_byte_rate.map(|rate| rate.to_string())
    }

    #[test]
    fn each_action_does_its_own_and_says_who_says_so() {
        let policy = |action: &str| {
            format!("limits: {{ producer-byte-rate: {{ min: 1MB/s, max: 10MB/s, action: {action} }} }}")
        };
        let told = "topic.kafka.nb/producer-byte-rate: \"100MB/s\": 1MB/s to 10MB/s, says the operator's policy \
                    (limits.producer-byte-rate)";
        let refused = judge(&policy("refuse"), &asked("100MB/s"));
        assert_eq!(refused.refused[0].0.to_string(), told);
        assert_eq!((rate(&refused).as_deref(), refused.notices().count()), (Some("10MB/s"), 0));
        let adjusted = judge(&policy("adjust"), &asked("100MB/s"));
        assert_eq!(adjusted.notices().collect::<Vec<_>>(), [format!("{told}: adjusted to 10MB/s")]);
        assert_eq!((rate(&adjusted).as_deref(), adjusted.refused.len()), (Some("10MB/s"), 0));
        let warned = judge(&policy("warn"), &asked("100MB/s"));
        assert_eq!(warned.notices().collect::<Vec<_>>(), [told]);
        assert_eq!(rate(&warned).as_deref(), Some("100MB/s"));
        let low = judge(&policy("adjust"), &asked("5"));
        assert_eq!(rate(&low).as_deref(), Some("1MB/s"));
        assert_eq!(judge(&policy("refuse"), &asked("10MB/s")).refused, []);
    }

    #[test]
    fn defaults_are_for_those_who_ask_for_nothing_and_may_be_lifted() {
        let policy = "
            defaults: { producer-byte-rate: 5MiB/s, request-percentage: 50% }
            limits: { request-percentage: { max: 100 } }
            namespaces: { shop: { defaults: { request-percentage: null } } }";
        let silent = judge(policy, &ClientQuotas::default());
        assert_eq!(rate(&silent).as_deref(), Some("5MiB/s"));
        assert_eq!(silent.quotas.request_percentage, None);
        assert_eq!(rate(&judge(policy, &asked("7MB/s"))).as_deref(), Some("7MB/s"));
        let elsewhere = TopicRules::parse(policy).unwrap().of("other").judge_quotas(&ClientQuotas::default());
        assert_eq!(elsewhere.quotas.request_percentage.unwrap().to_string(), "50%");
        let greedy =
            ClientQuotas { request_percentage: Some("100.5%".parse().unwrap()), ..ClientQuotas::default() };
        let told = judge(policy, &greedy).refused[0].0.to_string();
        assert!(told.contains("request-percentage: \"100.50%\": 100% at most"), "{told}");
        assert_eq!(
            judge("", &asked("9GB/s")),
            QuotaJudgement { quotas: asked("9GB/s"), ..Default::default() }
        );
    }

    proptest! {
        #[test]
        fn what_counts_is_within_the_limit_unless_it_only_warns(
            asked in proptest::option::of(1..2_000_u64), low in 1..500_i64, more in 0..500_i64,
            action in proptest::sample::select(vec!["refuse", "adjust", "warn"]),
        ) {
            let policy = format!(
                "{{ defaults: {{ consumer-byte-rate: {low} }}, \
                   limits: {{ consumer-byte-rate: {{ min: {low}, max: {}, action: {action} }} }} }}", low + more);
            let quotas = ClientQuotas { consumer_byte_rate: asked.and_then(ByteRate::from_bytes), ..Default::default() };
            let judgement = judge(&policy, &quotas);
            let counts = of_rate(judgement.quotas.consumer_byte_rate.unwrap());
            prop_assert!(action == "warn" || (low..=low + more).contains(&counts));
            let told = judgement.refused.len() + judgement.adjusted.len() + judgement.warned.len();
            let outside = asked.is_some_and(|asked| !(low..=low + more).contains(&i64::try_from(asked).unwrap()));
            prop_assert_eq!(told, usize::from(outside));
            // What counts is judged as right, so that what an adjustment came to is not adjusted again.
            prop_assert!(judge(&policy, &judgement.quotas).adjusted.is_empty());
        }
    }
}
