/// The least and the greatest number that are right; at least one of the two is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub min: Option<i64>,
    pub max: Option<i64>,
}

impl Range {
    /// The nearest number that is right, for one that is not.
    pub fn nearest(self, number: i64) -> Option<i64> {
        self.min.filter(|min| number < *min).or(self.max.filter(|max| number > *max))
    }

    /// `1 to 100`, `100 at most`, `3 at least`, `exactly 3`.
    pub fn describe(self, show: impl Fn(i64) -> String) -> String {
        match (self.min, self.max) {
            (Some(min), Some(max)) if min == max => format!("exactly {}", show(min)),
            (Some(min), Some(max)) => format!("{} to {}", show(min), show(max)),
            (Some(min), None) => format!("{} at least", show(min)),
            (None, Some(max)) => format!("{} at most", show(max)),
            (None, None) => "anything".to_owned(),
        }
    }
}
