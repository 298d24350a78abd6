use anyhow::Result;

use crate::{
    bench::Bench,
    clients::{NAMESPACE, create_all, declare_topic, names, until_there},
    idle::Idle,
    report::Report,
    row::Figure,
    setup::{Setup, thousands},
};

/// What looks at clients that nobody changes cost, and whom they ask for what.
///
/// # Errors
/// When topicops reads or writes Kubernetes meanwhile, or writes to a broker.
pub(crate) async fn run(setup: Setup) -> Result<Report> {
    let bench = &mut Bench::start(setup, true).await?;
    let Setup { n, brokers, .. } = setup;
    bench.say(format_args!("{}: declared and left alone", setup.title("clients")));
    bench.namespace(NAMESPACE).await?;
    bench.start_topicops(&[]).await?;
    declare_topic(bench).await?;
    create_all(bench, &names("idle", 0, n), true).await?;
    until_there(bench, n).await?;
    let idle = Idle::watch(bench, "access").await?;
    let shown = thousands(n);
    let mut figures = vec![Figure::new(format!("one look at all {shown} clients"), idle.seconds, "s")];
    figures.extend(idle.figures());
    let memory = format!("resident memory with {shown} clients, started anew");
    figures.push(Figure::new(memory, idle.usage.rss_mib, "MiB"));
    Ok(Report { title: setup.title("idle clients"), n, brokers, rounds: 1, rows: Vec::new(), figures })
}
