use std::ops::RangeInclusive;

/// How many of a partition's replicas each rack takes when they are spread as far as can be.
///
/// `kept` are those each rack has already, `room` is how many more it could take, `take` how many are to be placed. Racks
/// are filled level by level; which of them get one of the last level is free, hence a range. Any numbers within the ranges
/// that add up to `take` have the fewest pairs of replicas in one rack.
pub(super) fn rack_bounds(kept: &[usize], room: &[usize], take: usize) -> Vec<RangeInclusive<usize>> {
    let filled = |level: usize, rack: usize| level.saturating_sub(kept[rack]).min(room[rack]);
    let racks = 0..kept.len();
    let highest = racks.clone().map(|rack| kept[rack] + room[rack]).max().unwrap_or(0);
    let level = (0..=highest)
        .find(|level| racks.clone().map(|rack| filled(*level, rack)).sum::<usize>() >= take)
        .unwrap_or(highest);
    racks.map(|rack| filled(level.saturating_sub(1), rack)..=filled(level, rack)).collect()
}

#[cfg(test)]
mod tests {
    use super::rack_bounds;

    #[test]
    fn racks_fill_level_by_level() {
        assert_eq!(rack_bounds(&[0, 0, 0], &[1, 5, 5], 3), [0..=1, 0..=1, 0..=1]);
        assert_eq!(rack_bounds(&[0, 0], &[1, 5], 4), [1..=1, 2..=3]);
        assert_eq!(rack_bounds(&[0, 0, 0], &[2, 2, 2], 4), [1..=2, 1..=2, 1..=2]);
    }

    #[test]
    fn a_rack_that_has_replicas_already_takes_its_share_later() {
        assert_eq!(rack_bounds(&[2, 0, 1], &[3, 3, 3], 1), [0..=0, 0..=1, 0..=0]);
        assert_eq!(rack_bounds(&[2, 0, 1], &[3, 3, 3], 4), [0..=1, 2..=3, 1..=2]);
    }
}
