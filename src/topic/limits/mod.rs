//! Limits and defaults: what an administrator's policy file says about the topics and the workloads of each namespace, and
//! what that makes of a manifest, and of the quotas that a workload asks for. The same code at admission, in the controller and in the command line. Pure: reading the file is for others.
//!
//! A topic is judged by what its manifest declares, after defaults: what neither of them says is the brokers' to decide and
//! is not judged. Defaults of numbers count when a topic is made, and a later change of them moves no existing topic (more
//! partitions would send keys elsewhere, more replicas are a move); defaults of settings are kept like declared ones.

mod action;
mod byte_size;
mod client_rules;
mod disk_share_rules;
mod judgement;
mod left;
mod limit;
mod namespace_rules;
mod node;
mod over_quota;
mod property_rule;
mod range;
mod reader;
mod rule_set;
mod said;
mod share;
mod topic_rules;
mod usage;
mod violation;

pub use action::Action;
pub use byte_size::ByteSize;
pub use client_rules::{QuotaJudgement, QuotaRule};
pub use judgement::Judgement;
pub use limit::Limit;
pub use namespace_rules::NamespaceRules;
pub use over_quota::OverQuota;
pub use property_rule::PropertyRule;
pub use range::Range;
pub use rule_set::RuleSet;
pub use said::Said;
pub use topic_rules::TopicRules;
pub use usage::{Declared, Usage};
pub use violation::{At, Field, Violation};

#[cfg(test)]
mod parsing_tests;
#[cfg(test)]
mod rule_tests;
