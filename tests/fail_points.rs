//! The places where tests kill topicops: all of them are known by name, and none is in what is released.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // clippy knows tests by their functions, not by their file

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use topicops::fail_point;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_place_is_listed_once_and_stands_in_the_code_once() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut placed = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("fail_point.rs")) {
        let text = fs::read_to_string(file).unwrap();
        for (_, rest) in text.match_indices("fail_point!(").map(|(at, found)| text.split_at(at + found.len()))
        {
            let name = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
            placed.push(
                name.unwrap_or_else(|| panic!("{}: a place without a name", file.display())).0.to_owned(),
            );
        }
    }
    let listed: BTreeSet<&str> = fail_point::NAMES.iter().copied().collect();
    assert_eq!(listed.len(), fail_point::NAMES.len(), "a name is listed twice");
    assert_eq!(placed.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
    assert_eq!(placed.len(), listed.len(), "a name stands at two places: {placed:?}");
}

#[test]
fn the_second_line_of_the_file_is_for_whoever_is_started_after_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let armed = folder.path().join("armed");
    let run = |text: &str| {
        fs::write(&armed, text).unwrap();
        Command::new(env!("CARGO_BIN_EXE_topicops"))
            .args(["run", "--kafka-config", "/nonexistent"])
            .env("TOPICOPS_FAIL_POINT_FILE", &armed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    };
    assert_eq!(run("run/begun").code(), Some(1), "it is spared");
    assert_eq!(run("none\nrun/begun").signal(), Some(9));
}

/// The tests would pass without having killed anything if the binary they start had no such places.
#[test]
fn the_binary_of_the_tests_dies_by_sigkill_where_it_is_told_to() {
    let run = |armed: &str| {
        Command::new(env!("CARGO_BIN_EXE_topicops"))
            .args(["run", "--kafka-config", "/nonexistent"])
            .env("TOPICOPS_FAIL_POINT", armed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    };
    assert_eq!(run("run/begun").signal(), Some(9));
    assert_eq!(run("run/begun:2").code(), Some(1), "it comes by once");
    assert_eq!(run("none").code(), Some(1));
}

#[test]
fn what_is_released_has_no_such_places() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let metadata = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", "topicops", "-e", "normal,build", "-f", "{p} {f}", "--depth", "0"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let features = String::from_utf8(metadata.stdout).unwrap();
    assert!(features.contains("verify"), "{features}{}", String::from_utf8_lossy(&metadata.stderr));
    assert!(!features.contains("fail-points"), "{features}");
    assert!(manifest.contains("fail-points"), "the feature has another name: mend this test");
}
