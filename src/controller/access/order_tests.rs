//! In which order steps are taken, and that none begins before the one before it has ended.

use super::{
    testing::{Death, StepIs},
    tests::orders,
    world::{Process, World},
};
use crate::access::testing::request;

/// What was changed since the last call, or tried.
fn changes(death: &Death) -> Vec<(&'static str, StepIs)> {
    death.steps().into_iter().filter(|(name, _)| !name.starts_with("look ")).collect()
}

/// These steps, one after the other.
fn one_by_one(names: &[&'static str]) -> Vec<(&'static str, StepIs)> {
    names.iter().flat_map(|name| [(*name, StepIs::Begun), (*name, StepIs::Ended)]).collect()
}

async fn settled(world: &World, death: &std::sync::Arc<Death>) -> Process {
    let process = world.start(death);
    world.settled().await;
    process
}

async fn world() -> World {
    World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await
}

#[tokio::test(start_paused = true)]
async fn a_secret_comes_after_a_login_and_that_after_user_and_rules_and_quotas_before_all_of_it() {
    let (world, death) = (world().await, Death::never());
    world.ask(&orders().producer_byte_rate("1MB/s"));
    let _process = settled(&world, &death).await;
    let expected = one_by_one(&["change quotas", "make users", "add rules", "log in", "create Secret"]);
    assert_eq!(changes(&death), expected);
}

#[tokio::test(start_paused = true)]
async fn rules_that_are_no_longer_asked_for_go_when_those_that_are_have_come() {
    let (world, death) = (world().await, Death::never());
    world.ask(&orders());
    let _process = settled(&world, &death).await;
    changes(&death);
    world.ask(&request("shop/orders").consume("payments"));
    world.settled().await;
    assert_eq!(changes(&death), one_by_one(&["add rules", "remove rules"]));
}

#[tokio::test(start_paused = true)]
async fn who_goes_loses_rules_then_quotas_then_the_user_and_the_secret_last() {
    let (world, death) = (world().await, Death::never());
    world.ask(&orders().producer_byte_rate("1MB/s"));
    let _process = settled(&world, &death).await;
    changes(&death);
    world.clients.take(&orders().workload);
    world.settled().await;
    let expected = one_by_one(&["remove rules", "change quotas", "delete users", "delete Secret"]);
    assert_eq!(changes(&death), expected);
}
