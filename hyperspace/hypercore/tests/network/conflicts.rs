//! A writer with two tongues: it has signed two different histories of one core.

use super::line::{Line, Node};
use bytes::Bytes;
use hypercore::core::{Received, Refused};
use hypercore::hyperspace_api::{Core, CoreError, CoreEvent, GetOptions};
use hypercore::{Corestore, LocalCore, StoreOptions};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;

/// The same secrets twice, as when somebody goes on from a backup.
const WRITER: u8 = 1;

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it comes to that")
}

/// A writer's history: blocks that say whose they are.
async fn history(who: &str, length: usize) -> (Node, LocalCore) {
    let writer = Node::new(WRITER);
    let core = writer.store.open_name("core").expect("it opens");
    let blocks = (0..length).map(|at| Bytes::from(format!("{who} {at}"))).collect();
    core.append(blocks, None).await.expect("it is ours");
    (writer, core)
}

async fn frozen(events: &mut Receiver<CoreEvent>) {
    soon(async { while events.recv().await.expect("an event") != CoreEvent::Frozen {} }).await;
}

/// A reader that has heard of the first history: its core, and all blocks that it was told.
async fn reader(seed: u8, of: &Node, core: &LocalCore, blocks: u64) -> (Node, LocalCore) {
    let node = Node::new(seed);
    let copy = follow_once(&node, of, core, blocks).await;
    (node, copy)
}

async fn follow_once(node: &Node, of: &Node, core: &LocalCore, blocks: u64) -> LocalCore {
    let copy = node.store.open_key(core.key()).expect("it opens");
    let line = Line::new(node, of);
    assert!(soon(copy.update(Some(core.length()))).await.expect("it comes"));
    soon(copy.download(0, blocks)).await.expect("they come");
    line.cut().await;
    copy
}

async fn check_frozen(core: &LocalCore) {
    assert!(core.is_frozen());
    let length = core.length();
    assert_eq!(core.append(vec!["more".into()], None).await, Err(refusal(core)));
    assert_eq!(core.truncate(0, None), Err(refusal(core)));
    assert_eq!(core.update(Some(length + 1)).await, Err(CoreError::Frozen));
    assert_eq!(core.length(), length);
    assert!(core.served().expect("it is open").is_none(), "nothing is shown to peers");
    let evidence = core.evidence().expect("it can be read").expect("it was kept");
    let received = Received { proof: evidence, manifest: None };
    assert_eq!(core.judge(&received), Ok(true));
}

/// Why nobody may append: a reader could not before, either.
fn refusal(core: &LocalCore) -> CoreError {
    if core.writable() { CoreError::Frozen } else { CoreError::NotWritable }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_offered_a_longer_history_that_is_another_freezes_the_core() {
    let ((first, one), (second, other)) = (history("this", 10).await, history("that", 13).await);
    let (reader, copy) = reader(2, &first, &one, 4).await;
    let (mut here, mut there) = (copy.events(), other.events());
    let _line = Line::new(&reader, &second);
    let _followed = reader.replication.follow(&copy);
    frozen(&mut here).await;
    check_frozen(&copy).await;
    // What was held is held, what was not does not come any more.
    assert_eq!(copy.get(3, GetOptions::LOCAL).await.expect("it is held"), "this 3");
    assert_eq!(copy.get(7, GetOptions::default()).await, Err(CoreError::Frozen));
    // It was not the peer's fault. The writer is shown that it has another history, too.
    assert!(!reader.replication.is_banned(&second.key));
    frozen(&mut there).await;
    check_frozen(&other).await;
    assert_eq!(other.get(7, GetOptions::LOCAL).await.expect("it is held"), "that 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_given_a_block_of_another_history_freezes_the_core() {
    let ((first, one), (second, _other)) = (history("this", 10).await, history("that", 10).await);
    let (reader, copy) = reader(2, &first, &one, 0).await;
    let _line = Line::new(&reader, &second);
    assert_eq!(soon(copy.get(6, GetOptions::default())).await, Err(CoreError::Frozen));
    check_frozen(&copy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_trusts_in_the_same_history_is_told() {
    let ((first, one), (second, _other)) = (history("this", 10).await, history("that", 13).await);
    let (middle, copy) = reader(2, &first, &one, 10).await;
    let (third, far) = reader(3, &middle, &copy, 10).await;
    let mut events = far.events();
    let _lines = Line::new(&third, &middle);
    let _followed = (third.replication.follow(&far), middle.replication.follow(&copy));
    soon(async {
        while far.peers().is_empty() || copy.peers().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let _line = Line::new(&middle, &second);
    frozen(&mut events).await;
    check_frozen(&far).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_frozen() {
    let ((first, one), (second, _other)) = (history("this", 10).await, history("that", 13).await);
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Corestore::open(folder.path(), StoreOptions::default()).expect("it opens");
    {
        let node = Node::of(2, open());
        let copy = follow_once(&node, &first, &one, 10).await;
        let _line = Line::new(&node, &second);
        assert_eq!(soon(copy.update(Some(13))).await, Err(CoreError::Frozen));
        copy.flush().await.expect("it is on the disk");
        node.store.close().await.expect("it closes");
    }
    let node = Node::of(2, open());
    let copy = node.store.open_key(one.key()).expect("it opens");
    check_frozen(&copy).await;
    assert_eq!(copy.get(9, GetOptions::LOCAL).await.expect("it is held"), "this 9");
    // Neither history is taken, and neither peer banned: nothing is said.
    let _lines = (Line::new(&node, &first), Line::new(&node, &second));
    let _followed = node.replication.follow(&copy);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(copy.length(), 10);
    assert!(!node.replication.is_banned(&first.key));
}

#[tokio::test]
async fn only_two_signatures_prove_anything() {
    let ((_first, one), (_second, other)) = (history("this", 10).await, history("that", 13).await);
    let (_third, more) = history("this", 14).await;
    let judge = |proof| one.judge(&Received { proof, manifest: None });
    // Its own history, the same one when it was shorter, and longer.
    for honest in [one.testimony(10), one.testimony(3), more.testimony(14), more.testimony(6)] {
        assert_eq!(judge(honest.expect("it is held")), Ok(false));
    }
    // Another one, that nobody has signed.
    let mut forged = other.testimony(13).expect("it is held");
    let upgrade = forged.upgrade.as_mut().expect("an upgrade");
    upgrade.nodes[0].hash[0] ^= 1;
    assert!(matches!(judge(forged.clone()), Err(Refused::Invalid(_))));
    forged.upgrade = None;
    assert!(matches!(judge(forged), Err(Refused::Invalid(_))));
    assert!(!one.is_frozen());
    one.append(vec!["more".into()], None).await.expect("it may go on");
    assert_eq!(one.judge(&Received { proof: other.testimony(5).expect("held"), manifest: None }), Ok(true));
    check_frozen(&one).await;
    // Users' data has its own names.
    assert_eq!(one.user_data(b"\0conflict"), Ok(None));
    assert!(one.set_user_data(b"\0conflict", None).is_err());
}
