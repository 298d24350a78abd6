/// A cut in retention that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionStepping {
    /// `retention.ms` or `retention.bytes`.
    pub key: String,
    /// Its value once the plan is carried out.
    pub now: i64,
    pub target: i64,
    /// Steps from now to the target.
    pub left: u32,
    /// When the next of them is due, in Unix seconds.
    pub next_at: i64,
}
