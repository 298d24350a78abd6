use std::sync::Arc;

use jiff::Timestamp;
use topicops_contract::{ClientRequest, Problems, Workload};

/// A workload with our label, trimmed to what access is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub workload: Workload,
    pub uid: String,
    pub created: Timestamp,
    /// It is going away: nothing new is provided, and all of it goes once it is gone.
    pub deleting: bool,
    /// `Ok(None)`: it asks for nothing.
    pub request: Result<Option<Arc<ClientRequest>>, Arc<Problems>>,
}
