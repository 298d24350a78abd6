/// The brokers that a choice is made among, by their index.
#[derive(Clone, Debug)]
pub(super) enum Among {
    /// All that take replicas.
    Usable,
    These(Vec<usize>),
}
