//! Topics: observe, parse, plan, execute, report, in batches.
//!
//! Changes of ConfigMaps mark their topics dirty; after a few tens of milliseconds one pass takes all of them through one
//! describe, one write of the ledger and one request per kind of change. Nothing queues up beyond a set of names.

mod config_map_ledger;
mod departures;
mod drift_report;
mod evidence;
mod execute;
mod extents;
mod gone;
mod governed;
mod lag;
mod ledger;
mod ledger_line;
mod ledger_store;
mod outcome;
mod own_changes;
mod pass;
mod placing;
mod planning;
mod report;
mod retries;
mod status_writer;
mod topic_controller;
mod topic_index;
mod topic_object;

pub use config_map_ledger::ConfigMapLedger;
pub use evidence::{Evidence, KubeEvidence};
pub use gone::{Gone, Renamed};
pub use governed::Governed;
pub use ledger::{Ledger, LeftOut};
pub use ledger_store::{LedgerError, LedgerStore, Page};
pub use outcome::Outcome;
pub use pass::grant_of;
use placing::Placing;
pub use planning::ask_storage;
pub use retries::Retries;
pub use status_writer::{FIELD_MANAGER, StatusUpdate, StatusWriter, other_finalizers};
pub use topic_controller::{TopicController, TopicUsers};
pub use topic_index::TopicIndex;
pub use topic_object::TopicObject;
