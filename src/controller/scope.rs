use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Resource, core::NamespaceResourceScope};

/// The namespaces that topicops looks after. What is outside it neither sees nor touches, on the brokers either.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    All,
    Only(BTreeSet<String>),
}

impl Scope {
    /// Without any name: all.
    pub fn of(namespaces: impl IntoIterator<Item = String>) -> Self {
        let namespaces: BTreeSet<String> = namespaces.into_iter().collect();
        if namespaces.is_empty() { Self::All } else { Self::Only(namespaces) }
    }

    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(namespaces) => namespaces.contains(namespace),
        }
    }

    /// Where the objects of a kind are asked for: all at once, or namespace by namespace, which takes no right beyond them.
    pub fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match self {
            Self::All => vec![Api::all(client.clone())],
            Self::Only(namespaces) => {
                namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
            }
        }
    }
}

/// Whether the API server refused because there is no such namespace: the rights in a namespace go with it.
pub(super) async fn is_of_no_namespace(
    client: &Client,
    namespace: Option<&str>,
    error: &kube::Error,
) -> bool {
    let (Some(namespace), kube::Error::Api(status)) = (namespace, error) else { return false };
    let api: Api<Namespace> = Api::all(client.clone());
    status.code == 403 && matches!(api.get_metadata_opt(namespace).await, Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_for_all_namespaces_and_names_for_themselves() {
        assert!(Scope::of([]).covers("shop"));
        let some = Scope::of(["shop".to_owned(), "billing".to_owned()]);
        assert!(some.covers("shop") && some.covers("billing"));
        assert!(!some.covers("sho") && !some.covers("shop-2") && !some.covers(""));
    }
}
