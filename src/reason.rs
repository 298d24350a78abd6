use std::fmt;

/// How loudly an author is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The status says it, and no Event: all is well, or as its author asked.
    Quietly,
    /// A Normal Event.
    Normal,
    /// A Warning Event.
    Warning,
}

macro_rules! reasons {
    ($($name:ident: $on:literal, $told:ident;)*) => {
        /// Why something stands as it does: one CamelCase word for machines, in statuses and Events. There are no others:
        /// the README explains each, and a test compares the two.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($name,)*
        }

        impl Reason {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The reason of this name; statuses can hold what somebody else wrote there.
            pub fn read(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }

            /// What it is said of: topics, workloads, or both.
            pub fn on(self) -> &'static str {
                match self {
                    $(Self::$name => $on,)*
                }
            }

            pub fn told(self) -> Told {
                match self {
                    $(Self::$name => Told::$told,)*
                }
            }
        }
    };
}

// In the README's order.
reasons! {
    InSync: "topic", Quietly;
    Paused: "topic", Quietly;
    Invalid: "topic", Warning;
    Protected: "topic", Warning;
    OwnedByAnother: "topic", Warning;
    OwnedByNamespace: "topic", Warning;
    AdoptionNotAllowed: "topic", Warning;
    FewerPartitions: "topic", Warning;
    TooFewPartitions: "topic", Warning;
    TooManyPartitions: "topic", Warning;
    ReplicationFactorOutOfBounds: "topic", Warning;
    RetentionOutOfBounds: "topic", Warning;
    NameNotAllowed: "topic", Warning;
    PropertyRequired: "topic", Warning;
    PropertyForbidden: "topic", Warning;
    PropertyOutOfBounds: "topic", Warning;
    NamespaceQuotaExceeded: "topic", Warning;
    PolicyUnread: "topic", Warning;
    Drifted: "topic", Warning;
    DriftCorrected: "topic", Warning;
    TopicRemade: "topic", Warning;
    TooFewBrokers: "topic", Warning;
    BelowMinInsyncReplicas: "topic", Warning;
    Moving: "topic", Quietly;
    MoveBegun: "topic", Normal;
    MoveStuck: "topic", Warning;
    WaitingForAnotherMove: "topic", Warning;
    Moved: "topic", Normal;
    MoveCancelled: "topic", Normal;
    DiskSizeUnknown: "topic", Warning;
    RetentionStepping: "topic", Normal;
    InUse: "topic", Warning;
    TopicReplaced: "topic", Warning;
    TopicDeletionDisabled: "topic", Warning;
    TopicDeletionRefused: "topic", Warning;
    TopicLeft: "topic", Normal;
    DeletionInProgress: "topic", Warning;
    LookingAgain: "topic", Warning;
    NotRemembered: "topic", Warning;
    KafkaBusy: "topic", Warning;
    KafkaUnavailable: "topic", Warning;
    KafkaRefused: "topic, workload", Warning;
    CredentialsReady: "workload", Normal;
    Rotating: "workload", Normal;
    Rotated: "workload", Normal;
    RotationWaits: "workload", Warning;
    TopicNotGranted: "workload", Warning;
    TopicNotDeclared: "workload", Warning;
    GroupTaken: "workload", Warning;
    TransactionalIdTaken: "workload", Warning;
    StreamsApplicationIdRefused: "workload", Warning;
    QuotaRefused: "workload", Warning;
    QuotaOutOfBounds: "workload", Warning;
    Injected: "workload", Normal;
    NotInjected: "workload", Warning;
    InvalidAnnotations: "workload", Warning;
    LabelOnTemplate: "workload", Warning;
    SecretExists: "workload", Warning;
    SecretShared: "workload", Warning;
    SecretRefused: "workload", Warning;
    AccessHidden: "workload", Warning;
    VerificationFailed: "workload", Warning;
    NoRandomness: "workload", Warning;
    HashingFailed: "workload", Warning;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq<str> for Reason {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Reason {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}
