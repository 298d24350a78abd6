use jiff::Timestamp;

use crate::{Bundle, CaCertificate, Validity};

/// What to do next. Carry it out, then ask [`crate::next`] again; a crash in between loses nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the Secret for the first time, with a new CA. `previous` is what is trusted live although no Secret speaks
    /// of it (the Secret was deleted, or somebody else managed certificates before): it stays until `previous_until`.
    CreateAuthority {
        generation: u64,
        validity: Validity,
        previous: Vec<CaCertificate>,
        previous_until: Option<Timestamp>,
    },
    /// Write the Secret: a CA that is to follow the current one, and signs nothing yet.
    AddNextAuthority { generation: u64, validity: Validity },
    /// Write this bundle into every webhook configuration, on condition that it is still the one that was looked at.
    PublishBundle(Bundle),
    /// Write the Secret: the next CA was seen live everywhere at this time.
    NoteTrusted { at: Timestamp },
    /// There is nothing to write into (no webhook configuration), or the next CA has not been live for long enough.
    WaitForBundle { until: Option<Timestamp> },
    /// Write the Secret: the next CA becomes the current one, the key of the old one is forgotten, its certificate stays
    /// trusted until `previous_until`.
    SwitchSigner { previous_until: Timestamp },
    /// Issue a leaf from the current CA into my own memory, and serve it.
    IssueLeaf { validity: Validity },
    /// Write the Secret: every leaf that the previous CAs signed has expired.
    RetireOld,
    /// All is well until then (wall clock), unless the Secret or a webhook configuration changes before.
    Nothing { until: Timestamp },
}

impl Step {
    /// Whether the step concerns what all replicas share (Secret or webhook configurations). One replica, the leader,
    /// is enough for these; more do no harm. The others are each replica's own.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::CreateAuthority { .. }
            | Self::AddNextAuthority { .. }
            | Self::PublishBundle(_)
            | Self::NoteTrusted { .. }
            | Self::SwitchSigner { .. }
            | Self::RetireOld => true,
            Self::WaitForBundle { .. } | Self::IssueLeaf { .. } | Self::Nothing { .. } => false,
        }
    }
}
