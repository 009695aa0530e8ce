//! Bringing out again what was published.

use std::sync::{Mutex, atomic::AtomicBool};

use ipfs_routing::names::Signers;

use super::*;

#[derive(Debug, Default)]
struct Keys {
    keys: Mutex<Vec<Keypair>>,
    fails: AtomicBool,
    asked: AtomicUsize,
}

#[async_trait]
impl Signers for Keys {
    async fn keys(&self) -> Result<Vec<Keypair>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.fails.load(Ordering::Relaxed) {
            true => Err(Error::Closed("the keys")),
            false => Ok(self.keys.lock().unwrap().clone()),
        }
    }
}

fn signers(keys: &[&Keypair]) -> Arc<Keys> {
    let keys = Mutex::new(keys.iter().map(|key| (*key).clone()).collect());
    Arc::new(Keys { keys, ..Keys::default() })
}

fn wait(node: &Node, time: Duration) {
    run(&node.runtime, node.runtime.sleep(time));
}

#[test]
fn records_come_out_again_with_a_new_end_and_the_same_sequence() {
    let (node, key, unused) = (Node::new(&VirtualRuntime::new()), new_key(), new_key());
    let mut options = PublishOptions::default();
    (options.sequence, options.ttl, options.v1) = (Some(6), Some(MINUTE), false);
    let first = node.publish_with(&key, "/ipfs/bafkqaaa", options).unwrap();
    node.router.puts();
    let start = node.runtime.now();
    let republisher = node.names.republish(signers(&[&unused, &key]));
    for at in [MINUTE, 4 * HOUR + MINUTE, 8 * HOUR + MINUTE, 12 * HOUR + MINUTE] {
        let wait_for = start + at - node.runtime.now();
        wait(&node, wait_for - SECOND);
        assert_eq!(node.router.puts(), [], "before {at:?}");
        wait(&node, 3 * SECOND);
        let puts = node.router.puts();
        let [again] = &puts[..] else { panic!("{puts:?}") };
        again.verify(&name(&key), node.runtime.wall()).unwrap();
        let same = |record: &Record| (record.value().to_vec(), record.sequence(), record.ttl());
        assert_eq!(same(again), same(&first));
        assert_eq!(again.validity(), first.validity() + SECOND + at);
        assert!(again.is_better_than(&first) && !again.as_bytes().starts_with(&[0x0a]));
        assert_eq!(node.stored(&key).as_ref(), Some(again));
    }
    assert_eq!(node.stored(&unused), None);
    drop(republisher);
    wait(&node, 9 * HOUR);
    assert_eq!(node.router.puts(), []);
}

/// One who was away for a week comes back with what was published before.
#[test]
fn a_record_that_has_ended_comes_out_again() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    node.publish(&key, "/ipfs/bafkqaaa").unwrap();
    wait(&node, 7 * 24 * HOUR);
    node.router.puts();
    let _republisher = node.names.republish(signers(&[&key]));
    wait(&node, MINUTE + 2 * SECOND);
    let puts = node.router.puts();
    puts[0].verify(&name(&key), node.runtime.wall()).unwrap();
    assert_eq!((puts.len(), puts[0].sequence()), (1, 0));
}

#[test]
fn a_record_that_lives_longer_is_left_as_it_is() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let mut options = PublishOptions::default();
    options.lifetime = Some(1000 * HOUR);
    let record = node.publish_with(&key, "/ipfs/bafkqaaa", options).unwrap();
    node.router.puts();
    let _republisher = node.names.republish(signers(&[&key]));
    wait(&node, 2 * MINUTE);
    assert_eq!(node.router.puts(), [record]);
}

/// The first name that could not be published kept all names after it from being, each time.
#[test]
fn what_fails_is_tried_again_and_keeps_nothing_else() {
    let (node, keys) = (Node::new(&VirtualRuntime::new()), [new_key(), new_key()]);
    let record = node.publish(&keys[1], "/ipfs/bafkqaaa/1").unwrap();
    // What is kept under the first name cannot be read.
    let broken = Batch::new().put(store_key(&keys[0]), "nonsense");
    run(&node.runtime, node.store.commit(broken)).unwrap();
    node.router.puts();
    let signers = signers(&[&keys[0], &keys[1]]);
    let republisher = node.names.republish(signers.clone());
    wait(&node, MINUTE + 2 * SECOND);
    let values = |node: &Node| {
        let puts = node.router.puts();
        puts.iter().map(|record| record.value().to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(values(&node), [record.value().to_vec()]);
    // It is tried alone until it succeeds, and then no more.
    wait(&node, 5 * MINUTE + SECOND);
    assert_eq!((values(&node).len(), signers.asked.load(Ordering::Relaxed)), (0, 2));
    let mended = node.sign(&keys[0], "/ipfs/bafkqaaa/0", 0);
    let mend = Batch::new().put(store_key(&keys[0]), mended.as_bytes().clone());
    run(&node.runtime, node.store.commit(mend)).unwrap();
    wait(&node, 5 * MINUTE + SECOND);
    assert_eq!(values(&node), [mended.value().to_vec()]);
    wait(&node, HOUR);
    assert_eq!((values(&node).len(), signers.asked.load(Ordering::Relaxed)), (0, 3));
    wait(&node, 3 * HOUR);
    assert_eq!(values(&node).len(), 2);
    run(&node.runtime, republisher.stop());
}

/// What was published while nobody could be reached comes out when somebody can.
#[test]
fn what_could_not_be_published_comes_out_later() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let _republisher = node.names.republish(signers(&[&key]));
    node.router.fails(true);
    node.publish(&key, "/ipfs/bafkqaaa").unwrap_err();
    wait(&node, 8 * MINUTE);
    node.router.fails(false);
    wait(&node, 5 * MINUTE);
    assert_eq!(node.router.puts().len(), 1);
}

#[test]
fn keys_that_cannot_be_had_are_asked_for_again_but_not_at_once() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    node.publish(&key, "/ipfs/bafkqaaa").unwrap();
    node.router.puts();
    let signers = signers(&[&key]);
    signers.fails.store(true, Ordering::Relaxed);
    let _republisher = node.names.republish(signers.clone());
    wait(&node, HOUR);
    assert_eq!(signers.asked.load(Ordering::Relaxed), 12);
    signers.fails.store(false, Ordering::Relaxed);
    wait(&node, 5 * MINUTE);
    assert_eq!(node.router.puts().len(), 1);
}

/// A router that does not end kept the names after the first one waiting for ever.
#[test]
fn a_router_that_does_not_end_is_left() {
    #[derive(Debug)]
    struct Stuck(AtomicUsize);

    #[async_trait]
    impl Routing for Stuck {
        async fn put_value(&self, _: &[u8], _: Bytes) -> Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }

    let (node, keys) = (Node::new(&VirtualRuntime::new()), [new_key(), new_key()]);
    for key in &keys {
        node.publish(key, "/ipfs/bafkqaaa").unwrap();
    }
    let stuck = Arc::new(Stuck(AtomicUsize::new(0)));
    let (runtime, store) = (Arc::new(node.runtime.clone()), node.store.clone());
    let names = Names::new(runtime, stuck.clone(), store, None, Options::default());
    let _republisher = names.republish(signers(&[&keys[0], &keys[1]]));
    wait(&node, 12 * MINUTE);
    assert_eq!(stuck.0.load(Ordering::Relaxed), 2);
}

/// The republisher had signed what it read, and kept that in the place of what was published since.
#[test]
fn what_is_published_meanwhile_is_not_undone() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    node.publish(&key, "/ipfs/bafkqaaa/0").unwrap();
    let mut options = Options::default();
    options.republish = SECOND;
    options.republish_first = SECOND;
    let (names, _) = super::publish::slow(&node, false, options);
    let _republisher = names.republish(signers(&[&key]));
    for i in 1..50 {
        let value = format!("/ipfs/bafkqaaa/{i}");
        let record = node.publish(&key, &value).unwrap();
        assert_eq!(record.sequence(), i);
        wait(&node, SECOND * (i as u32 % 5));
        assert_eq!(node.stored(&key).unwrap().value(), value.as_bytes());
    }
}
