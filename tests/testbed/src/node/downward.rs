//! The downward API: what a Pod may know about itself.
use std::collections::BTreeMap;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{Pod, ResourceFieldSelector};
use kube::ResourceExt as _;

use super::NODE_NAME;

/// The value of a field path such as `metadata.name` or `metadata.annotations['key']`.
pub(super) fn field(pod: &Pod, address: &str, path: &str) -> Result<String> {
    let spec = pod.spec.as_ref();
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" => NODE_NAME.to_owned(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
        }
        "status.podIP" | "status.podIPs" => address.to_owned(),
        "status.hostIP" | "status.hostIPs" => address.to_owned(),
        _ => match keyed(path) {
            Some(("metadata.labels", key)) => pod.labels().get(key).cloned().unwrap_or_default(),
            Some(("metadata.annotations", key)) => pod.annotations().get(key).cloned().unwrap_or_default(),
            _ => bail!("the testbed's node does not know the field {path}"),
        },
    })
}

/// A container's own request or limit; without one, the node's capacity, as kubelet answers.
pub(super) fn resource(pod: &Pod, own_container: &str, selector: &ResourceFieldSelector) -> Result<String> {
    let wanted = selector.container_name.as_deref().unwrap_or(own_container);
    let spec = pod.spec.as_ref();
    let container = spec
        .into_iter()
        .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
        .find(|container| container.name == wanted);
    let resources = container.and_then(|container| container.resources.as_ref());
    let Some((which, name)) = selector.resource.split_once('.') else {
        bail!("{} is no resource field", selector.resource)
    };
    let amounts = resources.and_then(|resources| match which {
        "limits" => resources.limits.as_ref(),
        _ => resources.requests.as_ref(),
    });
    let quantity = match amounts.and_then(|amounts| amounts.get(name)) {
        Some(quantity) => quantity.0.as_str(),
        None if which == "requests" => "0",
        None if name == "cpu" => "64",
        None => "256Gi",
    };
    let divisor = selector.divisor.as_ref().map_or("1", |divisor| divisor.0.as_str());
    let divisor = if divisor == "0" { 1.0 } else { number(divisor)? };
    Ok(format!("{:.0}", (number(quantity)? / divisor).ceil()))
}

fn number(quantity: &str) -> Result<f64> {
    const SUFFIXES: [(&str, f64); 13] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    for (suffix, factor) in SUFFIXES {
        if let Some(digits) = quantity.strip_suffix(suffix) {
            return Ok(digits.parse::<f64>()? * factor);
        }
    }
    Ok(quantity.parse()?)
}

fn keyed(path: &str) -> Option<(&str, &str)> {
    let (field, rest) = path.split_once("['")?;
    Some((field, rest.strip_suffix("']")?))
}

fn lines(pairs: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_label_of_many_is_found_by_its_key() {
        let mut pod = Pod::default();
        pod.labels_mut().insert("app.kubernetes.io/name".to_owned(), "shop".to_owned());
        assert_eq!(field(&pod, "", "metadata.labels['app.kubernetes.io/name']").unwrap(), "shop");
        assert!(field(&pod, "", "spec.priority").is_err());
    }

    #[test]
    fn quantities_are_numbers() {
        for (text, expected) in [("250m", 0.25), ("1Gi", 1_073_741_824.0), ("2", 2.0), ("1M", 1e6)] {
            assert!((number(text).unwrap() - expected).abs() < 1e-9, "{text}");
        }
    }
}
