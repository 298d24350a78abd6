//! A folder of files that all change at once, laid out as kubelet does it.
//!
//! `name -> ..data/name`, `..data -> ..<number>`: renaming a new `..data` over the old one swaps every
//! file together, and readers follow it without the mount changing.
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileContent {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

pub(super) type Files = BTreeMap<String, FileContent>;

#[derive(Debug)]
pub(super) struct AtomicFolder {
    path: PathBuf,
    group: Option<u32>,
    current: Option<Files>,
    version: u64,
}

impl AtomicFolder {
    pub(super) fn new(path: PathBuf, group: Option<u32>) -> Self {
        Self { path, group, current: None, version: 0 }
    }

    /// Brings the folder to these files; does nothing when they are there already.
    pub(super) fn write(&mut self, files: &Files) -> Result<()> {
        if self.current.as_ref() == Some(files) {
            return Ok(());
        }
        self.swap(files).with_context(|| format!("writing {}", self.path.display()))?;
        self.current = Some(files.clone());
        Ok(())
    }

    fn swap(&mut self, files: &Files) -> Result<()> {
        fs::create_dir_all(&self.path)?;
        let data = self.path.join("..data");
        let old = fs::read_link(&data).ok();
        self.version += 1;
        let version = format!("..{}", self.version);
        for (name, content) in files {
            check(name)?;
            let file = self.path.join(&version).join(name);
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&file, &content.bytes)?;
            // As kubelet does for `fsGroup`: the group may read what the owner may.
            let mode =
                if self.group.is_some() { content.mode | (content.mode & 0o400) >> 3 } else { content.mode };
            fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
            chown(&file, None, self.group)?;
        }
        fs::create_dir_all(self.path.join(&version))?;
        let new = self.path.join("..data_new");
        symlink(&version, &new)?;
        fs::rename(&new, &data)?;
        self.link(files)?;
        if let Some(old) = old {
            fs::remove_dir_all(self.path.join(old))?;
        }
        Ok(())
    }

    /// One link per first part of a path; those of files that are gone are removed.
    fn link(&self, files: &Files) -> io::Result<()> {
        let tops: BTreeMap<&str, ()> = files
            .keys()
            .map(|name| (name.split_once('/').map_or(name.as_str(), |(top, _)| top), ()))
            .collect();
        for top in tops.keys() {
            let link = self.path.join(top);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(top), link)?;
            }
        }
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with("..") && !tops.contains_key(name.as_ref()) {
                fs::remove_file(self.path.join(name.as_ref()))?;
            }
        }
        Ok(())
    }
}

fn check(name: &str) -> Result<()> {
    let sound = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !sound || name.starts_with("..") {
        bail!("{name:?} is no file name inside a volume");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        let content = |text: &str| FileContent { bytes: text.as_bytes().to_vec(), mode: 0o644 };
        pairs.iter().map(|(name, text)| ((*name).to_owned(), content(text))).collect()
    }

    #[test]
    fn files_change_together_and_leave_nothing_behind() {
        let scratch = tempfile::tempdir().unwrap();
        let mut folder = AtomicFolder::new(scratch.path().join("volume"), None);
        folder.write(&files(&[("a", "1"), ("deep/b", "2")])).unwrap();
        assert_eq!(fs::read_to_string(folder.path.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(folder.path.join("deep/b")).unwrap(), "2");
        folder.write(&files(&[("a", "3")])).unwrap();
        assert_eq!(fs::read_to_string(folder.path.join("a")).unwrap(), "3");
        let mut names: Vec<String> = fs::read_dir(&folder.path)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["..2", "..data", "a"]);
    }

    #[test]
    fn a_name_cannot_leave_the_volume() {
        let scratch = tempfile::tempdir().unwrap();
        let mut folder = AtomicFolder::new(scratch.path().join("volume"), None);
        for name in ["../x", "/etc/passwd", "", "..data"] {
            assert!(folder.write(&files(&[(name, "")])).is_err(), "{name}");
        }
    }
}
