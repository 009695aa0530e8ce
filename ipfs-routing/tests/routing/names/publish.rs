//! Publishing: sequences, what is kept, and who wins.

use futures::future::join_all;

use super::*;

/// A datastore that takes its time, so that those who use it at once come between one another.
#[derive(Debug)]
pub(super) struct Slow {
    runtime: VirtualRuntime,
    store: Arc<MemoryDatastore>,
    /// Whether what is expected is never so.
    refuses: bool,
    commits: AtomicUsize,
}

#[async_trait]
impl Datastore for Slow {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        RuntimeExt::sleep(&self.runtime, SECOND).await;
        self.store.get(key).await
    }

    fn scan(
        &self,
        prefix: &[u8],
    ) -> futures::stream::BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
        self.store.scan(prefix)
    }

    async fn commit(&self, batch: Batch) -> Result<bool> {
        RuntimeExt::sleep(&self.runtime, SECOND).await;
        self.commits.fetch_add(1, Ordering::Relaxed);
        if self.refuses { Ok(false) } else { self.store.commit(batch).await }
    }
}

pub(super) fn slow(node: &Node, refuses: bool, options: Options) -> (Names, Arc<Slow>) {
    let (runtime, store) = (node.runtime.clone(), node.store.clone());
    let store = Arc::new(Slow { runtime, store, refuses, commits: AtomicUsize::new(0) });
    let (runtime, router) = (Arc::new(node.runtime.clone()), Arc::new(node.router.clone()));
    (Names::new(runtime, router, store.clone(), None, options), store)
}

fn with_sequence(sequence: u64) -> PublishOptions {
    let mut options = PublishOptions::default();
    options.sequence = Some(sequence);
    options
}

fn offline() -> PublishOptions {
    let mut options = PublishOptions::default();
    options.offline = true;
    options
}

#[test]
fn the_sequence_goes_up_when_the_value_changes() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let mut sequences = Vec::new();
    for value in ["/ipfs/bafkqaaa", "/ipfs/bafkqaaa", "/ipfs/bafkqaaa/b", "/ipfs/bafkqaaa"] {
        let record = node.publish(&key, value).unwrap();
        assert_eq!(node.stored(&key).unwrap(), record);
        assert_eq!(node.router.puts(), std::slice::from_ref(&record));
        record.verify(&name(&key), node.runtime.wall()).unwrap();
        assert_eq!(record.value(), value.as_bytes());
        sequences.push(record.sequence());
    }
    assert_eq!(sequences, [0, 0, 1, 2]);
}

#[test]
fn a_sequence_that_is_given_must_be_greater() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let publish = |sequence| node.publish_with(&key, "/ipfs/bafkqaaa", with_sequence(sequence));
    assert_eq!(publish(7).unwrap().sequence(), 7);
    for low in [0, 6, 7] {
        assert!(matches!(publish(low), Err(Error::Invalid { what: "sequence", .. })));
    }
    assert_eq!(publish(u64::MAX).unwrap().sequence(), u64::MAX);
    let beyond = node.publish(&key, "/ipfs/bafkqaaa/x");
    assert!(matches!(beyond, Err(Error::Limit { .. })), "{beyond:?}");
    assert_eq!(node.stored(&key).unwrap().sequence(), u64::MAX);
}

/// A node that lost its datastore began at sequence zero again. What it published then was worse
/// than what others had, and nobody saw it.
#[test]
fn a_lost_datastore_does_not_turn_the_sequence_back() {
    let (runtime, key) = (VirtualRuntime::new(), new_key());
    let (before, after) = (Node::new(&runtime), Node::new(&runtime));
    before.publish_with(&key, "/ipfs/bafkqaaa", with_sequence(41)).unwrap();
    let known = before.stored(&key).unwrap();
    after.router.gives_records(&name(&key), [(5, &known)]);
    assert_eq!(after.publish(&key, "/ipfs/bafkqaaa/new").unwrap().sequence(), 42);
    assert_eq!(after.publish(&key, "/ipfs/bafkqaaa/newer").unwrap().sequence(), 43);
    assert_eq!(after.router.asked(), 1, "what is kept here needs no lookup");
    // Offline there is nobody to ask.
    let offline_one = Node::new(&runtime);
    let record = offline_one.publish_with(&key, "/ipfs/bafkqaaa", offline()).unwrap();
    assert_eq!((record.sequence(), offline_one.router.asked()), (0, 0));
}

/// Others keep what ends later, as long as the sequence is the same.
#[test]
fn a_shorter_life_is_a_change() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let publish = |lifetime| {
        let mut options = PublishOptions::default();
        options.lifetime = Some(lifetime);
        node.publish_with(&key, "/ipfs/bafkqaaa", options).unwrap()
    };
    let (long, short) = (publish(48 * HOUR), publish(MINUTE));
    assert_eq!((long.sequence(), short.sequence()), (0, 1));
    assert_eq!((long.ttl(), short.ttl()), (5 * MINUTE, MINUTE));
    assert!(short.is_better_than(&long));
}

#[test]
fn what_cannot_be_published_is_refused_before_anything_is_kept() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    for value in ["", "bafkqaaa", "/ipfs/nonsense", "/hyper/x", "/ipns/"] {
        assert!(matches!(node.publish(&key, value), Err(Error::Invalid { .. })), "{value}");
    }
    let long = format!("/ipfs/bafkqaaa/{}", "x".repeat(10_000));
    assert!(matches!(node.publish(&key, &long), Err(Error::Limit { .. })));
    for lifetime in [Duration::MAX, 80_000_000 * HOUR] {
        let mut options = PublishOptions::default();
        options.lifetime = Some(lifetime);
        let refused = node.publish_with(&key, "/ipfs/bafkqaaa", options);
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert_eq!((node.stored(&key), node.router.puts()), (None, vec![]));
}

#[test]
fn offline_nothing_is_given_to_the_router() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    node.router.fails(true);
    let record = node.publish_with(&key, "/ipfs/bafkqaaa", offline()).unwrap();
    assert_eq!(node.stored(&key).unwrap(), record);
    assert_eq!(node.path_of(name(&key)).unwrap(), "/ipfs/bafkqaaa");
    assert_eq!(node.router.asked(), 0);
}

/// A record that is out but not kept would be followed by one with the same sequence.
#[test]
fn a_record_is_kept_before_it_is_out_and_when_the_router_fails() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let publish = node.names.publish(&key, "/ipfs/bafkqaaa", PublishOptions::default());
    // The router takes a second, and this is dropped before.
    let begun = node.runtime.timeout(SECOND / 2, "a test", publish);
    assert!(matches!(run(&node.runtime, begun), Err(Error::TimedOut("a test"))));
    assert_eq!(node.stored(&key).unwrap().value(), "/ipfs/bafkqaaa".as_bytes());
    node.router.fails(true);
    assert!(matches!(node.publish(&key, "/ipfs/bafkqaaa/b"), Err(Error::Closed(_))));
    let kept = node.stored(&key).unwrap();
    assert_eq!((kept.value(), kept.sequence()), (&b"/ipfs/bafkqaaa/b"[..], 1));
    assert_eq!(node.path_of(name(&key)).unwrap(), "/ipfs/bafkqaaa/b");
}

/// Two who read the same record before and then both wrote would give two values one sequence, of
/// which the network keeps either.
#[test]
fn of_those_who_publish_at_once_each_has_a_sequence_of_its_own() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let (names, _) = slow(&node, false, Options::default());
    let values: Vec<String> = (0..20).map(|i| format!("/ipfs/bafkqaaa/{i}")).collect();
    let all = values.iter().map(|value| names.publish(&key, value, PublishOptions::default()));
    let mut records: Vec<Record> =
        run(&node.runtime, join_all(all)).into_iter().map(|done| done.unwrap().record).collect();
    records.sort_by_key(Record::sequence);
    let sequences: Vec<u64> = records.iter().map(Record::sequence).collect();
    assert_eq!(sequences, (0..20).collect::<Vec<_>>());
    assert_eq!(node.stored(&key).unwrap(), records[19]);
}

#[test]
fn those_who_publish_the_same_at_once_all_succeed() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let (names, _) = slow(&node, false, Options::default());
    let all = (0..5).map(|_| names.publish(&key, "/ipfs/bafkqaaa", PublishOptions::default()));
    for published in run(&node.runtime, join_all(all)) {
        assert_eq!(published.unwrap().record.sequence(), 0);
    }
    // A sequence that is asked for is had by one.
    let all = (0..5).map(|_| names.publish(&key, "/ipfs/bafkqaaa", with_sequence(5)));
    let won = run(&node.runtime, join_all(all)).into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
}

/// A datastore that never agrees must not keep a caller for ever.
#[test]
fn one_who_never_gets_through_gives_up() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let (names, store) = slow(&node, true, Options::default());
    let published = names.publish(&key, "/ipfs/bafkqaaa", offline());
    assert!(matches!(run(&node.runtime, published), Err(Error::InUse(_))));
    assert_eq!(store.commits.load(Ordering::Relaxed), 64);
}

#[test]
fn a_record_signed_elsewhere_is_put_if_it_is_one() {
    let (node, key, other) = (Node::new(&VirtualRuntime::new()), new_key(), new_key());
    let put = |name: &Name, bytes: Bytes| run(&node.runtime, node.names.put_record(name, bytes));
    let record = node.sign(&key, "/ipfs/bafkqaaa", 3);
    put(&name(&key), record.as_bytes().clone()).unwrap();
    assert_eq!(node.router.puts(), std::slice::from_ref(&record));
    assert_eq!(node.stored(&key), None, "the name is not one of this node's");
    let found = run(&node.runtime, node.names.record(&name(&key))).unwrap();
    assert_eq!(found, record);
    assert!(matches!(put(&name(&other), record.as_bytes().clone()), Err(Error::Invalid { .. })));
    assert!(matches!(put(&name(&key), "nonsense".into()), Err(Error::Malformed { .. })));
    assert!(matches!(put(&name(&key), vec![0; 10_241].into()), Err(Error::Limit { .. })));
    let ended = Record::sign(&key, "", 9, node.runtime.wall() - SECOND, SECOND, true).unwrap();
    assert!(matches!(put(&name(&key), ended.as_bytes().clone()), Err(Error::Invalid { .. })));
    assert_eq!(node.router.puts(), []);
}

/// Otherwise the republisher would bring out what it replaces.
#[test]
fn a_record_signed_elsewhere_takes_the_place_of_what_was_published() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    node.publish_with(&key, "/ipfs/bafkqaaa", with_sequence(5)).unwrap();
    node.router.puts();
    let put = |record: &Record| {
        run(&node.runtime, node.names.put_record(&name(&key), record.as_bytes().clone()))
    };
    let (worse, better) =
        (node.sign(&key, "/ipfs/bafkqaaa", 4), node.sign(&key, "/ipfs/bafkqaaa", 6));
    assert!(matches!(put(&worse), Err(Error::Invalid { .. })));
    assert_eq!(put(&better).unwrap(), better);
    assert_eq!(node.stored(&key).unwrap(), better);
    assert_eq!(node.router.puts(), [better]);
}

/// Over the routing of a world in memory, as the other crates use it.
#[test]
fn what_one_node_publishes_another_one_finds() {
    let (runtime, table, key) = (VirtualRuntime::new(), RoutingTable::new(), new_key());
    let node = |number| {
        let routing: Arc<dyn Routing> = Arc::new(table.join(peer_id(number).into()));
        let store = Arc::new(MemoryDatastore::new());
        Names::new(Arc::new(runtime.clone()), routing, store, None, Options::default())
    };
    let (ours, theirs) = (node(1), node(2));
    run(&runtime, ours.publish(&key, "/ipfs/bafkqaaa", PublishOptions::default())).unwrap();
    let found = run(&runtime, theirs.resolve_one(&name(&key).to_string())).unwrap();
    assert_eq!(found.path, "/ipfs/bafkqaaa");
    assert_eq!((found.ttl, found.record.unwrap().sequence()), (5 * MINUTE, 0));
}
