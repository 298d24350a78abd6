/// How a large cut in retention is made in steps, so that brokers do not delete everything at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionSteps {
    /// Percent of the present value that a step keeps, below 100. 0: every cut is made at once.
    pub keep_percent: u8,
    /// Seconds from one step to the next.
    pub interval: i64,
    /// Topics that take no more bytes than this on any one broker are cut at once.
    pub above: u64,
}

/// How Kafka writes "unlimited", in `retention.ms` and `retention.bytes` alike.
const UNLIMITED: i64 = -1;

impl RetentionSteps {
    /// The value that follows `present` on the way to `target`: never below the target, never above the present, and the
    /// target itself once less than a step is left. What is unlimited counts as `unlimited`.
    pub fn next(self, present: i64, target: i64, unlimited: i64) -> i64 {
        if !self.is_large(present, target, unlimited) {
            return target;
        }
        self.kept(counted(present, unlimited))
    }

    /// Whether a step would not reach the target.
    pub fn is_large(self, present: i64, target: i64, unlimited: i64) -> bool {
        is_cut(present, target) && target < self.kept(counted(present, unlimited))
    }

    /// How many steps there are from `present` to `target`.
    pub fn count(self, present: i64, target: i64, unlimited: i64) -> u32 {
        let (mut steps, mut now) = (0, present);
        while is_cut(now, target) {
            now = self.next(now, target, unlimited);
            steps += 1;
        }
        steps
    }

    fn kept(self, value: i64) -> i64 {
        let kept = i128::from(value) * i128::from(self.keep_percent.min(99)) / 100;
        i64::try_from(kept).unwrap_or(i64::MAX)
    }
}

/// Whether a value means less than another.
pub(super) fn is_cut(present: i64, target: i64) -> bool {
    target > UNLIMITED && (present <= UNLIMITED || target < present)
}

fn counted(value: i64, unlimited: i64) -> i64 {
    if value <= UNLIMITED { unlimited } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(keep_percent: u8) -> RetentionSteps {
        RetentionSteps { keep_percent, interval: 360, above: 0 }
    }

    fn walk(steps: RetentionSteps, present: i64, target: i64, unlimited: i64) -> Vec<i64> {
        let mut values = Vec::new();
        let mut now = present;
        while now != target {
            now = steps.next(now, target, unlimited);
            values.push(now);
            assert!(values.len() < 10_000, "it never ends: {values:?}");
        }
        values
    }

    #[test]
    fn a_cut_by_half_or_less_is_made_at_once_and_a_raise_always() {
        assert_eq!(steps(50).next(100, 50, 0), 50);
        assert_eq!(steps(50).next(100, 99, 0), 99);
        assert_eq!(steps(50).next(100, 1_000, 0), 1_000);
        assert_eq!(steps(50).next(100, -1, 0), -1);
        assert_eq!(steps(50).next(-1, -1, 0), -1);
        assert_eq!(steps(0).next(1_000_000, 1, 0), 1);
    }

    #[test]
    fn a_week_becomes_an_hour_in_eight_steps() {
        let values = walk(steps(50), 168, 1, 0);
        assert_eq!(values, [84, 42, 21, 10, 5, 2, 1]);
        assert_eq!(steps(50).count(168, 1, 0), 7);
    }

    #[test]
    fn what_was_unlimited_begins_below_what_it_counts_as() {
        assert_eq!(walk(steps(50), -1, 10, 100), [50, 25, 12, 10]);
        // There is less than the target: nothing is cut at all.
        assert_eq!(walk(steps(50), -1, 10, 3), [10]);
    }

    proptest! {
        #[test]
        fn values_go_down_to_exactly_the_target_in_few_steps(
            keep in 0u8..=90,
            present in prop_oneof![Just(-1i64), 0i64..=i64::MAX, 0i64..100_000],
            target in prop_oneof![0i64..=i64::MAX, 0i64..1_000],
            unlimited in prop_oneof![0i64..=i64::MAX, 0i64..100_000],
        ) {
            prop_assume!(is_cut(present, target));
            let steps = steps(keep);
            let values = walk(steps, present, target, unlimited);
            prop_assert_eq!(values.last(), Some(&target));
            prop_assert_eq!(values.len(), steps.count(present, target, unlimited) as usize);
            let from = counted(present, unlimited).max(target);
            prop_assert!(values.iter().all(|value| (target..=from).contains(value)));
            prop_assert!(values.windows(2).all(|pair| pair[1] < pair[0]), "{:?}", values);
            for pair in values.windows(2).filter(|pair| pair[1] != target) {
                prop_assert_eq!(pair[1], steps.kept(pair[0]));
            }
            if keep == 50 {
                // n halvings take log2(n) steps, and what is left of it one more.
                let ratio = from / target.max(1);
                prop_assert!(values.len() as u32 <= ratio.max(1).ilog2() + 2, "{} of {ratio}", values.len());
            }
        }
    }
}
