//! The command line: settings, and what each command does with them.

mod probes;
mod settings;

pub use settings::{Admission, Grants, LogFormat, Settings, TlsMin};
