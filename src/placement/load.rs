use super::cost::Cost;

/// What each broker holds beyond what is being chosen.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Of the topic in question, if the choices are for one topic. Evened out first: a topic's own spread decides how much
    /// traffic it can take.
    pub own: Option<Vec<i64>>,
    /// Of all topics.
    pub all: Vec<i64>,
    pub fullness: Vec<i64>,
}

impl Load {
    /// Counts these in as the topic's own; without any, the topic has none yet.
    pub(super) fn with_own(mut self, held: impl IntoIterator<Item = usize>) -> Self {
        let mut own = vec![0; self.all.len()];
        for broker in held {
            own[broker] += 1;
        }
        self.own = Some(own);
        self
    }

    /// What one more costs at `broker` when it has `more` beyond its load: the difference of squares, which grows with
    /// each, so that the cheapest is always the most even.
    pub(super) fn of_one_more(&self, broker: usize, more: i64) -> Cost {
        Cost {
            own: self.own.as_ref().map_or(0, |own| 2 * (own[broker] + more) + 1),
            all: 2 * (self.all[broker] + more) + 1,
            fullness: self.fullness[broker],
            ..Cost::default()
        }
    }
}
