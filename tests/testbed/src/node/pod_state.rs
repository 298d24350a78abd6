//! What the node knows of a Pod, and the status that follows from it.
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::sync::watch;

/// A container's state as the node sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Waiting { reason: String, message: String },
    Running { since: Timestamp },
    Ended(Ended),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) exit_code: i32,
    pub(super) reason: String,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    pub(super) log: String,
}

#[derive(Debug, Clone)]
pub(super) struct ContainerRecord {
    name: String,
    image: String,
    pub(super) state: State,
    pub(super) last: Option<Ended>,
    pub(super) restarts: i32,
    pub(super) started: bool,
    pub(super) ready: bool,
}

#[derive(Debug)]
struct Records {
    init: Vec<ContainerRecord>,
    main: Vec<ContainerRecord>,
    initialized: bool,
    finished: Option<bool>,
    failed_message: Option<String>,
    transitions: BTreeMap<&'static str, (bool, Timestamp)>,
}

/// Everything the status says, with a signal when it changes.
#[derive(Debug)]
pub(super) struct PodState {
    address: String,
    host_address: String,
    started: Timestamp,
    restarts_always: bool,
    records: Mutex<Records>,
    changes: watch::Sender<u64>,
}

impl PodState {
    pub(super) fn new(pod: &Pod, address: String, host_address: String) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let waiting = |container: &Container, reason: &str| ContainerRecord {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            state: State::Waiting { reason: reason.to_owned(), message: String::new() },
            last: None,
            restarts: 0,
            started: false,
            ready: false,
        };
        let first = if spec.init_containers.iter().flatten().next().is_some() {
            "PodInitializing"
        } else {
            "ContainerCreating"
        };
        let records = Records {
            init: spec.init_containers.iter().flatten().map(|one| waiting(one, "PodInitializing")).collect(),
            main: spec.containers.iter().map(|one| waiting(one, first)).collect(),
            initialized: false,
            finished: None,
            failed_message: None,
            transitions: BTreeMap::new(),
        };
        Self {
            address,
            host_address,
            started: Timestamp::now(),
            restarts_always: spec.restart_policy.as_deref().unwrap_or("Always") == "Always",
            records: Mutex::new(records),
            changes: watch::Sender::new(0),
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Changes what is known of one container.
    pub(super) fn update(&self, container: &str, change: impl FnOnce(&mut ContainerRecord)) {
        let mut records = self.lock();
        let Records { init, main, .. } = &mut *records;
        if let Some(record) = init.iter_mut().chain(main).find(|record| record.name == container) {
            change(record);
        }
        drop(records);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn initialized(&self) {
        self.lock().initialized = true;
        self.changes.send_modify(|count| *count += 1);
    }

    /// The Pod has come to its end: well, or badly.
    pub(super) fn finished(&self, well: bool) {
        self.lock().finished = Some(well);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn has_started(&self, container: &str) -> bool {
        let records = self.lock();
        records.init.iter().chain(&records.main).any(|record| record.name == container && record.started)
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status to report; readiness gates are read from the Pod as it is.
    pub(super) fn status(&self, pod: &Pod) -> PodStatus {
        let mut records = self.lock();
        let serving_sidecars =
            records.init.iter().filter(|record| matches!(record.state, State::Running { .. }));
        let containers_ready = records.finished.is_none()
            && records.initialized
            && records.main.iter().chain(serving_sidecars).all(|record| record.ready);
        let initialized = records.initialized;
        let ready = containers_ready && gates_open(pod);
        let conditions = [
            ("PodReadyToStartContainers", true),
            ("Initialized", initialized),
            ("ContainersReady", containers_ready),
            ("Ready", ready),
            ("PodScheduled", true),
        ]
        .map(|(type_, holds)| condition(&mut records.transitions, type_, holds));
        PodStatus {
            phase: Some(self.phase(&records).to_owned()),
            conditions: Some(conditions.to_vec()),
            host_ip: Some(self.host_address.clone()),
            host_ips: Some(vec![HostIP { ip: self.host_address.clone() }]),
            pod_ip: Some(self.address.clone()),
            pod_ips: Some(vec![PodIP { ip: self.address.clone() }]),
            start_time: Some(Time(self.started)),
            message: records.failed_message.clone(),
            qos_class: pod.status.as_ref().and_then(|status| status.qos_class.clone()),
            init_container_statuses: (!records.init.is_empty())
                .then(|| records.init.iter().map(ContainerRecord::status).collect()),
            container_statuses: Some(records.main.iter().map(ContainerRecord::status).collect()),
            ..PodStatus::default()
        }
    }

    fn phase(&self, records: &Records) -> &'static str {
        match records.finished {
            Some(true) => return "Succeeded",
            Some(false) => return "Failed",
            None => {}
        }
        let begun = |record: &ContainerRecord| match &record.state {
            State::Running { .. } | State::Ended(_) => true,
            State::Waiting { .. } => record.last.is_some(),
        };
        let running = records.main.iter().any(|record| matches!(record.state, State::Running { .. }));
        if records.initialized && (running || (records.main.iter().all(begun) && !self.restarts_always)) {
            "Running"
        } else if records.initialized && records.main.iter().all(begun) {
            // Kubelet calls a crash loop running, too.
            "Running"
        } else {
            "Pending"
        }
    }
}

impl ContainerRecord {
    fn status(&self) -> ContainerStatus {
        ContainerStatus {
            name: self.name.clone(),
            image: self.image.clone(),
            image_id: self.image.clone(),
            ready: self.ready,
            started: Some(self.started),
            restart_count: self.restarts,
            state: Some(container_state(&self.state)),
            last_state: self.last.clone().map(|ended| container_state(&State::Ended(ended))),
            ..ContainerStatus::default()
        }
    }
}

fn container_state(state: &State) -> ContainerState {
    let mut answer = ContainerState::default();
    match state {
        State::Waiting { reason, message } => {
            answer.waiting = Some(ContainerStateWaiting {
                reason: Some(reason.clone()),
                message: (!message.is_empty()).then(|| message.clone()),
            });
        }
        State::Running { since } => {
            answer.running = Some(ContainerStateRunning { started_at: Some(Time(*since)) });
        }
        State::Ended(ended) => {
            answer.terminated = Some(ContainerStateTerminated {
                exit_code: ended.exit_code,
                reason: Some(ended.reason.clone()),
                message: (!ended.log.is_empty()).then(|| ended.log.clone()),
                started_at: Some(Time(ended.started)),
                finished_at: Some(Time(ended.finished)),
                ..ContainerStateTerminated::default()
            });
        }
    }
    answer
}

fn condition(
    transitions: &mut BTreeMap<&'static str, (bool, Timestamp)>,
    type_: &'static str,
    holds: bool,
) -> PodCondition {
    let entry = transitions.entry(type_).or_insert_with(|| (holds, Timestamp::now()));
    if entry.0 != holds {
        *entry = (holds, Timestamp::now());
    }
    PodCondition {
        type_: type_.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(Time(entry.1)),
        ..PodCondition::default()
    }
}

fn gates_open(pod: &Pod) -> bool {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let conditions = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    gates.into_iter().all(|gate| {
        conditions().any(|condition| condition.type_ == gate.condition_type && condition.status == "True")
    })
}
