use std::{fmt, str::FromStr};

use topicops_contract::Problem;

/// Who may use a declared topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GrantsMode {
    /// Workloads of its namespace, and whoever its ConfigMap names.
    #[default]
    Namespace,
    /// Every workload that asks.
    Open,
}

impl GrantsMode {
    pub const ALL: [Self; 2] = [Self::Namespace, Self::Open];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Open => "open",
        }
    }
}

impl FromStr for GrantsMode {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| Problem::new("grants", text, "namespace or open"))
    }
}

impl fmt::Display for GrantsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_of_display_is_identity_for_every_mode() {
        for mode in GrantsMode::ALL {
            assert_eq!(mode.to_string().parse::<GrantsMode>().unwrap(), mode);
        }
        assert!("closed".parse::<GrantsMode>().is_err());
    }
}
