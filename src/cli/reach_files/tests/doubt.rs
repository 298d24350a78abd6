//! What is not known of the CA for clients is not taken for right.

use super::*;

/// Clients are at this port from now on, and it is time for another try.
fn clients_are_at(files: &mut ReachFiles, port: u16) {
    files.counts.clients.bootstrap_servers = vec![Address { host: "127.0.0.1".to_owned(), port }];
    files.settings.clients.client_bootstrap_servers = Some(format!("127.0.0.1:{port}").parse().unwrap());
    files.refused = None;
}

#[tokio::test]
async fn what_vouches_for_no_broker_is_doubted_until_one_is_reached_again_whoever_hangs_up_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let vouched = |files: &ReachFiles| files.for_clients.vouched.borrow().clone();
    let ((right, issuer), (wrong, _)) = (authority("right"), authority("wrong"));
    let (plain, secure) = (broker(None).await, broker(Some(acceptor(&issuer))).await);
    let away = 1;
    put("client.properties", &own(plain));
    put("ca.pem", &wrong);
    let mut files = followed(folder.path(), secure);
    let told = format!("{:#}", files.look().await.unwrap_err());
    let doubt = vouched(&files);
    assert!(matches!(doubt, Vouched::No(_)), "{doubt:?}");
    files.counts.clients.bootstrap_servers = vec![Address { host: "127.0.0.1".to_owned(), port: away }];
    for _ in 0..2 {
        files.refused = None;
        assert_eq!(format!("{:#}", files.look().await.unwrap_err()), told);
        assert_eq!(vouched(&files), doubt, "nobody was there");
    }
    clients_are_at(&mut files, secure);
    put("ca.pem", &right);
    files.look().await.unwrap();
    assert_eq!((vouched(&files), given(&files)), (Vouched::Yes, right));
}

#[tokio::test]
async fn a_server_that_is_silent_does_not_hide_what_another_one_says() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let vouched = |files: &ReachFiles| files.for_clients.vouched.borrow().clone();
    let ((right, issuer), (wrong, _)) = (authority("right"), authority("wrong"));
    let (plain, secure) = (broker(None).await, broker(Some(acceptor(&issuer))).await);
    // One after the other they would take longer than a trial.
    const PATIENCE: Duration = Duration::from_secs(2);
    let (mut silent, mut servers) = (Vec::new(), String::new());
    while PATIENCE.saturating_mul(u32::try_from(silent.len()).unwrap()) <= TRIAL {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        servers.push_str(&format!("{},", listener.local_addr().unwrap()));
        silent.push(listener);
    }
    servers.push_str(&format!("127.0.0.1:{secure}"));
    put("client.properties", &format!("{}request.timeout.ms={}\n", own(plain), PATIENCE.as_millis()));
    put("ca.pem", &wrong);
    let mut files = followed_at(folder.path(), &servers);
    files.look().await.unwrap_err();
    assert!(matches!(vouched(&files), Vouched::No(_)), "{:?}", vouched(&files));
    put("ca.pem", &right);
    files.look().await.unwrap();
    assert_eq!(vouched(&files), Vouched::Yes);
    put("ca.pem", &wrong);
    files.look().await.unwrap_err();
    assert_eq!((vouched(&files), given(&files)), (Vouched::Yes, right));
}

#[tokio::test]
async fn what_comes_while_a_listener_is_away_that_was_reached_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let vouched = |files: &ReachFiles| files.for_clients.vouched.borrow().clone();
    let ((first, issuer), (second, other)) = (authority("first"), authority("second"));
    let plain = broker(None).await;
    let (before, after) = (broker(Some(acceptor(&issuer))).await, broker(Some(acceptor(&other))).await);
    let away = 1;
    put("client.properties", &own(plain));
    put("ca.pem", &first);
    let mut files = followed(folder.path(), before);
    files.look().await.unwrap();
    assert_eq!(vouched(&files), Vouched::Yes);
    clients_are_at(&mut files, away);
    put("ca.pem", &second);
    for _ in 0..2 {
        files.refused = None;
        let told = format!("{:#}", files.look().await.unwrap_err());
        assert!(told.contains("does not answer"), "{told}");
        assert!(matches!(vouched(&files), Vouched::No(_)), "{:?}", vouched(&files));
    }
    clients_are_at(&mut files, after);
    files.look().await.unwrap();
    assert_eq!((vouched(&files), given(&files)), (Vouched::Yes, second));
}

#[tokio::test]
async fn a_ca_that_vouches_for_some_brokers_is_not_taken_while_the_one_before_vouches_for_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let ((old, issuer), (new, other)) = (authority("old"), authority("new"));
    let plain = broker(None).await;
    let (before, after) = (broker(Some(acceptor(&issuer))).await, broker(Some(acceptor(&other))).await);
    put("client.properties", &own(plain));
    let both = format!("{old}{new}");
    put("ca.pem", &both);
    let mut files = followed_at(folder.path(), &format!("127.0.0.1:{after},127.0.0.1:{before}"));
    files.look().await.unwrap();
    put("ca.pem", &new);
    let told = format!("{:#}", files.look().await.unwrap_err());
    assert!(told.contains(&format!("127.0.0.1:{before}")) && told.contains("--client-ca"), "{told}");
    assert_eq!((files.for_clients.vouched.borrow().clone(), given(&files)), (Vouched::Yes, both));
    // One that nothing ever vouched for holds up nobody.
    let strange = broker(Some(acceptor(&authority("strange").1))).await;
    put("ca.pem", &format!("{old}{new}"));
    let mut files = followed_at(folder.path(), &format!("127.0.0.1:{after},127.0.0.1:{strange}"));
    files.look().await.unwrap();
    put("ca.pem", &new);
    files.look().await.unwrap();
    assert_eq!(given(&files), new);
}
