use super::{Action, Limit};
use crate::topic::Extent;

/// What a declaration takes of the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) asks: Amounts,
    /// What is there of it already, and stays when it is refused.
    pub(super) stands: Amounts,
    /// A limit of its own refuses it: only what is there counts.
    pub(super) refused: bool,
}

/// Topics, partitions and bytes: in the order of [`super::NamespaceRules::quotas`].
pub(super) type Amounts = [u128; 3];
pub(super) type Quotas<'a> = [Option<&'a Limit<i64>>; 3];

impl Share {
    /// With what is known to be there of the topic.
    pub(super) fn with(self, held: Amounts) -> Self {
        Self { stands: greater(self.stands, held), ..self }
    }

    pub(super) fn counts(&self) -> Amounts {
        if self.refused { self.stands } else { greater(self.asks, self.stands) }
    }

    /// What it is weighed with: what the older ones take; where it asks for more than there is, also what is there of all
    /// the others.
    pub(super) fn beside(&self, used: Amounts, standing: Amounts) -> Amounts {
        std::array::from_fn(|index| {
            let more = self.asks[index] > self.stands[index];
            used[index].saturating_add(if more { standing[index] } else { 0 })
        })
    }

    /// Of which limits it is too much. What another limit refuses needs no second reason.
    pub(super) fn beyond(&self, quotas: &Quotas<'_>, beside: Amounts) -> [bool; 3] {
        let sum = sum(beside, self.asks);
        std::array::from_fn(|index| {
            !self.refused && quotas[index].is_some_and(|limit| sum[index] > most(limit.rule))
        })
    }

    /// What it takes from the younger ones.
    pub(super) fn taken(&self, quotas: &Quotas<'_>, beside: Amounts) -> Amounts {
        let refuses = |limit: Option<&Limit<i64>>| limit.is_some_and(|limit| limit.action != Action::Warn);
        let beyond = self.beyond(quotas, beside);
        let refused = beyond.iter().zip(quotas).any(|(beyond, limit)| *beyond && refuses(*limit));
        if refused { self.stands } else { self.counts() }
    }
}

pub(super) fn most(limit: i64) -> u128 {
    u128::from(limit.unsigned_abs())
}

pub(super) fn amounts(extent: Extent) -> Amounts {
    let partitions = u128::from(extent.partitions.unsigned_abs());
    let factor = u128::from(extent.replication_factor.unsigned_abs());
    let bytes = extent.retention_bytes.map_or(0, |bytes| u128::from(bytes) * factor * partitions);
    [1, partitions, bytes]
}

pub(super) fn sum(one: Amounts, other: Amounts) -> Amounts {
    std::array::from_fn(|index| one[index].saturating_add(other[index]))
}

pub(super) fn less(one: Amounts, other: Amounts) -> Amounts {
    std::array::from_fn(|index| one[index].saturating_sub(other[index]))
}

fn greater(one: Amounts, other: Amounts) -> Amounts {
    std::array::from_fn(|index| one[index].max(other[index]))
}
