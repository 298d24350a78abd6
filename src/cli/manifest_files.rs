use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize;
use serde_json::Value;
use topicops_contract::keys::{self, kafka_topic};

use crate::{KafkaTopic, controller::topics::TopicObject, topic::TopicObjectKey};

/// The topic objects of these files and folders (`-` is standard input), in the order in which they stand there; objects of
/// other kinds are passed over. One without a namespace gets `namespace`.
///
/// # Errors
/// A file that cannot be read, is no YAML, or holds a topic object that the API server would not take; an object that stands
/// there twice.
pub(super) fn read(paths: &[PathBuf], namespace: &str) -> Result<Vec<TopicObject>> {
    let mut objects = Vec::new();
    let mut seen: BTreeMap<TopicObjectKey, String> = BTreeMap::new();
    for path in paths {
        for file in files(path)? {
            let shown =
                if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
            for object in of_text(&text(&file)?, namespace).with_context(|| shown.clone())? {
                if let Some(before) = seen.insert(object.key.clone(), shown.clone()) {
                    bail!("{} stands there twice: in {before} and in {shown}", object.key);
                }
                objects.push(object);
            }
        }
    }
    // Nobody created them yet: who stands first is the oldest.
    for (age, object) in (0..).zip(&mut objects) {
        object.created = age;
    }
    Ok(objects)
}

/// The file itself, or what is in the folder and below it, in alphabetical order.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path == Path::new("-") || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(|| format!("{}: cannot be read", path.display()))?;
    let mut entries: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    entries.sort_unstable();
    let mut found = Vec::new();
    for entry in entries {
        let hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let manifest = entry.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if !hidden && entry.is_dir() {
            found.extend(files(&entry)?);
        } else if !hidden && manifest {
            found.push(entry);
        }
    }
    Ok(found)
}

fn text(file: &Path) -> Result<String> {
    if file != Path::new("-") {
        return fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input: cannot be read")?;
    Ok(text)
}

pub(super) fn of_text(text: &str, namespace: &str) -> Result<Vec<TopicObject>> {
    let mut objects = Vec::new();
    for (number, document) in (1..).zip(serde_norway::Deserializer::from_str(text)) {
        let value = Value::deserialize(document).with_context(|| format!("document {number} is no YAML"))?;
        collect(value, namespace, &mut objects).with_context(|| format!("document {number}"))?;
    }
    Ok(objects)
}

fn collect(mut value: Value, namespace: &str, objects: &mut Vec<TopicObject>) -> Result<()> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let what = || format!("{kind} {name}");
    match (version.as_str(), kind.as_str()) {
        // What kubectl prints, and the API server: there the items do not say their kind.
        ("v1", "List" | "ConfigMapList") | (kafka_topic::API_VERSION, "KafkaTopicList") => {
            for mut item in value["items"].as_array_mut().map(std::mem::take).unwrap_or_default() {
                if kind != "List" && item.is_object() {
                    item["apiVersion"] = version.as_str().into();
                    item["kind"] = kind.trim_end_matches("List").into();
                }
                collect(item, namespace, objects)?;
            }
        }
        ("v1", "ConfigMap") if is_topic(&value) => {
            check_strings(&value, &name)?;
            let mut config_map: ConfigMap = serde_json::from_value(value).with_context(what)?;
            config_map.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
            objects.push(TopicObject::from(&config_map));
        }
        (kafka_topic::API_VERSION, kafka_topic::KIND) => {
            let mut topic: KafkaTopic = serde_json::from_value(value).with_context(what)?;
            topic.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
            objects.push(TopicObject::from(&topic));
        }
        // Passed over, it would look as if there was nothing to do.
        (other, kafka_topic::KIND) if other.starts_with(keys::ANNOTATION_PREFIX) => {
            bail!("{}: apiVersion: \"{other}\": there is {} alone", what(), kafka_topic::API_VERSION);
        }
        _ => {}
    }
    Ok(())
}

fn is_topic(value: &Value) -> bool {
    value["metadata"]["labels"][keys::CONFIG_LABEL] == keys::CONFIG_LABEL_TOPIC
}

/// The commonest mistake in ConfigMaps, which the API server refuses with words that help nobody.
fn check_strings(value: &Value, name: &str) -> Result<()> {
    for (place, pairs) in
        [("data", &value["data"]), ("metadata.annotations", &value["metadata"]["annotations"])]
    {
        for (key, value) in pairs.as_object().into_iter().flatten() {
            if !value.is_string() {
                bail!("ConfigMap {name}: {place}.{key}: {value} is no text; write it in quotes: \"{value}\"");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
kind: Deployment
apiVersion: apps/v1
metadata: { name: x, labels: { config: kafka-topic } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: orders, namespace: shop, labels: { config: kafka-topic } }
data: { partitions: '3' }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: other }
---
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: { name: bills, labels: { config: kafka-topic } }
- apiVersion: topic.kafka.nb/v1beta1
  kind: KafkaTopic
  metadata: { name: audit }
  spec: { partitions: 3 }
- apiVersion: kafka.strimzi.io/v1
  kind: KafkaTopic
  metadata: { name: audit }
";

    #[test]
    fn topics_are_found_among_other_objects_and_in_lists() {
        let found: Vec<String> =
            of_text(TWO, "team").unwrap().iter().map(|object| object.key.to_string()).collect();
        assert_eq!(found, ["ConfigMap shop/orders", "ConfigMap team/bills", "KafkaTopic team/audit"]);
        let raw =
            "apiVersion: topic.kafka.nb/v1beta1\nkind: KafkaTopicList\nitems: [{ metadata: { name: a } }]";
        assert_eq!(of_text(raw, "team").unwrap()[0].key.to_string(), "KafkaTopic team/a");
    }

    #[test]
    fn a_custom_resource_of_another_version_is_not_passed_over() {
        let error = of_text(&TWO.replace("v1beta1", "v2"), "team").unwrap_err();
        let told = format!("{error:#}");
        assert!(
            told.contains("KafkaTopic audit") && told.contains("there is topic.kafka.nb/v1beta1 alone"),
            "{told}"
        );
    }

    #[test]
    fn folders_are_read_in_order_and_an_object_that_stands_twice_is_told_with_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let one = |name: &str| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, labels: {{ config: kafka-topic }} }}\n"
            )
        };
        fs::create_dir(path("more")).unwrap();
        for (file, name) in
            [("b.yaml", "one"), ("more/a.yml", "two"), (".hidden.yaml", "one"), ("a.txt", "one")]
        {
            fs::write(path(file), one(name)).unwrap();
        }
        let found = read(&[folder.path().to_owned()], "team").unwrap();
        let names: Vec<_> = found.iter().map(|object| (object.key.name.as_str(), object.created)).collect();
        assert_eq!(names, [("one", 0), ("two", 1)]);
        let error = read(&[path("b.yaml"), folder.path().to_owned()], "team").unwrap_err().to_string();
        assert!(error.contains("team/one") && error.matches("b.yaml").count() == 2, "{error}");
    }

    #[test]
    fn numbers_without_quotes_are_told_with_what_would_be_right() {
        let text = TWO.replace("'3'", "3");
        let error = format!("{:#}", of_text(&text, "team").unwrap_err());
        assert!(error.contains("data.partitions: 3") && error.contains("\"3\""), "{error}");
        let error = format!("{:#}", of_text("a: [", "team").unwrap_err());
        assert!(error.contains("document 1"), "{error}");
    }
}
