use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::core::ApiResource;
use topicops_contract::WorkloadKind;

/// Where the API server serves the workloads of a kind.
pub(crate) fn workload_resource(kind: WorkloadKind) -> ApiResource {
    match kind {
        WorkloadKind::Deployment => ApiResource::erase::<Deployment>(&()),
        WorkloadKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        WorkloadKind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
        WorkloadKind::Job => ApiResource::erase::<Job>(&()),
        WorkloadKind::CronJob => ApiResource::erase::<CronJob>(&()),
        WorkloadKind::Pod => ApiResource::erase::<Pod>(&()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_asked_for_where_it_is_served() {
        let served: Vec<(String, String)> = WorkloadKind::ALL
            .into_iter()
            .map(|kind| {
                let resource = workload_resource(kind);
                assert_eq!(resource.api_version, kind.api_version());
                (resource.api_version, resource.plural)
            })
            .collect();
        let expected = [
            ("apps/v1", "deployments"),
            ("apps/v1", "statefulsets"),
            ("apps/v1", "daemonsets"),
            ("batch/v1", "jobs"),
            ("batch/v1", "cronjobs"),
            ("v1", "pods"),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(version, plural)| ((*version).to_owned(), (*plural).to_owned())).collect();
        assert_eq!(served, expected);
    }
}
