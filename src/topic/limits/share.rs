use super::{Action, Limit};
use crate::topic::Extent;

/// What a declaration takes of the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// As far as other limits let it.
    pub(super) asks: Amounts,
    /// What is there of it already, and stays when it is refused.
    pub(super) stands: Amounts,
    /// Another limit lets it have nothing, and nothing is there.
    pub(super) refused: bool,
}

/// Topics, partitions and bytes: in the order of [`super::NamespaceRules::quotas`].
pub(super) type Amounts = [u128; 3];
pub(super) type Quotas<'a> = [Option<&'a Limit<i64>>; 3];

impl Share {
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

    /// What it takes from the younger ones: what is carried out of it.
    pub(super) fn taken(&self, quotas: &Quotas<'_>, beside: Amounts) -> Amounts {
        let beyond = self.beyond(quotas, beside);
        let refused =
            |index: usize| beyond[index] && quotas[index].is_some_and(|limit| limit.action != Action::Warn);
        let [topics, partitions, bytes] = self.counts();
        match (self.stands[0] > 0, refused(0), refused(1), refused(2)) {
            (false, false, false, false) | (true, _, false, false) => [topics, partitions, bytes],
            // Its partitions stay as they are; what each of them may come to does not.
            (true, _, true, false) => {
                let each = self.asks[2] / self.asks[1].max(1);
                [topics, self.stands[1], self.stands[2].max(each * self.stands[1])]
            }
            (false, ..) | (true, _, _, true) => self.stands,
        }
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
