use std::{
    cell::Cell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Error, Result, ensure};
use topicops_testbed::{RequestLog, wait};

use crate::{
    bench::Bench,
    process::Usage,
    report::Report,
    row::Figure,
    setup::{Setup, thousands},
    topics::{NAMESPACE, create_all, names, topic_names, until_shown},
};

/// Often enough to be waited for; what a pass does depends on nothing but what there is.
const RESYNC: &str = "--resync=10s";
const FIRST_LOOKS: u8 = 2;
const LOOKS: u8 = 3;
/// Passes of one look follow each other at once.
const SILENCE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);
const ACCOUNT: &str = "system:serviceaccount:topicops:topicops";

/// What looks at topics that nobody changes cost, and whom they ask for what.
///
/// # Errors
/// When topicops reads or writes Kubernetes meanwhile, or writes to a broker.
pub(crate) async fn run(setup: Setup) -> Result<Report> {
    let bench = &mut Bench::start(setup, true).await?;
    let Setup { n, brokers, .. } = setup;
    bench.namespace(NAMESPACE).await?;
    bench.say(format_args!("{}: declared and left alone", setup.title("topics")));
    bench.start_topicops(&[]).await?;
    let names = names("idle", 0, n);
    create_all(bench, &names, true).await?;
    until_shown(bench.cluster.as_ref(), &topic_names(&names)?, Some("3600000")).await?;
    bench.until_quiet().await?;
    let declared = bench.usage()?;

    let idle = Idle::watch(bench, "topics").await?;
    let shown = thousands(n);
    let whole = Figure::new(format!("one look at all {shown} topics"), idle.seconds, "s");
    let memory =
        Figure::new(format!("resident memory with {shown} topics, started anew"), idle.usage.rss_mib, "MiB");
    let mut figures = vec![if n == 10_000 { whole.aim(2.0) } else { whole }];
    figures.extend(idle.figures());
    figures.extend([
        Figure::new(format!("resident memory after declaring {shown} topics"), declared.rss_mib, "MiB"),
        if n == 10_000 { memory.aim(80.0) } else { memory },
        Figure::new("resident memory at its peak, started anew", idle.usage.peak_mib, "MiB"),
        Figure::new("of it the program's own file", idle.usage.file_mib, "MiB"),
    ]);
    Ok(Report { title: setup.title("idle topics"), n, brokers, rounds: 1, rows: Vec::new(), figures })
}

/// What looks at what nobody changes come to, each on average.
pub(crate) struct Idle {
    pub(crate) seconds: f64,
    pub(crate) usage: Usage,
    passes: f64,
    reads: f64,
}

impl Idle {
    /// Starts topicops anew and counts what it asks for while it looks again and again.
    ///
    /// # Errors
    /// As [`run`].
    pub(crate) async fn watch(bench: &mut Bench, pass: &str) -> Result<Self> {
        bench.stop_topicops().await?;
        bench.start_topicops(&[RESYNC]).await?;
        // What the new process finds wanting, and its first look at everything, are none of an idle pass.
        for _ in 0..FIRST_LOOKS {
            look(bench, pass).await?;
        }
        let requests = bench.requests()?;
        let before = Passes::of(bench, pass).await?;
        for _ in 0..LOOKS {
            look(bench, pass).await?;
        }
        let after = Passes::of(bench, pass).await?;
        let usage = bench.usage()?;
        let asked = Asked::of(&requests)?;
        for (what, count) in asked.standing.iter().chain(&asked.kafka) {
            bench.say(format_args!("{count:6}  {what}"));
        }
        let each = |sum: f64| sum / f64::from(LOOKS);
        Ok(Self {
            seconds: each(after.seconds - before.seconds),
            usage,
            passes: each(after.count - before.count),
            reads: each(asked.reads),
        })
    }

    pub(crate) fn figures(&self) -> [Figure; 4] {
        [
            Figure::new("passes that this takes", self.passes, ""),
            Figure::new("requests to the API server meanwhile, renewals of the lease aside", 0.0, "")
                .aim(0.0),
            Figure::new("requests to the brokers that write", 0.0, "").aim(0.0),
            Figure::new("requests to the brokers that read, for each look", self.reads, ""),
        ]
    }
}

/// Waits until topicops has looked at everything once more, and rests again.
async fn look(bench: &Bench, pass: &str) -> Result<()> {
    let before = Passes::of(bench, pass).await?.count;
    let last = Cell::new((before, Instant::now()));
    wait::until(format!("another look at all {pass}"), PATIENCE, || async {
        let now = Passes::of(bench, pass).await?.count;
        if now > last.get().0 {
            last.set((now, Instant::now()));
        }
        ensure!(now > before && last.get().1.elapsed() > SILENCE, "{now} passes, {before} before");
        Ok::<_, Error>(())
    })
    .await
}

/// Passes of a kind since topicops began.
struct Passes {
    count: f64,
    seconds: f64,
}

impl Passes {
    async fn of(bench: &Bench, pass: &str) -> Result<Self> {
        let topicops = bench.topicops()?;
        let name = |part: &str| format!("topicops_pass_duration_seconds_{part}{{pass=\"{pass}\"}}");
        Ok(Self {
            count: topicops.metric(&name("count")).await?,
            seconds: topicops.metric(&name("sum")).await?,
        })
    }
}

/// Who was asked for what, and how often.
struct Asked {
    kubernetes: BTreeMap<String, usize>,
    /// Renewals of the Lease, which tell whether the API server answers, and watches that begin anew.
    standing: BTreeMap<String, usize>,
    kafka: BTreeMap<String, usize>,
    /// Those that speak of topics, users and rules: without opening connections.
    reads: f64,
}

impl Asked {
    /// # Errors
    /// When anything was asked for that an idle topicops has no need of.
    fn of(requests: &RequestLog) -> Result<Self> {
        let mut asked = Self {
            kubernetes: BTreeMap::new(),
            standing: BTreeMap::new(),
            kafka: BTreeMap::new(),
            reads: 0.0,
        };
        for request in requests.api_server()?.into_iter().filter(|request| request.user == ACCOUNT) {
            let standing = request.resource == "leases" || request.verb == "watch";
            let into = if standing { &mut asked.standing } else { &mut asked.kubernetes };
            *into.entry(request.to_string()).or_default() += 1;
        }
        for request in requests.brokers()?.into_iter().filter(|request| request.client_id == "topicops") {
            ensure!(request.only_looks(), "idle, and yet a broker was asked for {request:?}");
            asked.reads += if request.opens_a_connection() { 0.0 } else { 1.0 };
            *asked.kafka.entry(request.api).or_default() += 1;
        }
        ensure!(asked.kubernetes.is_empty(), "idle, and yet Kubernetes was asked for {:?}", asked.kubernetes);
        ensure!(asked.kafka.contains_key("METADATA"), "the brokers noted no request: {:?}", asked.kafka);
        Ok(asked)
    }
}
