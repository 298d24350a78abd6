/// What happens when a topic is outside a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Admission denies it; the controller neither creates nor grows it, and its status says why.
    #[default]
    Refuse,
    /// It is done, and admission and status say that it should not be so.
    Warn,
    /// The nearest value within the limit is taken instead, and admission and status say so.
    Adjust,
}

impl Action {
    pub const ALL: [(&'static str, Self); 3] =
        [("refuse", Self::Refuse), ("warn", Self::Warn), ("adjust", Self::Adjust)];
}
