use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    Problem, Problems, TopicObjectKind, TopicSource,
    keys::{self, data, topic},
    nearest::suggestion,
};

/// What an author wrote about a topic, whatever the kind of object, under the names of the contract: the data keys and
/// annotations of a ConfigMap. Nothing is checked yet but the names.
#[derive(Clone, Debug)]
pub struct TopicText<'a> {
    pub(crate) kind: TopicObjectKind,
    /// `metadata.name`.
    pub(crate) name: &'a str,
    pub(crate) annotations: Cow<'a, BTreeMap<String, String>>,
    pub(crate) data: Cow<'a, BTreeMap<String, String>>,
    /// What could not be read at all.
    pub(crate) problems: Problems,
}

impl<'a> From<TopicSource<'a>> for TopicText<'a> {
    fn from(source: TopicSource<'a>) -> Self {
        let mut problems = Problems::new();
        for key in source.data.keys().filter(|key| !data::ALL.contains(&key.as_str())) {
            if problems.is_full() {
                break;
            }
            problems.push(Problem::missing(key, suggestion("no key of a topic", key, &data::ALL)));
        }
        for key in source.binary_keys {
            problems.push(Problem::missing(key, "binaryData is not read; put the key under data, as text"));
        }
        for key in source.annotations.keys().filter(|key| key.starts_with(keys::ANNOTATION_PREFIX)) {
            if !topic::ALL.contains(&key.as_str()) {
                problems
                    .push(Problem::missing(key, suggestion("no annotation of a topic", key, &topic::ALL)));
            }
        }
        Self {
            kind: TopicObjectKind::ConfigMap,
            name: source.name,
            annotations: Cow::Borrowed(source.annotations),
            data: Cow::Borrowed(source.data),
            problems,
        }
    }
}
