//! The command line: settings, and what each command does with them.

mod byte_rate;
mod probes;
mod release;
mod run;
mod settings;

pub use release::{ReleaseSettings, release};
pub use run::run;
pub use settings::{Admission, Grants, LogFormat, Settings, TlsMin};
