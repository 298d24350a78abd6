//! The manifests and the image fit the program they are for. (That they work is for the tests on a real API server.)
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // clippy knows tests by their functions, not by their file

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use clap::Parser;
use serde::Deserialize as _;
use serde_json::Value;
use topicops::{cli::Settings, kafka::OwnRight, topic::limits::TopicRules};
use topicops_contract::{
    ClientRequest, KafkaTopicSource, KafkaTopicStatus, State, Status, TopicManifest, TopicSource, Workload,
    WorkloadKind,
    keys::{self, kafka_topic},
};

#[derive(Debug, Parser)]
struct Run {
    #[command(flatten)]
    settings: Settings,
}

fn deploy(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// Every object of every YAML file of a folder.
fn objects(folder: &str) -> Vec<Value> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(deploy(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut objects = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for document in serde_norway::Deserializer::from_str(&text) {
            let object = Value::deserialize(document);
            objects.push(object.unwrap_or_else(|error| panic!("{}: {error}", file.display())));
        }
    }
    objects
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

#[test]
fn the_deployments_flags_and_variables_are_settings_of_this_version() {
    let objects = objects("install");
    let container = &find(&objects, "Deployment", "topicops")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], concat!("ghcr.io/topicops/topicops:", env!("CARGO_PKG_VERSION")));

    let mut arguments: Vec<String> = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|argument| argument.as_str().unwrap().replace("$(POD_IP)", "10.1.2.3"))
        .collect();
    assert_eq!(arguments[0], "run");
    // A variable is a flag by another name: TOPICOPS_KAFKA_CONFIG is --kafka-config.
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        let Some(flag) = name.strip_prefix("TOPICOPS_") else {
            assert_eq!(name, "POD_IP");
            continue;
        };
        let flag = flag.to_ascii_lowercase().replace('_', "-");
        arguments.push(format!("--{flag}={}", variable["value"].as_str().unwrap_or("value")));
    }
    let settings = Run::try_parse_from(&arguments).unwrap().settings;
    assert_eq!(settings.webhook_listen.to_string(), "10.1.2.3:9443");
    assert_eq!(settings.metrics_listen.to_string(), "10.1.2.3:9889");

    let mounts = container["volumeMounts"].as_array().unwrap();
    let mounted = |name: &str| {
        let mount = mounts.iter().find(|mount| mount["name"] == name);
        mount.and_then(|mount| mount["mountPath"].as_str()).unwrap()
    };
    assert!(settings.kafka_config.starts_with(mounted("kafka")));
    let policy = settings.policy.unwrap();
    assert!(policy.starts_with(mounted("policy")));
    let example = policy_of_the_examples();
    assert!(example["data"].get(policy.file_name().unwrap().to_str().unwrap()).is_some());
    let volumes = pod_spec(&objects)["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "policy").unwrap();
    assert_eq!(volume["configMap"]["name"], example["metadata"]["name"]);
    assert_eq!(volume["configMap"]["optional"], true);
}

fn pod_spec(objects: &[Value]) -> &Value {
    &find(objects, "Deployment", "topicops")["spec"]["template"]["spec"]
}

fn policy_of_the_examples() -> Value {
    find(&objects("examples"), "ConfigMap", "topicops-policy").clone()
}

#[test]
fn the_example_of_a_policy_is_one_and_the_other_examples_keep_to_it() {
    let text = policy_of_the_examples()["data"]["policy.yaml"].as_str().unwrap().to_owned();
    let rules = TopicRules::parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
    for object in objects("examples") {
        let metadata = &object["metadata"];
        if metadata["labels"]["config"] == "kafka-topic" {
            let (name, namespace) =
                (metadata["name"].as_str().unwrap(), metadata["namespace"].as_str().unwrap());
            let data = strings(&object["data"]);
            let source = TopicSource { name, annotations: &BTreeMap::new(), data: &data, binary_keys: &[] };
            let judged = rules.of(namespace).judge(&Arc::new(TopicManifest::parse(source).unwrap()), None);
            let outside = [judged.refused, judged.warned].concat();
            assert!(outside.is_empty() && judged.adjusted.is_empty(), "{name}: {outside:?}");
        }
    }
}

#[test]
fn a_replica_has_the_time_it_takes_to_end() {
    let objects = objects("install");
    let pod = &find(&objects, "Deployment", "topicops")["spec"]["template"]["spec"];
    let settings = Run::parse_from(["run", "--kafka-config", "f"]).settings;
    let needed = settings.shutdown_delay + settings.shutdown_drain;
    let given = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(given > needed.as_secs() + 5, "{given} s for an end that may take {needed:?}");
}

#[test]
fn the_webhooks_lead_to_the_paths_that_are_served() {
    let objects = objects("install");
    let settings = Run::parse_from(["run", "--kafka-config", "f"]).settings;
    for (kind, path) in [
        ("MutatingWebhookConfiguration", topicops_webhook::MUTATE_PATH),
        ("ValidatingWebhookConfiguration", topicops_webhook::VALIDATE_PATH),
    ] {
        for webhook in
            find(&objects, kind, &settings.webhook_configuration[0])["webhooks"].as_array().unwrap()
        {
            let config = &webhook["clientConfig"];
            assert_eq!(config["service"]["path"], path);
            assert_eq!(config["service"]["name"], settings.webhook_service.as_str());
            assert!(config.get("caBundle").is_none(), "topicops writes the caBundle itself");
        }
    }
    let service = find(&objects, "Service", &settings.webhook_service);
    let container = &find(&objects, "Deployment", "topicops")["spec"]["template"]["spec"]["containers"][0];
    let ports = container["ports"].as_array().unwrap();
    let target = ports.iter().find(|port| port["name"] == service["spec"]["ports"][0]["targetPort"]).unwrap();
    assert_eq!(target["containerPort"], settings.webhook_listen.port());
}

#[test]
fn the_script_gives_topicops_the_acls_that_it_needs_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let stub = folder.path().join("kafka-acls.sh");
    fs::write(&stub, "#!/bin/sh\necho \"$@\"\n").unwrap();
    fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
    let script = |arguments: &[&str]| {
        let mut command = Command::new(deploy("kafka-acls.sh"));
        command.args(arguments).env("KAFKA_ACLS", &stub).output().unwrap()
    };
    let output = script(&["User:t", "--bootstrap-server", "b:1"]);
    assert!(output.status.success(), "{output:?}");
    let mut given = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let rest = line.strip_prefix("--bootstrap-server b:1 --add --allow-principal User:t ").unwrap();
        let (resource, operations) = rest.split_once(" --operation ").unwrap();
        given.extend(operations.split(" --operation ").map(|one| format!("{one} {resource}")));
    }
    let needed = OwnRight::ALL.iter();
    let needed: Vec<String> =
        needed.map(|right| format!("{:?} {}", right.operation, right.option().replace('\'', ""))).collect();
    assert_eq!(given, needed);
    for wrong in [&[][..], &["topicops"], &["--bootstrap-server", "b:1"]] {
        let output = script(wrong);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn prometheus_finds_the_metrics_of_every_replica_by_a_service() {
    let objects = objects("install");
    let settings = Run::parse_from(["run", "--kafka-config", "f"]).settings;
    let spec = &find(&objects, "Service", "topicops-metrics")["spec"];
    let labels = &find(&objects, "Deployment", "topicops")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(spec["selector"], *labels);
    assert_eq!(spec["publishNotReadyAddresses"], true);
    let port = &spec["ports"][0];
    assert_eq!(
        (&port["name"], port["port"].as_u64()),
        (&"metrics".into(), Some(settings.metrics_listen.port().into()))
    );
    let container = &pod_spec(&objects)["containers"][0];
    let target = container["ports"].as_array().unwrap().iter().find(|one| one["name"] == port["targetPort"]);
    assert_eq!(target.unwrap()["containerPort"], settings.metrics_listen.port());
}

#[test]
fn who_may_edit_or_view_a_namespace_may_so_do_with_its_kafka_topics() {
    let objects = objects("install");
    let reading = BTreeSet::from(["get", "list", "watch"]);
    let writing = BTreeSet::from(["create", "update", "patch", "delete", "deletecollection"]);
    for (name, roles, verbs) in [
        ("topicops-kafkatopics-view", &["view"][..], reading.clone()),
        ("topicops-kafkatopics-edit", &["admin", "edit"][..], &reading | &writing),
    ] {
        let role = find(&objects, "ClusterRole", name);
        let labels = strings(&role["metadata"]["labels"]);
        let aggregated: Vec<&str> = labels
            .keys()
            .filter_map(|key| key.strip_prefix("rbac.authorization.k8s.io/aggregate-to-"))
            .collect();
        assert_eq!(aggregated, roles, "{name}");
        let rules = role["rules"].as_array().unwrap();
        assert_eq!(rules.len(), 1, "{name}");
        assert_eq!(rules[0]["apiGroups"], serde_json::json!([kafka_topic::GROUP]));
        assert_eq!(rules[0]["resources"], serde_json::json!([kafka_topic::PLURAL]), "nothing of the status");
        let given: BTreeSet<&str> =
            rules[0]["verbs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(given, verbs, "{name}");
    }
}

/// The rights that a role gives, one for each group, resource, name and verb.
fn rights(role: &Value) -> BTreeSet<String> {
    let strings = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let names = strings(&rule["resourceNames"]).join(" ");
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                let verbs = strings(&rule["verbs"]);
                rights.extend(verbs.iter().map(|verb| format!("{verb} {group}/{resource} {names}")));
            }
        }
    }
    rights
}

#[test]
fn an_installation_for_some_namespaces_has_the_same_rights_in_these_and_next_to_none_elsewhere() {
    let (all, some) = (objects("install"), objects("namespaced"));
    let everywhere = rights(find(&all, "ClusterRole", "topicops"));
    let cluster = rights(find(&some, "ClusterRole", "topicops-namespaced"));
    let here = rights(find(&some, "Role", "topicops-namespace"));
    let both: BTreeSet<String> = cluster.union(&here).cloned().collect();
    assert_eq!(both, everywhere);
    assert!(cluster.is_disjoint(&here));
    for right in &cluster {
        let is_small = right == "get /namespaces " || right.contains("webhookconfigurations topicops");
        assert!(is_small, "{right} in all namespaces");
    }
    // In its own namespace, what the ClusterRole gave of ConfigMaps is given by the Role.
    let own = rights(find(&all, "Role", "topicops"));
    let config_maps = everywhere.iter().filter(|right| right.contains(" /configmaps ")).cloned().collect();
    assert_eq!(rights(find(&some, "Role", "topicops")), &own | &config_maps);
    for name in ["topicops-kafkatopics-edit", "topicops-kafkatopics-view"] {
        assert_eq!(find(&some, "ClusterRole", name), find(&all, "ClusterRole", name));
    }
    // To apply one file where the other belongs changes nothing of what that gives.
    for object in some.iter().filter(|object| object["kind"].as_str().unwrap().starts_with("ClusterRole")) {
        let shared = all.iter().any(|one| {
            one["kind"] == object["kind"]
                && one["metadata"]["name"] == object["metadata"]["name"]
                && one != object
        });
        assert!(!shared, "{} stands in both and is not the same", object["metadata"]["name"]);
    }
    for binding in some.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Binding")) {
        assert_eq!(
            binding["subjects"],
            serde_json::json!([{ "kind": "ServiceAccount", "name": "topicops", "namespace": "topicops" }])
        );
    }
}

#[test]
fn pods_are_asked_about_like_workloads_but_only_when_somebody_makes_them() {
    let objects = objects("install");
    let webhooks = &find(&objects, "MutatingWebhookConfiguration", "topicops")["webhooks"];
    let (workloads, pods) = (&webhooks[0], &webhooks[1]);
    for field in [
        "clientConfig",
        "objectSelector",
        "namespaceSelector",
        "failurePolicy",
        "reinvocationPolicy",
        "matchPolicy",
        "sideEffects",
        "timeoutSeconds",
    ] {
        assert_eq!(workloads[field], pods[field], "{field}");
    }
    let rules = |webhook: &Value| -> BTreeSet<(String, String)> {
        let rules = webhook["rules"].as_array().unwrap().iter();
        let of = |rule: &Value| {
            let group = rule["apiGroups"][0].as_str().unwrap().to_owned();
            let resources = rule["resources"].as_array().unwrap().clone();
            resources.into_iter().map(move |resource| (group.clone(), resource.as_str().unwrap().to_owned()))
        };
        rules.flat_map(of).collect()
    };
    let expected: BTreeSet<(String, String)> = WorkloadKind::ALL
        .into_iter()
        .map(|kind| (kind.group().to_owned(), format!("{}s", kind.as_str().to_ascii_lowercase())))
        .collect();
    assert_eq!(&rules(workloads) | &rules(pods), expected);
    assert_eq!(rules(pods), BTreeSet::from([(String::new(), "pods".to_owned())]));
    assert_eq!(pods["rules"][0]["operations"], serde_json::json!(["CREATE"]));
    assert!(pods["matchConditions"][0]["expression"].as_str().unwrap().contains("ownerReferences"));
}

#[test]
fn the_selectors_are_the_labels_of_the_contract() {
    let objects = objects("install");
    for (kind, label, value) in [
        ("MutatingWebhookConfiguration", keys::INJECT_LABEL, keys::INJECT_LABEL_VALUE),
        ("ValidatingWebhookConfiguration", keys::CONFIG_LABEL, keys::CONFIG_LABEL_TOPIC),
    ] {
        let selector = &find(&objects, kind, "topicops")["webhooks"][0]["objectSelector"]["matchLabels"];
        assert_eq!(strings(selector), BTreeMap::from([(label.to_owned(), value.to_owned())]));
    }
}

#[test]
fn the_custom_resources_schema_has_the_fields_that_are_read_and_written() {
    let objects = objects("install");
    let name = format!("{}.{}", kafka_topic::PLURAL, kafka_topic::GROUP);
    let spec = &find(&objects, "CustomResourceDefinition", &name)["spec"];
    assert_eq!(
        (spec["group"].as_str(), spec["scope"].as_str()),
        (Some(kafka_topic::GROUP), Some("Namespaced"))
    );
    assert_eq!(spec["names"]["plural"], kafka_topic::PLURAL);
    assert_eq!(spec["names"]["kind"], kafka_topic::KIND);
    let version = &spec["versions"][0];
    assert_eq!(version["name"], kafka_topic::VERSION);
    assert_eq!(kafka_topic::API_VERSION, format!("{}/{}", kafka_topic::GROUP, kafka_topic::VERSION));

    let schema = &version["schema"]["openAPIV3Schema"]["properties"];
    let names = |of: &Value| -> BTreeSet<String> { of.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(names(&schema["spec"]["properties"]), KafkaTopicSource::fields().collect());
    let status = Status {
        state: State::Ready,
        reason: "InSync".to_owned(),
        message: String::new(),
        hash: "1".to_owned(),
        topic_id: Some("id".to_owned()),
        partitions: Some(1),
        replication_factor: Some(1),
        time: "2026-11-21T12:00:00Z".to_owned(),
    };
    let written =
        serde_json::to_value(KafkaTopicStatus::of(&status, Some(&"orders".parse().unwrap()))).unwrap();
    assert_eq!(names(&schema["status"]["properties"]), names(&written));
    let condition = &schema["status"]["properties"]["conditions"]["items"]["properties"];
    assert_eq!(names(condition), names(&written["conditions"][0]));
    for text in [&schema["spec"], &schema["status"]] {
        for (field, schema) in text["properties"].as_object().unwrap() {
            assert!(schema["description"].is_string(), "kubectl explain has nothing to say of {field}");
        }
    }

    let webhook = &find(&objects, "ValidatingWebhookConfiguration", "topicops")["webhooks"][1];
    assert_eq!(webhook["rules"][0]["apiGroups"][0], kafka_topic::GROUP);
    assert_eq!(webhook["rules"][0]["apiVersions"][0], kafka_topic::VERSION);
    assert_eq!(webhook["rules"][0]["resources"][0], kafka_topic::PLURAL);
    assert!(webhook.get("objectSelector").is_none(), "a KafkaTopic needs no label");
}

#[test]
fn the_examples_keep_to_the_contract() {
    let (mut topics, mut custom, mut workloads) = (0, 0, 0);
    for object in objects("examples") {
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap();
        let annotations = strings(&metadata["annotations"]);
        match object["kind"].as_str().unwrap() {
            "ConfigMap" if name == "topicops-policy" => {}
            "ConfigMap" => {
                let data = strings(&object["data"]);
                let source = TopicSource { name, annotations: &annotations, data: &data, binary_keys: &[] };
                TopicManifest::parse(source).unwrap_or_else(|problems| panic!("{name}: {problems}"));
                topics += 1;
            }
            "KafkaTopic" => {
                let source = KafkaTopicSource { name, annotations: &annotations, spec: &object["spec"] };
                TopicManifest::parse(source).unwrap_or_else(|problems| panic!("{name}: {problems}"));
                assert_eq!(object["apiVersion"], kafka_topic::API_VERSION);
                custom += 1;
            }
            "Deployment" => {
                assert!(ClientRequest::is_labelled(&strings(&metadata["labels"])));
                let namespace = metadata["namespace"].as_str().unwrap();
                let workload = Workload::new(namespace, WorkloadKind::Deployment, name);
                let request = ClientRequest::parse(workload, &annotations);
                assert!(request.unwrap_or_else(|problems| panic!("{name}: {problems}")).is_some());
                workloads += 1;
            }
            "Namespace" => {}
            other => panic!("an example of kind {other} is checked by nobody"),
        }
    }
    assert_eq!((topics, custom, workloads), (7, 1, 4));
}

#[test]
fn debian_has_the_packages_that_the_image_is_made_of() {
    let dockerfile = fs::read_to_string(deploy("Dockerfile")).unwrap();
    let packages: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.split_once("--no-install-recommends "))
        .flat_map(|(_, rest)| rest.trim_end_matches('\\').split_whitespace())
        .collect();
    assert!(packages.contains(&"libssl3") && packages.contains(&"libssl-dev"), "{packages:?}");
    // Only Debian 12 can say; a machine that is none, or has no package lists, cannot.
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let listed = |package: &str| {
        let shown = Command::new("apt-cache").args(["show", "--no-all-versions", package]).output();
        shown.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
    };
    if !release.contains("VERSION_CODENAME=bookworm") || !listed("libc6-dev") {
        println!("not checked: this machine has no package lists of Debian 12");
        return;
    }
    for package in packages {
        assert!(listed(package), "Debian 12 has no package {package}");
    }
}
