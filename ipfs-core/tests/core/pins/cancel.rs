//! A pin that is begun and given up, at each point where it waits: the old one stays until the new
//! one is there.

use std::{future::poll_fn, path::Path, sync::Arc, task::Poll, time::Duration};

use futures::{TryStreamExt, poll};
use ipfs_core::{
    AddPin, Cid, Datastore, Ipld, Node, Pins, RuntimeExt, VirtualRuntime, blockstore::RedbDatastore,
};

use crate::faulty::{Faulty, TakenOut};

/// The pins of a node.
type Found = Vec<(Cid, Option<String>)>;

struct Dags {
    old: Cid,
    new: Cid,
}

async fn node(runtime: &VirtualRuntime) -> (Node, Dags) {
    let files = Arc::new(Faulty::new(Path::new("/node"), true, TakenOut::Nothing));
    let own = Arc::new(runtime.clone());
    let datastore = RedbDatastore::open_on(files, "/node/state.redb", own.clone()).await.unwrap();
    let node = Node::builder().runtime(own).offline();
    let node = node.datastore(Arc::new(datastore) as Arc<dyn Datastore>).spawn().await.unwrap();
    let mut root = node.dag().put(&Ipld::Null).await.unwrap();
    let mut roots = Vec::new();
    for number in 0..4 {
        root = node
            .dag()
            .put(&Ipld::List(vec![Ipld::Link(root), Ipld::Integer(number)]))
            .await
            .unwrap();
        roots.push(root);
    }
    let dags = Dags { old: roots[2], new: roots[3] };
    node.pins().add(dags.old).name("old").await.unwrap();
    (node, dags)
}

async fn pins(node: &Node) -> Found {
    let pins = node.pins().list().map_ok(|pin| (pin.cid, pin.name)).try_collect();
    let mut pins: Found = pins.await.unwrap();
    pins.sort();
    pins
}

/// Gives up after each number of polls, until it is done before that: the pins are as before, or as
/// after.
fn give_up_at_each_point(begin: fn(Pins, &Dags) -> AddPin, after: fn(&Dags) -> Found) {
    let mut given_up = 0;
    for polls in 0..1000 {
        let runtime = VirtualRuntime::new();
        let is_done = runtime.block_on(async {
            let (node, dags) = node(&runtime).await;
            let mut pinning = begin(node.pins(), &dags).start();
            let mut done = None;
            for _ in 0..polls {
                if let Poll::Ready(pin) = poll!(&mut pinning) {
                    done = Some(pin.unwrap());
                    break;
                }
                turn().await;
            }
            drop(pinning);
            // What is under way ends.
            runtime.sleep(Duration::from_secs(1)).await;
            let (found, before) = (pins(&node).await, vec![(dags.old, Some("old".to_owned()))]);
            let mut after = after(&dags);
            after.sort();
            assert!(found == after || done.is_none() && found == before, "{polls}: {found:?}");
            if found == before {
                given_up += 1;
            }
            let whole = node.pins().verify().hashing().all();
            whole.try_for_each(|verified| async { verified.whole }).await.unwrap();
            done.is_some()
        });
        if is_done.unwrap() {
            println!("given up at {polls} points, of which {given_up} left the old one");
            assert!(given_up > 5);
            return;
        }
    }
    panic!("it does not end");
}

/// Lets something else run.
async fn turn() {
    let mut is_second = false;
    poll_fn(|cx| match std::mem::replace(&mut is_second, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

#[test]
fn a_re_pin_that_is_given_up_keeps_the_old_one() {
    give_up_at_each_point(
        |pins, dags| pins.add(dags.old).name("new"),
        |dags| vec![(dags.old, Some("new".to_owned()))],
    );
}

#[test]
fn an_update_that_is_given_up_keeps_the_old_one() {
    give_up_at_each_point(
        |pins, dags| pins.update(&dags.old, dags.new),
        |dags| vec![(dags.new, Some("old".to_owned()))],
    );
    give_up_at_each_point(
        |pins, dags| pins.update(&dags.old, dags.new).keep_old().name("new"),
        |dags| vec![(dags.old, Some("old".to_owned())), (dags.new, Some("new".to_owned()))],
    );
}
