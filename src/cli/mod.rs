//! The command line: settings, and what each command does with them.

mod byte_rate;
mod import;
mod kafka_config;
mod manifest_files;
mod plan;
mod plan_report;
mod policy_file;
mod policy_memory;
mod probes;
mod rebalance;
mod rebalance_table;
mod rebalance_wait;
mod release;
mod rotate;
mod run;
mod settings;

pub use import::{ImportSettings, Kind, import};
pub use plan::{Output, PlanSettings, Verdict, plan};
pub use rebalance::{RebalanceSettings, Rebalanced, rebalance};
pub use release::{ReleaseSettings, release};
pub use rotate::{RotateSettings, Rotated, rotate};
pub use run::run;
pub use settings::{Admission, Grants, LogFormat, Settings, TlsMin};
