use topicops_contract::TopicName;

use super::share::{Amounts, sum};

/// Topics that nobody declares any more, and what is there of them.
#[derive(Debug, Default)]
pub(super) struct Left<'a> {
    topics: Vec<&'a TopicName>,
    amounts: Amounts,
}

/// Topics named in a message; more are counted.
const NAMED: usize = 3;

impl<'a> Left<'a> {
    pub(super) fn add(&mut self, topic: &'a TopicName, held: Amounts) {
        self.topics.push(topic);
        self.amounts = sum(self.amounts, held);
    }

    pub(super) fn says(&self) -> String {
        let named: Vec<&str> = self.topics.iter().take(NAMED).map(|topic| topic.as_str()).collect();
        let more = match self.topics.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "; topics count as long as they are there, declared or not: nobody declares {}{more} any more. To be rid of one, \
             declare it again with the deletion policy delete, and delete that",
            named.join(", ")
        )
    }

    /// Of what a limit counts, whether anything is left.
    pub(super) fn counts_in(&self, index: usize) -> bool {
        self.amounts[index] > 0
    }
}
