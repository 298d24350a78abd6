//! Which Kafka a bed has.
use serde::{Deserialize, Serialize};

/// The version of a bed's brokers, and of the tools and clients beside them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KafkaVersion {
    #[default]
    V4_3,
    /// The last line before 4.0, which many still run.
    V3_9,
}

impl KafkaVersion {
    pub const ALL: [Self; 2] = [Self::V4_3, Self::V3_9];

    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::V4_3 => "4.3.1",
            Self::V3_9 => "3.9.1",
        }
    }

    /// The first two parts of the number, as people speak of it.
    #[must_use]
    pub fn line(self) -> &'static str {
        match self {
            Self::V4_3 => "4.3",
            Self::V3_9 => "3.9",
        }
    }

    /// The image whose tools and clients are of this version.
    #[must_use]
    pub fn image(self) -> String {
        format!("apache/kafka:{}", self.number())
    }
}
