use clap::Args;
use topicops_contract::OperatorId;

use super::settings::namespace;

/// Which topicops is meant, for commands that run beside it.
#[derive(Args, Clone, Debug)]
pub struct Installation {
    /// The --operator-id that topicops has.
    #[arg(long, env = "TOPICOPS_OPERATOR_ID", default_value = "topicops")]
    pub operator_id: OperatorId,

    /// The namespace it runs in.
    #[arg(long, env = "TOPICOPS_NAMESPACE", default_value = "topicops", value_name = "NAMESPACE")]
    pub namespace: String,

    /// The namespaces that are looked after, as topicops run has it.
    #[arg(long, env = "TOPICOPS_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE,…", value_parser = namespace)]
    pub namespaces: Vec<String>,
}
