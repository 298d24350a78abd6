use std::sync::Arc;

/// Whether what clients are to be given vouches for the brokers that they are to reach, as far as topicops can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Vouched {
    /// It has not been tried since this process began: nothing is done before that.
    #[default]
    Unknown,
    /// Nothing speaks against it.
    Yes,
    /// No client would get through with it, and why: it is written to no Secret.
    No(Arc<str>),
}
