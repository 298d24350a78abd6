//! Topics that exist already, as manifests that declare them as they are: planning them changes nothing.

mod imported_topic;
mod manifest;
mod object_names;

pub use imported_topic::ImportedTopic;
pub use manifest::Manifest;
pub use object_names::object_names;
