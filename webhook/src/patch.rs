use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::PointerBuf};
use serde_json::Value;

/// A JSON Patch (RFC 6902) of add, replace and remove, in the order in which they are to be applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch(json_patch::Patch);

impl Patch {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.0)
    }

    pub fn operations(&self) -> &[PatchOperation] {
        &self.0
    }

    pub(crate) fn add(&mut self, path: String, value: Value) {
        self.0.0.push(PatchOperation::Add(AddOperation { path: pointer(path), value }));
    }

    pub(crate) fn replace(&mut self, path: String, value: Value) {
        self.0.0.push(PatchOperation::Replace(ReplaceOperation { path: pointer(path), value }));
    }

    pub(crate) fn remove(&mut self, path: String) {
        self.0.0.push(PatchOperation::Remove(RemoveOperation { path: pointer(path) }));
    }
}

/// Our paths are made of field names and indexes, and of what is escaped already. Should one not parse all the same, its tokens are
/// escaped: it must never become the root of the document.
fn pointer(path: String) -> PointerBuf {
    PointerBuf::parse(path)
        .unwrap_or_else(|refused| PointerBuf::from_tokens(refused.subject().split('/').skip(1)))
}

/// Changes to one list. Items that others put there keep their place: ours are changed where they are, taken out, or put at
/// the end; a list that was not there is made, and one that we emptied goes.
#[derive(Debug)]
pub(crate) struct ListPatch {
    path: String,
    /// `None`: absent or null.
    len: Option<usize>,
    changes: Patch,
    removals: Vec<usize>,
    additions: Vec<Value>,
}

impl ListPatch {
    pub(crate) fn new<T>(path: String, list: Option<&Vec<T>>) -> Self {
        Self {
            path,
            len: list.map(Vec::len),
            changes: Patch::default(),
            removals: Vec::new(),
            additions: Vec::new(),
        }
    }

    /// Adds a field of the item at `index`, or changes it.
    pub(crate) fn set(&mut self, index: usize, field: &str, value: Value) {
        self.changes.add(format!("{}/{index}/{field}", self.path), value);
    }

    pub(crate) fn replace(&mut self, index: usize, field: &str, value: Value) {
        self.changes.replace(format!("{}/{index}/{field}", self.path), value);
    }

    /// Takes a field out of the item at `index`; it must be there.
    pub(crate) fn unset(&mut self, index: usize, field: &str) {
        self.changes.remove(format!("{}/{index}/{field}", self.path));
    }

    pub(crate) fn remove(&mut self, index: usize) {
        self.removals.push(index);
    }

    pub(crate) fn push(&mut self, item: Value) {
        self.additions.push(item);
    }

    /// Changes first, while indexes hold; then removals from the end; then additions.
    pub(crate) fn finish(mut self, patch: &mut Patch) {
        patch.0.0.append(&mut self.changes.0.0);
        self.removals.sort_unstable();
        self.removals.dedup();
        let emptied = self.len == Some(self.removals.len());
        if emptied && !self.removals.is_empty() && self.additions.is_empty() {
            patch.remove(self.path);
            return;
        }
        for index in self.removals.iter().rev() {
            patch.remove(format!("{}/{index}", self.path));
        }
        if self.additions.is_empty() {
            return;
        }
        if self.len.is_none() {
            patch.add(self.path, Value::Array(self.additions));
        } else {
            for item in self.additions {
                patch.add(format!("{}/-", self.path), item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(list: &Value, edit: impl FnOnce(&mut ListPatch)) -> Value {
        let mut document = json!({"l": list});
        let items: Option<Vec<Value>> = document["l"].as_array().cloned();
        let mut list = ListPatch::new("/l".to_owned(), items.as_ref());
        edit(&mut list);
        let mut patch = Patch::default();
        list.finish(&mut patch);
        json_patch::patch(&mut document, patch.operations()).unwrap();
        document
    }

    #[test]
    fn several_removals_and_additions_hit_what_was_meant() {
        let after = applied(&json!([{"a": 0}, {"a": 1}, {"a": 2}, {"a": 3}]), |list| {
            list.remove(0);
            list.remove(2);
            list.set(3, "a", json!(9));
            list.push(json!({"a": 4}));
        });
        assert_eq!(after, json!({"l": [{"a": 1}, {"a": 9}, {"a": 4}]}));
    }

    #[test]
    fn missing_and_null_lists_are_made_and_emptied_ones_go() {
        assert_eq!(applied(&Value::Null, |list| list.push(json!(1))), json!({"l": [1]}));
        assert_eq!(applied(&json!([]), |list| list.push(json!(1))), json!({"l": [1]}));
        assert_eq!(applied(&json!([1]), |list| list.remove(0)), json!({}));
        assert_eq!(applied(&json!([]), |_| ()), json!({"l": []}));
    }
}
