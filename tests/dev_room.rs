//! `./dev` says at its start when the disk has too little room.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // clippy knows tests by their functions, not by their file

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

fn program(folder: &Path, name: &str, script: &str) {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What a command of `./dev` says where so many megabytes are free on the one disk, before it builds anything.
fn dev(command: &str, free: u32, built: bool) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let line = format!("/dev/disk 99999 99 {free} 1% /");
    program(
        &programs,
        "df",
        &format!("echo 'Filesystem 1M-blocks Used Available Capacity Mounted on'; echo '{line}'"),
    );
    program(&programs, "du", "echo 9000");
    // Nothing is to be built or installed here.
    for name in ["cargo", "apt-get"] {
        program(&programs, name, "exit 99");
    }
    let cache = folder.path().join("cache");
    fs::create_dir_all(if built { cache.join("kube-apiserver-1.36.3") } else { cache.clone() }).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("dev"))
        .arg(command)
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", if built { folder.path().to_owned() } else { folder.path().join("none") })
        .env("TOPICOPS_TESTBED_CACHE", &cache)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap()
}

#[test]
fn what_would_not_fit_is_refused_with_what_is_free_where_and_what_is_needed() {
    for (command, built, free, needed) in [
        ("test", false, 16_999, Some(17_000)),
        ("test", false, 17_000, None),
        ("demo", false, 8_499, Some(8_500)),
        ("demo", false, 8_500, None),
        // Most is there already.
        ("test", true, 3_199, Some(3_200)),
        ("demo", true, 1_200, None),
    ] {
        let output = dev(command, free, built);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{command} went on to the end: {told}");
        let says = needed.map(|needed| format!("{free} MB are free on /, and {needed} MB are needed there"));
        match says {
            Some(says) => assert!(told.contains(&says) && !told.contains("== "), "\"{says}\": {told}"),
            None => assert!(!told.contains("Too little room"), "{command} {built}: {told}"),
        }
    }
}
