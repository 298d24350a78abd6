use std::fmt;

use serde::Serialize;

/// One thing that has to be so, or had better be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    pub(super) on: On,
    pub(super) state: State,
    /// What was looked at.
    pub(super) what: String,
    /// What is wrong, and what for it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// What to do about it: a command, mostly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) todo: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum On {
    Kafka,
    Kubernetes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    Ok,
    /// topicops does not work as it should without it.
    Missing,
    /// It could not be looked at.
    Unknown,
    /// It works, and somebody should know.
    Warning,
}

impl Check {
    pub(super) fn ok(on: On, what: impl Into<String>) -> Self {
        Self { on, state: State::Ok, what: what.into(), why: None, todo: None }
    }

    pub(super) fn missing(on: On, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { state: State::Missing, why: Some(why.into()), ..Self::ok(on, what) }
    }

    pub(super) fn unknown(on: On, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { state: State::Unknown, why: Some(why.into()), ..Self::ok(on, what) }
    }

    pub(super) fn warning(on: On, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { state: State::Warning, why: Some(why.into()), ..Self::ok(on, what) }
    }

    pub(super) fn todo(self, todo: impl Into<String>) -> Self {
        Self { todo: Some(todo.into()), ..self }
    }
}

/// All checks, for people (`Display`) and machines (JSON).
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) checks: Vec<Check>,
}

impl Report {
    pub(super) fn is_ready(&self) -> bool {
        self.count(State::Missing) + self.count(State::Unknown) == 0
    }

    fn count(&self, state: State) -> usize {
        self.checks.iter().filter(|check| check.state == state).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (on, name) in [(On::Kafka, "Kafka"), (On::Kubernetes, "Kubernetes")] {
            let mut checks = self.checks.iter().filter(|check| check.on == on).peekable();
            if checks.peek().is_some() {
                writeln!(f, "{name}")?;
            }
            for check in checks {
                let state = match check.state {
                    State::Ok => "ok",
                    State::Missing => "MISSING",
                    State::Unknown => "UNKNOWN",
                    State::Warning => "warning",
                };
                write!(f, "    {state:8}{}", check.what)?;
                if let Some(why) = &check.why {
                    write!(f, ": {why}")?;
                }
                writeln!(f)?;
                if let Some(todo) = &check.todo {
                    writeln!(f, "            {todo}")?;
                }
            }
        }
        let (missing, unknown) = (self.count(State::Missing), self.count(State::Unknown));
        match (missing, unknown) {
            (0, 0) => write!(f, "nothing is missing")?,
            (missing, 0) => write!(f, "{missing} missing")?,
            (missing, unknown) => write!(f, "{missing} missing, {unknown} not known")?,
        }
        match self.count(State::Warning) {
            0 => writeln!(f),
            1 => writeln!(f, ", 1 warning"),
            warnings => writeln!(f, ", {warnings} warnings"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_not_known_is_not_ready_and_a_warning_is() {
        let of = |checks: Vec<Check>| Report { checks };
        let ok = Check::ok(On::Kafka, "Create");
        let warning = Check::warning(On::Kubernetes, "crd", "not there");
        assert!(of(vec![ok.clone(), warning.clone()]).is_ready());
        assert!(!of(vec![Check::unknown(On::Kafka, "x", "y")]).is_ready());
        let missing = Check::missing(On::Kafka, "Delete", "no deletions").todo("kafka-acls.sh");
        let report = of(vec![ok, missing, warning]);
        assert!(!report.is_ready());
        let told = "\
Kafka
    ok      Create
    MISSING Delete: no deletions
            kafka-acls.sh
Kubernetes
    warning crd: not there
1 missing, 1 warning
";
        assert_eq!(report.to_string(), told);
    }
}
