//! The command line: settings, and what each command does with them.

mod access;
mod byte_rate;
mod cluster_objects;
mod import;
mod kafka_config;
mod manifest_files;
mod plan;
mod plan_report;
mod policy_file;
mod policy_memory;
mod preflight;
mod probes;
mod reach;
mod reach_files;
mod rebalance;
mod rebalance_table;
mod rebalance_wait;
mod release;
mod rotate;
mod rotate_wait;
mod run;
mod settings;
mod verify;
mod workload_name;

pub use access::{AccessOf, AccessSettings, Accessed, access};
pub use import::{ImportSettings, Kind, import};
pub use plan::{Output, PlanSettings, Verdict, plan};
pub use preflight::{On, Preflight, PreflightSettings, preflight};
pub use rebalance::{RebalanceSettings, Rebalanced, rebalance};
pub use release::{ReleaseSettings, release};
pub use rotate::{RotateSettings, Rotated, rotate};
pub use run::run;
pub use settings::{Admission, Grants, LogFormat, Settings, TlsMin};
pub use verify::{Verified, VerifySettings, verify};
pub use workload_name::WorkloadName;
