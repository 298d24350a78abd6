/// What one part of a policy says about something that a wider part may have spoken of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Said<T> {
    /// The wider part's word counts.
    #[default]
    Nothing,
    /// What the wider part said does not count here.
    Lifted,
    This(T),
}

impl<T: Clone> Said<T> {
    /// What counts where this and a more specific part both apply: the more specific one as a whole.
    pub fn narrowed(&mut self, by: &Self) {
        if !matches!(by, Self::Nothing) {
            *self = by.clone();
        }
    }

    pub fn get(&self) -> Option<&T> {
        match self {
            Self::This(value) => Some(value),
            Self::Nothing | Self::Lifted => None,
        }
    }
}
