use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use topicops_contract::{DriftPolicy, NamePattern, OperatorId, Problem, RotateAfter};

use super::{byte_rate::byte_rate, client_flags::ClientFlags};
use crate::{
    access::GrantsMode,
    kafka::ScramMechanism,
    topic::{OwnerRule, PlanContext, RetentionSteps, limits::ByteSize},
};

/// How fast replicas are moved where nobody says so.
pub(super) const DEFAULT_MOVE_THROTTLE: &str = "50MB/s";

/// The settings of `topicops run`: each a flag and an environment variable.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Kafka client properties file with which topicops itself administers the brokers, as Java clients use it.
    #[arg(long, env = "TOPICOPS_KAFKA_CONFIG", value_name = "FILE")]
    pub kafka_config: PathBuf,

    /// First part of every Kafka user name made here; everything under it is topicops' to create and to remove. No dots.
    #[arg(long, env = "TOPICOPS_OPERATOR_ID", default_value = "topicops")]
    pub operator_id: OperatorId,

    /// The namespace topicops runs in: its CA, ledger and lease are kept there. Default: that of the Pod or kubeconfig.
    #[arg(long, env = "TOPICOPS_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// The namespaces that are looked after, comma-separated; nothing outside of them is seen or touched. Default: all.
    #[arg(long, env = "TOPICOPS_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE,…", value_parser = namespace)]
    pub namespaces: Vec<String>,

    /// Name of this replica, for its lease and its Events. Default: the host name.
    #[arg(long, env = "TOPICOPS_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// Who may use a topic that is declared: with namespace workloads of its namespace and those its ConfigMap names, with open everybody.
    #[arg(long, env = "TOPICOPS_GRANTS", value_enum, default_value = "namespace")]
    pub grants: Grants,

    /// What admission does about a workload that would not get all it asks for: warn or deny.
    #[arg(long, env = "TOPICOPS_ADMISSION", value_enum, default_value = "warn")]
    pub admission: Admission,

    /// Which namespaces may own topics that exist already and that nobody declares: namespace=topic-pattern, comma-separated; *=*
    /// for one tenant.
    #[arg(long, env = "TOPICOPS_TOPIC_OWNERS", value_delimiter = ',', value_name = "NAMESPACE=PATTERN")]
    pub topic_owners: Vec<OwnerRule>,

    /// Topics that are never touched, beside those that begin with __: names or prefix*, comma-separated.
    #[arg(long, env = "TOPICOPS_PROTECTED_TOPICS", value_delimiter = ',', value_name = "PATTERN", value_parser = pattern)]
    pub protected_topics: Vec<NamePattern>,

    /// What is done about topics that somebody changed on the brokers.
    #[arg(long, env = "TOPICOPS_DRIFT", value_enum, default_value = "correct")]
    pub drift: Drift,

    /// Partitions that a topic may be declared with at most.
    #[arg(long, env = "TOPICOPS_MAX_PARTITIONS", default_value_t = 1000, value_parser = clap::value_parser!(i32).range(1..=10000))]
    pub max_partitions: i32,

    /// Policy file: limits and defaults for topics and quotas, as YAML. It is read again when it changes; never there: no limits.
    #[arg(long, env = "TOPICOPS_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Bytes per second that a broker copies, or is copied from, at most while replicas are moved: 50MB/s, 64MiB/s; 0 is as fast as it can.
    #[arg(long, env = "TOPICOPS_MOVE_THROTTLE", default_value = DEFAULT_MOVE_THROTTLE, value_parser = byte_rate, value_name = "RATE")]
    pub move_throttle: u64,

    /// Partitions that are moved at the same time at most.
    #[arg(long, env = "TOPICOPS_MOVE_BATCH", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub move_batch: u32,

    #[command(flatten)]
    pub clients: ClientFlags,

    /// Iterations of the SCRAM credentials made here; Kafka takes 4096 to 16384.
    #[arg(long, env = "TOPICOPS_SCRAM_ITERATIONS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(4096..=16384))]
    pub scram_iterations: u32,

    /// Where the webhook listens, with TLS.
    #[arg(long, env = "TOPICOPS_WEBHOOK_LISTEN", default_value = "0.0.0.0:9443", value_name = "ADDR")]
    pub webhook_listen: SocketAddr,

    /// Registers the webhook by this URL instead of by its Service; for a topicops outside the cluster.
    #[arg(long, env = "TOPICOPS_WEBHOOK_URL", value_name = "URL")]
    pub webhook_url: Option<String>,

    /// The Service through which the API server calls the webhook: the certificate is for its names.
    #[arg(long, env = "TOPICOPS_WEBHOOK_SERVICE", default_value = "topicops", value_name = "NAME")]
    pub webhook_service: String,

    /// The webhook configurations (mutating and validating) whose caBundle is kept; they are never created.
    #[arg(
        long,
        env = "TOPICOPS_WEBHOOK_CONFIGURATION",
        default_value = "topicops",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    pub webhook_configuration: Vec<String>,

    /// Lowest TLS version of the webhook.
    #[arg(long, env = "TOPICOPS_TLS_MIN", value_enum, default_value = "1.3")]
    pub tls_min: TlsMin,

    /// Where /metrics, /livez and /readyz are served, without TLS.
    #[arg(long, env = "TOPICOPS_METRICS_LISTEN", default_value = "0.0.0.0:9889", value_name = "ADDR")]
    pub metrics_listen: SocketAddr,

    /// How often everything is compared with the brokers, whether it changed or not.
    #[arg(long, env = "TOPICOPS_RESYNC", default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub resync: Duration,

    /// How old credentials become before they are made anew, of workloads that do not say: 30d, or never.
    #[arg(long, env = "TOPICOPS_ROTATE_AFTER", default_value = "never", value_parser = rotate_after, value_name = "DURATION")]
    pub rotate_after: RotateAfter,

    /// What each step of a large cut in retention keeps of the present value; 0% makes every cut at once.
    #[arg(long, env = "TOPICOPS_RETENTION_STEP", default_value = "50%", value_parser = kept, value_name = "PERCENT")]
    pub retention_step: u8,

    /// How long the brokers have for one step of a large cut in retention: more than their log.retention.check.interval.ms.
    #[arg(long, env = "TOPICOPS_RETENTION_STEP_INTERVAL", default_value = "6m", value_parser = duration, value_name = "DURATION")]
    pub retention_step_interval: Duration,

    /// Topics that take no more bytes than this on any one broker have their retention cut at once.
    #[arg(long, env = "TOPICOPS_RETENTION_STEP_ABOVE", default_value = "10Gi", value_name = "BYTES")]
    pub retention_step_above: ByteSize,

    /// Between SIGTERM and the end of new connections: the time in which the API server and load balancers notice.
    #[arg(long, env = "TOPICOPS_SHUTDOWN_DELAY", default_value = "3s", value_parser = duration, value_name = "DURATION")]
    pub shutdown_delay: Duration,

    /// How long requests under way may take to end after that.
    #[arg(long, env = "TOPICOPS_SHUTDOWN_DRAIN", default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub shutdown_drain: Duration,

    #[arg(long, env = "TOPICOPS_LOG_FORMAT", value_enum, default_value = "human")]
    pub log_format: LogFormat,

    /// What is logged: a level, or target=level pairs as in RUST_LOG.
    #[arg(long, env = "TOPICOPS_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

impl Settings {
    /// What topics are planned under, as far as flags decide it.
    pub fn plan_context(&self) -> PlanContext {
        PlanContext { drift: self.drift.into(), steps: self.retention_steps(), ..PlanContext::default() }
    }

    /// How large cuts in retention are made.
    fn retention_steps(&self) -> RetentionSteps {
        RetentionSteps {
            keep_percent: self.retention_step,
            interval: i64::try_from(self.retention_step_interval.as_secs()).unwrap_or(i64::MAX),
            above: u64::try_from(self.retention_step_above.bytes()).unwrap_or(0),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Grants {
    Namespace,
    Open,
}

impl From<Grants> for GrantsMode {
    fn from(grants: Grants) -> Self {
        match grants {
            Grants::Namespace => Self::Namespace,
            Grants::Open => Self::Open,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Admission {
    Warn,
    Deny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Drift {
    Correct,
    Report,
}

impl From<Drift> for DriftPolicy {
    fn from(drift: Drift) -> Self {
        match drift {
            Drift::Correct => Self::Correct,
            Drift::Report => Self::Report,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientSaslMechanism {
    #[value(name = "SCRAM-SHA-512")]
    Sha512,
    #[value(name = "SCRAM-SHA-256")]
    Sha256,
}

impl fmt::Display for ClientSaslMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha512 => ScramMechanism::Sha512.fmt(f),
            Self::Sha256 => ScramMechanism::Sha256.fmt(f),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientSecurityProtocol {
    #[value(name = "SASL_SSL")]
    SaslSsl,
    #[value(name = "SASL_PLAINTEXT")]
    SaslPlaintext,
}

impl ClientSecurityProtocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SaslSsl => "SASL_SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsMin {
    #[value(name = "1.2")]
    V1_2,
    #[value(name = "1.3")]
    V1_3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Human,
    Json,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no duration: write 30s, 5m, 1h30m");
    let duration: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}

fn rotate_after(text: &str) -> Result<RotateAfter, String> {
    text.parse().map_err(|problem: Problem| format!("\"{text}\": {}", problem.expected))
}

fn kept(text: &str) -> Result<u8, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
    percent
        .filter(|percent| *percent <= 90)
        .ok_or_else(|| format!("\"{text}\" is no percentage from 0% to 90%"))
}

/// As Kubernetes names them: one that is misspelt would be looked after in vain.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let name = text.trim();
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_name = name.len() <= 63
        && name.chars().all(legal)
        && ends(name.chars().next())
        && ends(name.chars().next_back());
    if is_name { Ok(name.to_owned()) } else { Err(format!("\"{text}\" is no name of a namespace")) }
}

#[allow(clippy::unnecessary_wraps)]
pub(super) fn pattern(text: &str) -> Result<NamePattern, String> {
    let pattern = NamePattern::read(text.trim());
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if pattern.text().chars().all(legal) && !text.trim().is_empty() {
        Ok(pattern)
    } else {
        Err(format!("\"{text}\" is no topic name or prefix*"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn wrong_flags_are_refused_with_the_value_in_the_message() {
        for (flag, value) in [
            ("--operator-id", "a.b"),
            ("--namespaces", "shop,Billing"),
            ("--namespaces", "shop,-billing"),
            ("--namespaces", "team-*"),
            ("--topic-owners", "shop"),
            ("--protected-topics", "a b"),
            ("--resync", "soon"),
            ("--rotate-after", "5m"),
            ("--move-throttle", "fast"),
            ("--move-batch", "0"),
            ("--retention-step", "91%"),
            ("--retention-step-above", "10 GB"),
            ("--scram-iterations", "100"),
            ("--webhook-listen", "nowhere"),
            ("--grants", "all"),
        ] {
            let error =
                Command::try_parse_from(["t", "--kafka-config", "f", flag, value]).unwrap_err().to_string();
            let named = value.rsplit(',').next().unwrap_or(value);
            assert!(error.contains(named) && error.contains(flag), "{error}");
        }
    }

    #[test]
    fn lists_and_durations_are_read() {
        let args = [
            "t",
            "--kafka-config",
            "f",
            "--topic-owners",
            "a=x*,b=*",
            "--resync",
            "1m30s",
            "--namespaces",
            "a, b",
        ];
        let settings = Command::parse_from(args).settings;
        assert_eq!(settings.topic_owners.len(), 2);
        assert_eq!(settings.namespaces, ["a", "b"]);
        assert_eq!(settings.resync, Duration::from_secs(90));
    }

    #[test]
    fn what_is_planned_under_is_what_the_flags_say() {
        let context = |flags: &[&str]| {
            let args = ["t", "--kafka-config", "f"].iter().chain(flags);
            Command::parse_from(args).settings.plan_context()
        };
        assert_eq!(context(&[]).drift, DriftPolicy::Correct);
        assert_eq!(context(&["--drift=correct"]).drift, DriftPolicy::Correct);
        assert_eq!(context(&["--drift=report"]).drift, DriftPolicy::Report);
        let steps = ["--retention-step=20%", "--retention-step-interval=3s", "--retention-step-above=1Ki"];
        let expected = RetentionSteps { keep_percent: 20, interval: 3, above: 1024 };
        assert_eq!(context(&steps).steps, expected);
    }
}
