//! The README's tables say what the code says.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // clippy knows tests by their functions, not by their file

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::Hash,
    path::{Path, PathBuf},
};

use clap::{Args, Command};
use prometheus_client::{encoding::text::encode, metrics::family::Family, registry::Registry};
use topicops::{
    Reason, Told,
    cli::{
        AccessSettings, ImportSettings, PlanSettings, PreflightSettings, RebalanceSettings, Settings,
        VerifySettings,
    },
    kafka::OwnRight,
    metrics::{
        DriftLabel, ItemErrorLabel, Metrics, OperationLabel, PassLabel, ReasonLabel, StateLabel, TroubleLabel,
    },
    topic::limits::TopicRules,
};
use topicops_contract::{KafkaTopicSource, SECRET_KEYS, keys};

/// The rows of the table below `heading` whose first column is called `column`, cell by cell.
fn table(heading: &str, column: &str) -> Vec<Vec<String>> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.lines().skip_while(|line| *line != heading).skip(1);
    let section: Vec<&str> = section.take_while(|line| !line.starts_with('#')).collect();
    let head = section.iter().position(|line| line.starts_with(&format!("| {column} |")));
    let head = head.unwrap_or_else(|| panic!("README.md has no table \"{column}\" under {heading}"));
    let rows = section[head + 2..].iter().take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What stands in backticks in a cell.
fn code(cell: &str) -> &str {
    let inner = cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    inner.unwrap_or_else(|| panic!("\"{cell}\" should stand in backticks"))
}

fn first_column(heading: &str, column: &str) -> Vec<String> {
    table(heading, column).iter().map(|row| code(&row[0]).to_owned()).collect()
}

#[test]
fn topic_keys_and_annotations_are_those_of_the_contract() {
    assert_eq!(first_column("### Topic ConfigMaps", "data key"), keys::data::ALL);
    assert_eq!(first_column("### Topic ConfigMaps", "annotation"), keys::topic::ALL);
}

#[test]
fn the_keys_of_a_policy_are_those_that_are_read() {
    assert_eq!(first_column("### Limits and defaults", "key"), TopicRules::keys());
}

#[test]
fn the_custom_resources_fields_are_those_of_the_contract() {
    let fields: Vec<String> = KafkaTopicSource::fields().collect();
    assert_eq!(first_column("### KafkaTopics", "field"), fields);
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&format!(
        "apiVersion: {}\nkind: {}",
        keys::kafka_topic::API_VERSION,
        keys::kafka_topic::KIND
    )));
}

#[test]
fn workload_annotations_are_those_of_the_contract() {
    assert_eq!(first_column("### Workloads", "annotation"), keys::client::ALL);
}

#[test]
fn the_secrets_keys_are_those_of_the_contract() {
    assert_eq!(first_column("### The Secret", "key"), SECRET_KEYS);
}

#[test]
fn what_is_injected_is_named_as_in_the_contract() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mount = format!("`{}/{}`", keys::injected::BINDING_ROOT, keys::injected::BINDING_NAME);
    let root_variable = format!("`SERVICE_BINDING_ROOT={}`", keys::injected::BINDING_ROOT);
    let volume = format!("`{}`", keys::injected::VOLUME);
    let topic_label = format!("`{}: {}`", keys::CONFIG_LABEL, keys::CONFIG_LABEL_TOPIC);
    let secret_label = format!("`{}: {}`", keys::CONFIG_LABEL, keys::CONFIG_LABEL_CREDENTIALS);
    let workload_label = format!("`{}: {}`", keys::INJECT_LABEL, keys::INJECT_LABEL_VALUE);
    for name in [mount, root_variable, volume, topic_label, secret_label, workload_label] {
        assert!(readme.contains(&name), "README.md does not name {name}");
    }
}

#[test]
fn settings_are_those_of_the_command_line() {
    let flags = flags(&Settings::augment_args(Command::new("run")));
    assert!(
        flags.iter().all(|[_, variable, _]| !variable.is_empty()),
        "every setting is an environment variable"
    );
    assert_eq!(documented_flags("### Settings", "flag"), flags);
}

#[test]
fn the_other_commands_flags_are_those_of_the_command_line() {
    let of = |command: &str| {
        documented_flags("### Topics that exist already", &format!("flag of `topicops {command}`"))
    };
    assert_eq!(of("import"), flags(&ImportSettings::augment_args(Command::new("import"))));
    assert_eq!(of("plan"), flags(&PlanSettings::augment_args(Command::new("plan"))));
    let of = |command: &str| {
        let heading = "### Ask who may do what, and whether it works";
        documented_flags(heading, &format!("flag of `topicops {command}`"))
    };
    assert_eq!(of("access"), flags(&AccessSettings::augment_args(Command::new("access"))));
    assert_eq!(of("verify"), flags(&VerifySettings::augment_args(Command::new("verify"))));
    let of_preflight = documented_flags("## Installing it", "flag of `topicops preflight`");
    assert_eq!(of_preflight, flags(&PreflightSettings::augment_args(Command::new("preflight"))));
    let of_rebalance = documented_flags("### Rebalance, and drain brokers", "flag of `topicops rebalance`");
    assert_eq!(of_rebalance, flags(&RebalanceSettings::augment_args(Command::new("rebalance"))));
}

/// Flag, variable and default of every option of a command.
fn flags(command: &Command) -> Vec<[String; 3]> {
    let options = command.get_arguments().filter(|argument| !argument.is_positional());
    let flags = options.map(|argument| {
        let defaults = argument.get_default_values().iter();
        let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy().into_owned()).collect();
        let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
        let flag = format!("--{}", argument.get_long().expect("every option has a long name"));
        [flag, variable.unwrap_or_default(), defaults.join(",")]
    });
    flags.collect()
}

fn documented_flags(heading: &str, column: &str) -> Vec<[String; 3]> {
    let code = |cell: &str| if cell.is_empty() { String::new() } else { code(cell).to_owned() };
    table(heading, column).iter().map(|row| [code(&row[0]), code(&row[1]), code(&row[2])]).collect()
}

#[test]
fn the_acls_of_topicops_are_those_that_it_needs() {
    let rows = table("## Installing it", "ACL of topicops");
    let documented: Vec<[&str; 3]> = rows.iter().map(|row| [code(&row[0]), code(&row[1]), &row[2]]).collect();
    let operations: Vec<String> =
        OwnRight::ALL.iter().map(|right| format!("{:?}", right.operation)).collect();
    let needed: Vec<[&str; 3]> = OwnRight::ALL
        .iter()
        .zip(&operations)
        .map(|(right, operation)| [operation.as_str(), right.option(), right.purpose])
        .collect();
    assert_eq!(documented, needed);
}

#[test]
fn metrics_are_those_of_the_registry() {
    let mut registry = Registry::default();
    Metrics::register(&mut registry);
    topicops_webhook::Metrics::register(registry.sub_registry_with_prefix("topicops"));
    let registered: BTreeSet<String> =
        described(&format!("{registry:?}")).into_iter().map(|name| format!("topicops_{name}")).collect();
    let documented: BTreeSet<String> = first_column("### Metrics", "metric")
        .iter()
        // What marks a counter is added when it is shown.
        .map(|name| name.strip_suffix("_total").unwrap_or(name).to_owned())
        .collect();
    assert_eq!(documented, registered);
}

#[test]
fn metrics_have_the_labels_that_stand_there() {
    let mut registry = Registry::default();
    show_all(&Metrics::register(&mut registry));
    topicops_webhook::Metrics::register(registry.sub_registry_with_prefix("topicops")).show_all();
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let documented: BTreeMap<String, BTreeSet<String>> = table("### Metrics", "metric")
        .iter()
        .map(|row| (code(&row[0]).to_owned(), documented_labels(&row[1])))
        .collect();
    assert_eq!(documented, labels(&text));
}

/// A sample of every metric that has labels: without one it is not shown.
fn show_all(metrics: &Metrics) {
    let state = StateLabel { state: "" };
    sample(&metrics.topics, &state);
    sample(&metrics.clients, &state);
    sample(&metrics.verifications, &state);
    sample(&metrics.moving_partitions, &state);
    sample(&metrics.moved_partitions, &state);
    sample(&metrics.refusals, &ReasonLabel { reason: "" });
    let pass = PassLabel { pass: "" };
    sample(&metrics.passes, &pass);
    sample(&metrics.pass_seconds, &pass);
    sample(&metrics.last_success_seconds, &pass);
    let operation = OperationLabel { operation: "" };
    sample(&metrics.changes, &operation);
    sample(&metrics.kafka_seconds, &operation);
    sample(&metrics.kafka_items, &operation);
    sample(&metrics.kafka_errors, &TroubleLabel { trouble: "" });
    sample(&metrics.kafka_item_errors, &ItemErrorLabel { operation: "", error: String::new() });
    sample(&metrics.drift, &DriftLabel { action: "", what: "" });
}

fn sample<L: Clone + Hash + Eq, M: Clone>(family: &Family<L, M>, labels: &L) {
    drop(family.get_or_create(labels));
}

/// The labels of each metric that is shown, but for those that say which bucket it is.
fn labels(exposition: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for sample in exposition.lines().filter(|line| !line.starts_with('#')) {
        let series = sample.rsplit_once(' ').unwrap().0;
        let (name, labels) =
            series.strip_suffix('}').and_then(|one| one.split_once('{')).unwrap_or((series, ""));
        let name =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let names =
            labels.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
        let known: &mut BTreeSet<String> = all.entry(name.to_owned()).or_default();
        known.extend(names.filter(|name| name != "le"));
    }
    all
}

/// The labels that a meaning names: what stands in backticks behind "by", without the values that stand in parentheses or
/// behind a colon.
fn documented_labels(meaning: &str) -> BTreeSet<String> {
    let Some((_, by)) = meaning.split_once("by `") else { return BTreeSet::new() };
    let by: String = format!("`{by}").split(':').take(1).collect();
    let outside = by.split(['(', ')']).step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn labels_are_told_from_their_values() {
    let read = |meaning| documented_labels(meaning).into_iter().collect::<Vec<_>>();
    assert_eq!(read("declared topics"), [""; 0]);
    assert_eq!(read("ended, by `state`: `moved`, or `replaced` by somebody else"), ["state"]);
    assert_eq!(read("by `action` (`corrected`, `reported`) and `what` (`config`)"), ["action", "what"]);
    assert_eq!(
        read("requests, by `webhook`, `operation` and `outcome`"),
        ["operation", "outcome", "webhook"]
    );
}

/// Names with units, from a registry's debug text: it shows nothing else of a metric that has no value yet.
fn described(registry: &str) -> Vec<String> {
    let descriptors = registry.split("Descriptor {").skip(1);
    descriptors
        .map(|descriptor| {
            let field = |name: &str| {
                let (_, rest) = descriptor.split_once(&format!(" {name}: ")).unwrap();
                rest.to_owned()
            };
            let name = field("name").split('"').nth(1).unwrap().to_owned();
            match field("unit").split([',', ' ', '}']).next().unwrap() {
                "None" => name,
                unit => {
                    let unit = unit.trim_start_matches("Some(").trim_end_matches(')').to_ascii_lowercase();
                    format!("{name}_{unit}")
                }
            }
        })
        .collect()
}

#[test]
fn reasons_are_those_that_the_code_can_give() {
    let given: Vec<[&str; 3]> = Reason::ALL
        .iter()
        .map(|reason| {
            let event = match reason.told() {
                Told::Quietly => "",
                Told::Normal => "Normal",
                Told::Warning => "Warning",
            };
            [reason.as_str(), reason.on(), event]
        })
        .collect();
    let documented = table("### Reasons", "reason");
    let documented: Vec<[&str; 3]> =
        documented.iter().map(|row| [code(&row[0]), row[1].as_str(), row[2].as_str()]).collect();
    assert_eq!(documented, given);
}

#[test]
fn every_reason_is_given_somewhere() {
    let sources: String = ["src/topic", "src/access", "src/controller"]
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
        .map(|file| given_in(&fs::read_to_string(file).unwrap()))
        .collect();
    for reason in Reason::ALL {
        let name = format!("Reason::{reason}");
        let used = sources.split(&name).skip(1).any(|rest| !rest.starts_with(char::is_alphanumeric));
        assert!(used, "{name} is given nowhere: the README explains what never happens");
    }
}

/// A source without its tests, and without what only compares with a reason or matches on it.
fn given_in(source: &str) -> String {
    let code = source.split("\n#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(|line| {
        let compares = ["matches!(", "== Reason::", "!= Reason::"].iter().any(|part| line.contains(part));
        let pattern =
            line.trim_end().ends_with('|') || line.trim_start().starts_with('|') && !line.contains("=>");
        let given = line.split_once("=>").map_or(line, |(_, given)| given);
        if compares || pattern { "\n".to_owned() } else { format!("{given}\n") }
    });
    lines.collect()
}

#[test]
fn a_reason_that_is_only_matched_on_is_not_given() {
    let source = "match reason {\n    Reason::A | Reason::B => Reason::C,\n    | Reason::D => {}\n}\nif it == Reason::E {}\n\
                  say(Reason::F)\n#[cfg(test)]\nmod tests { Reason::G }";
    let given = given_in(source);
    let named: Vec<&str> = ["A", "B", "C", "D", "E", "F", "G"]
        .into_iter()
        .filter(|name| given.contains(&format!("Reason::{name}")))
        .collect();
    assert_eq!(named, ["C", "F"]);
}

/// All source files below `folder` but those that hold tests alone.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") && !name.contains("test") {
            files.push(path);
        }
    }
    files
}
