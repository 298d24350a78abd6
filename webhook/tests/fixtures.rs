//! Walks `tests/fixtures`: a request each, and what must come of it. A case without `expected-patch.json` and without
//! `expected-denial.txt` must be admitted untouched; one without `expected-warnings.json` must not warn.
//!
//! `TOPICOPS_BLESS=1 cargo test -p topicops-webhook --test fixtures` writes the expectations; read the difference.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy knows tests by their functions, not by their file

use std::{fs, path::Path};

use serde_json::{Value, json};
use topicops_webhook::{Answer, Review, Unquestioned, mutate};

/// The answer to a review, as the API server gets it.
fn admit(review: &Value) -> Answer {
    let body = serde_json::to_vec(review).unwrap();
    mutate(&Review::read(&body).unwrap(), &Unquestioned)
}

fn response(review: &Value, answer: &Answer) -> Value {
    let body = serde_json::to_vec(review).unwrap();
    let (body, _) = answer.to_body(&Review::read(&body).unwrap()).unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}

fn operations(answer: &Answer) -> Value {
    answer.patch().map_or(json!([]), |patch| serde_json::to_value(patch.operations()).unwrap())
}

fn patched(object: &Value, answer: &Answer) -> Value {
    let mut object = object.clone();
    if let Some(patch) = answer.patch() {
        json_patch::patch(&mut object, patch.operations()).unwrap();
    }
    object
}

fn update(review: &Value, object: &Value, old: &Value) -> Value {
    let mut review = review.clone();
    review["request"]["operation"] = json!("UPDATE");
    review["request"]["object"] = object.clone();
    review["request"]["oldObject"] = old.clone();
    review
}

fn without_label(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"]["labels"].as_object_mut().unwrap().remove("kafka-operator");
    object
}

/// The API server does not tell absent, null and empty lists apart.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null() && **value != json!([]))
            .map(|(key, value)| (key.clone(), normal(value)))
            .collect(),
        Value::Array(items) => items.iter().map(normal).collect(),
        other => other.clone(),
    }
}

/// Writes or compares; an expectation that is absent stands for `nothing`.
fn expect(path: &Path, found: Option<&str>, mistakes: &mut Vec<String>) {
    if std::env::var_os("TOPICOPS_BLESS").is_some() {
        match found {
            Some(text) => fs::write(path, text).unwrap(),
            None => drop(fs::remove_file(path)),
        }
    }
    let expected = fs::read_to_string(path).ok();
    if expected.as_deref() != found {
        mistakes.push(format!("{}:\nexpected {expected:?}\nfound    {found:?}", path.display()));
    }
}

fn pretty(value: &Value) -> Option<String> {
    (value.as_array().is_some_and(|list| !list.is_empty()))
        .then(|| format!("{}\n", serde_json::to_string_pretty(value).unwrap()))
}

#[test]
fn every_fixture_is_answered_as_expected_and_the_answer_is_stable_and_reversible() {
    let mut mistakes = Vec::new();
    let mut cases = 0;
    for case in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).unwrap() {
        let folder = case.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let review: Value =
            serde_json::from_str(&fs::read_to_string(folder.join("request.json")).unwrap()).unwrap();
        cases += 1;
        let answer = admit(&review);
        let response = response(&review, &answer);
        let denial = match &answer {
            Answer::Denied { code, reason, message, .. } => Some(format!("{code} {reason}\n{message}\n")),
            Answer::Allowed { .. } => None,
        };
        expect(&folder.join("expected-patch.json"), pretty(&operations(&answer)).as_deref(), &mut mistakes);
        expect(&folder.join("expected-denial.txt"), denial.as_deref(), &mut mistakes);
        expect(
            &folder.join("expected-warnings.json"),
            pretty(&response["warnings"]).as_deref(),
            &mut mistakes,
        );

        let object = &review["request"]["object"];
        if answer.patch().is_none() {
            continue;
        }
        let result = patched(object, &answer);
        let again = match review["request"]["kind"]["kind"].as_str() {
            // They are only changed when they are created.
            Some("Job" | "Pod") => {
                let mut again = review.clone();
                again["request"]["object"] = result.clone();
                again
            }
            _ => update(&review, &result, &result),
        };
        assert_eq!(operations(&admit(&again)), json!([]), "{name}: a second time changes more");

        let once = matches!(review["request"]["kind"]["kind"].as_str(), Some("Job" | "Pod"));
        if once || object == &without_label(object) {
            continue;
        }
        let bare = without_label(object);
        let before = match &review["request"]["oldObject"] {
            Value::Null => object,
            old => old,
        };
        let original = patched(&bare, &admit(&update(&review, &bare, before)));
        if review["request"]["operation"] == "CREATE" {
            assert_eq!(normal(&original), normal(&bare), "{name}: something was taken for ours");
        }
        let bare = without_label(&result);
        let reverted = patched(&bare, &admit(&update(&review, &bare, &result)));
        assert_eq!(normal(&reverted), normal(&original), "{name}: something stayed behind, or went too far");
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n\n"));
    assert!(cases >= 30, "only {cases} fixtures were found");
}
