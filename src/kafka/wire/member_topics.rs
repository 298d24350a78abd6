use bytes::Buf;

/// The topics of a classic consumer's assignment (`ConsumerProtocolAssignment`), and nothing when it cannot be read.
///
/// These bytes come from any client of the cluster, and brokers pass them on unread: so they are read here with every
/// length checked against what is left, and never allocate more than they hold.
pub(super) fn assigned_topics(bytes: &[u8]) -> Vec<String> {
    Reader(bytes).assignment().unwrap_or_default()
}

/// The topics of a classic consumer's subscription (`ConsumerProtocolSubscription`), likewise.
pub(super) fn subscribed_topics(bytes: &[u8]) -> Vec<String> {
    Reader(bytes).subscription().unwrap_or_default()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn assignment(&mut self) -> Option<Vec<String>> {
        self.0.try_get_i16().ok()?;
        let mut topics = Vec::new();
        for _ in 0..self.0.try_get_i32().ok()?.max(0) {
            topics.push(self.string()?);
            let partitions = usize::try_from(self.0.try_get_i32().ok()?).ok()?;
            self.skip(partitions.checked_mul(4)?)?;
        }
        Some(topics)
    }

    fn subscription(&mut self) -> Option<Vec<String>> {
        self.0.try_get_i16().ok()?;
        let mut topics = Vec::new();
        for _ in 0..self.0.try_get_i32().ok()?.max(0) {
            topics.push(self.string()?);
        }
        Some(topics)
    }

    fn string(&mut self) -> Option<String> {
        let length = usize::try_from(self.0.try_get_i16().ok()?).ok()?;
        let text = std::str::from_utf8(self.0.get(..length)?).ok()?.to_owned();
        self.skip(length)?;
        Some(text)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::{
        messages::{
            ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName,
            consumer_protocol_assignment::TopicPartition,
        },
        protocol::{Encodable, StrBytes},
    };
    use proptest::prelude::*;

    use super::*;

    fn encoded(message: &impl Encodable, version: i16) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&version.to_be_bytes());
        message.encode(&mut bytes, version).unwrap();
        bytes.to_vec()
    }

    #[test]
    fn what_clients_write_is_read() {
        let part = |name: &'static str, partitions: Vec<i32>| {
            TopicPartition::default()
                .with_topic(TopicName(StrBytes::from_static_str(name)))
                .with_partitions(partitions)
        };
        for version in 0..=3 {
            let assignment = ConsumerProtocolAssignment::default()
                .with_assigned_partitions(vec![part("orders", vec![0, 1]), part("bills", vec![])]);
            assert_eq!(assigned_topics(&encoded(&assignment, version)), ["orders", "bills"]);
            let subscription = ConsumerProtocolSubscription::default()
                .with_topics(vec![StrBytes::from_static_str("orders"), StrBytes::from_static_str("bills")]);
            assert_eq!(subscribed_topics(&encoded(&subscription, version)), ["orders", "bills"]);
        }
        assert!(assigned_topics(&[]).is_empty() && subscribed_topics(&[]).is_empty());
    }

    #[test]
    fn promises_of_billions_cost_nothing() {
        let bytes = [0, 0, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff];
        assert!(assigned_topics(&bytes).is_empty() && subscribed_topics(&bytes).is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            assigned_topics(&bytes);
            subscribed_topics(&bytes);
        }
    }
}
