use std::fmt;

use zeroize::Zeroizing;

/// A secret text. It has no `Display`, no serialisation and no deref; [`Password::reveal`] is the one way to its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the wire and for the Secret. Search for this name to find every place that sees it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_text() {
        let shown = format!("{:?} {:#?}", Password::new("hunter2"), Some(Password::new("hunter2")));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
