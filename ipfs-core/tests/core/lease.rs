//! Garbage collection in a store that several nodes write to: what each of them holds stays.

mod model;
mod place;

use std::time::Duration;

use futures::{
    FutureExt,
    future::{Either, join, join3, select},
};
use ipfs_core::{Block, Bytes, Cid, Error, HashTable, Ipld, Node, RuntimeExt, codes};

use self::place::{Call, Place};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than a lease, and what clocks may be apart.
const LAPSES: Duration = Duration::from_secs(151);

fn raw(text: impl Into<Bytes>) -> Block {
    Block::of(codes::RAW, codes::SHA2_256, text.into(), &HashTable::standard()).unwrap()
}

/// A list of links, and what it links to.
async fn put_list(node: &Node, leaf: &Block) -> Cid {
    node.blocks().put(leaf.clone()).await.unwrap();
    node.dag().put(&Ipld::List(vec![Ipld::Link(*leaf.cid())])).await.unwrap()
}

/// Does something that is answered when the others know all that was held before.
async fn tell(node: &Node) {
    let absent = node.under(&node.hold()).blocks().get(raw("absent").cid()).await;
    assert!(absent.unwrap_err().is_not_found());
}

#[test]
fn a_collection_keeps_what_another_node_holds() {
    let place = Place::new();
    let test = async {
        let ((one, _), (two, _)) = (place.node().await, place.node().await);
        let (held, loose) = (raw("held"), raw("loose"));
        let hold = two.hold();
        two.under(&hold).blocks().put(held.clone()).await.unwrap();
        two.blocks().put(loose.clone()).await.unwrap();
        // Renewed for as long as it takes.
        place.runtime.sleep(LAPSES * 10).await;
        let dry = one.gc().collect().dry_run().await.unwrap();
        let done = one.gc().collect().await.unwrap();
        assert_eq!((dry, done.kept_blocks, done.deleted_blocks), (done, 1, 1));
        assert!(place.has(held.cid()).await && !place.has(loose.cid()).await);

        // Nor does another node delete it when it is told to.
        for _ in 0..2 {
            let refused = one.blocks().delete(held.cid()).await.unwrap_err();
            assert!(matches!(refused, Error::InUse(_)), "{refused}");
        }
        drop(hold);
        tell(&two).await;
        one.blocks().delete(held.cid()).await.unwrap();
        assert_eq!(one.gc().collect().await.unwrap().kept_blocks, 0);
        place.runtime.sleep(LAPSES).await;
        assert!(place.leases().await.is_empty(), "nobody holds anything");
    };
    place.runtime.block_on(test).unwrap();
}

#[test]
fn a_collection_keeps_what_is_below_roots_and_pins_of_another_node() {
    let place = Place::new();
    let test = async {
        let ((one, _), (two, _)) = (place.node().await, place.node().await);
        let leaf = raw("leaf");
        let root = put_list(&two, &leaf).await;
        let kept = two.pins().temporary(&root);
        tell(&two).await;
        assert_eq!(one.gc().collect().await.unwrap().kept_blocks, 2);
        let refused = one.blocks().delete(leaf.cid()).await.unwrap_err();
        assert!(matches!(refused, Error::Pinned { .. }), "{refused}");

        two.pins().add(root).await.unwrap();
        drop(kept);
        two.close().await.unwrap();
        assert!(place.leases().await.is_empty(), "it has ended them");
        assert_eq!(one.gc().collect().await.unwrap().kept_blocks, 2);
        one.pins().remove(&root).await.unwrap();
        assert_eq!(one.gc().collect().await.unwrap().deleted_blocks, 2);
    };
    place.runtime.block_on(test).unwrap();
}

#[test]
fn a_node_waits_for_the_deletion_of_what_it_puts() {
    for is_held in [true, false] {
        let place = Place::new();
        place.runtime.block_on(put_while_deleted(&place, is_held)).unwrap();
    }
}

async fn put_while_deleted(place: &Place, is_held: bool) {
    let ((one, way), (two, _)) = (place.node().await, place.node().await);
    let block = raw("comes back");
    one.blocks().put(block.clone()).await.unwrap();
    way.stick(Some(Call::Delete));
    let hold = two.hold();
    let others = async {
        place.lease("lease/collector").await;
        place.runtime.sleep(SECOND).await;
        let blocks = if is_held { two.under(&hold).blocks() } else { two.blocks() };
        let put = blocks.put(block.clone()).boxed();
        // However long it takes: the collection renews its lease.
        let Either::Right((_, put)) = select(put, place.runtime.sleep(LAPSES * 3)).await else {
            panic!("it has not waited");
        };
        way.stick(None);
        put.await.unwrap();
    };
    let (collected, ()) = join(one.gc().collect().into_future(), others).await;
    assert_eq!(collected.unwrap().deleted_blocks, 1);
    assert!(place.has(block.cid()).await);
}

#[test]
fn what_is_deleted_while_it_is_put_is_put_again() {
    let place = Place::new();
    let test = async {
        let ((one, first), (two, second)) = (place.node().await, place.node().await);
        second.stick(Some(Call::Put));
        first.stick(Some(Call::Flush));
        let block = raw("deleted and put again");
        let collect = async {
            place.runtime.sleep(SECOND).await;
            one.gc().collect().await.unwrap()
        };
        let others = async {
            place.runtime.sleep(SECOND * 2).await;
            assert!(!place.has(block.cid()).await, "it was there, and was deleted");
            second.stick(None);
            place.runtime.sleep(SECOND).await;
            first.stick(None);
        };
        let (put, _, ()) = join3(two.blocks().put(block.clone()), collect, others).await;
        put.unwrap();
        assert!(place.has(block.cid()).await);
    };
    place.runtime.block_on(test).unwrap();
}

#[test]
fn what_is_written_asked_for_and_pinned_while_garbage_is_collected_stays() {
    let place = Place::new();
    let test = async {
        let ((one, way), (two, _)) = (place.node().await, place.node().await);
        let [written, asked, held, leaf, gone] =
            ["written", "asked", "held", "leaf", "gone"].map(raw);
        let hold = two.hold();
        two.under(&hold).blocks().put(held.clone()).await.unwrap();
        let root = put_list(&two, &leaf).await;
        one.blocks().put_many(&[written.clone(), asked.clone(), gone.clone()]).await.unwrap();
        way.stick(Some(Call::List));
        let others = async {
            place.lease("lease/collector").await;
            place.runtime.sleep(SECOND).await;
            two.blocks().put(written.clone()).await.unwrap();
            assert!(two.blocks().has(asked.cid()).await.unwrap());
            two.pins().add(root).await.unwrap();
            drop(hold);
            way.stick(None);
        };
        let (collected, ()) = join(one.gc().collect().into_future(), others).await;
        assert_eq!(collected.unwrap().deleted_blocks, 1);
        assert!(!place.has(gone.cid()).await);
        // All that was noted for it goes with it.
        place.runtime.sleep(LAPSES).await;
        assert!(place.leases().await.is_empty());
        assert_eq!(one.gc().collect().await.unwrap().deleted_blocks, 3);
    };
    place.runtime.block_on(test).unwrap();
}

#[test]
fn a_second_collection_is_refused_until_the_lease_of_the_first_has_lapsed() {
    let place = Place::new();
    let test = async {
        let ((one, way), (two, _)) = (place.node().await, place.node().await);
        two.blocks().put_many(&[raw("a"), raw("b")]).await.unwrap();
        way.stick(Some(Call::List));
        let others = async {
            place.lease("lease/collector").await;
            place.runtime.sleep(LAPSES * 3).await;
            let refused = two.gc().collect().await.unwrap_err();
            assert!(matches!(refused, Error::InUse(_)), "{refused}");
            way.cut(true);
            let refused = two.gc().collect().await.unwrap_err();
            assert!(matches!(refused, Error::InUse(_)), "{refused}");
            place.runtime.sleep(LAPSES).await;
            two.gc().collect().dry_run().await.unwrap();
            // The first one comes back.
            way.cut(false);
            way.stick(None);
        };
        let (late, ()) = join(one.gc().collect().into_future(), others).await;
        let late = late.unwrap_err();
        assert!(matches!(late, Error::TimedOut(_)), "{late}");
        assert!(place.has(raw("a").cid()).await, "it has deleted nothing");
        assert_eq!(two.gc().collect().await.unwrap().deleted_blocks, 2);
    };
    place.runtime.block_on(test).unwrap();
}

#[test]
fn what_a_crashed_node_has_held_goes_after_its_lease() {
    let place = Place::new();
    let test = async {
        let ((one, _), (two, _)) = (place.node().await, place.node().await);
        let (held, leaf) = (raw("held"), raw("leaf"));
        let hold = two.hold();
        two.under(&hold).blocks().put(held.clone()).await.unwrap();
        let root = put_list(&two, &leaf).await;
        let kept = two.pins().temporary(&root);
        tell(&two).await;
        // Its tasks end with it, and it says nothing any more.
        drop((hold, kept));
        drop(two);
        place.runtime.sleep(LAPSES - 2 * SECOND).await;
        assert_eq!(one.gc().collect().await.unwrap().kept_blocks, 3);
        place.runtime.sleep(2 * SECOND).await;
        assert_eq!(one.gc().collect().await.unwrap().deleted_blocks, 3);
        assert!(place.leases().await.is_empty());
    };
    place.runtime.block_on(test).unwrap();
}

#[test]
fn a_node_that_was_cut_off_learns_that_its_holds_have_lapsed() {
    let place = Place::new();
    let test = async {
        let ((one, _), (two, way)) = (place.node().await, place.node().await);
        let (leaf, held) = (raw("leaf"), raw("held"));
        let hold = two.hold();
        let under = two.under(&hold).blocks();
        under.put(held.clone()).await.unwrap();
        let root = put_list(&two, &leaf).await;
        let kept = two.pins().temporary(&root);
        tell(&two).await;
        way.cut(true);
        let refused = under.put(raw("other")).await.unwrap_err();
        assert!(matches!(refused, Error::Component { .. }), "{refused}");

        // Nobody has taken it for lapsed, and so nothing is lost.
        place.runtime.sleep(LAPSES).await;
        way.cut(false);
        under.put(raw("other")).await.unwrap();
        assert_eq!(one.gc().collect().await.unwrap().deleted_blocks, 0);

        way.cut(true);
        place.runtime.sleep(LAPSES).await;
        assert_eq!(one.gc().collect().await.unwrap().deleted_blocks, 4);
        way.cut(false);
        for _ in 0..2 {
            let refused = under.put(held.clone()).await.unwrap_err();
            assert!(matches!(refused, Error::TimedOut(_)), "{refused}");
        }
        // A new one holds, and a root keeps what comes.
        let hold = two.hold();
        two.under(&hold).blocks().put(held.clone()).await.unwrap();
        put_list(&two, &leaf).await;
        assert_eq!(one.gc().collect().await.unwrap().kept_blocks, 3);
        drop(kept);
    };
    place.runtime.block_on(test).unwrap();
}

#[test]
fn a_collection_that_was_cut_off_deletes_nothing_more() {
    let place = Place::new();
    let test = async {
        let ((one, way), (two, _)) = (place.node().await, place.node().await);
        two.blocks().put(raw("a")).await.unwrap();
        way.stick(Some(Call::List));
        let others = async {
            place.lease("lease/collector").await;
            place.runtime.sleep(SECOND).await;
            way.cut(true);
            place.runtime.sleep(LAPSES).await;
            // Others do not reckon with it any more, though nobody has taken its place.
            assert!(two.blocks().has(raw("a").cid()).await.unwrap());
            way.cut(false);
            way.stick(None);
        };
        let (late, ()) = join(one.gc().collect().into_future(), others).await;
        let late = late.unwrap_err();
        assert!(matches!(late, Error::TimedOut(_)), "{late}");
        assert!(place.has(raw("a").cid()).await);
    };
    place.runtime.block_on(test).unwrap();
}

#[test]
fn a_pin_is_not_made_when_what_it_keeps_was_taken_for_lapsed() {
    let place = Place::new();
    let test = async {
        let ((one, _), (two, way)) = (place.node().await, place.node().await);
        let root = put_list(&two, &raw("leaf")).await;
        way.stick(Some(Call::Flush));
        let others = async {
            place.lease("lease/root/").await;
            way.cut(true);
            place.runtime.sleep(LAPSES).await;
            assert_eq!(one.gc().collect().await.unwrap().deleted_blocks, 2);
            way.cut(false);
            way.stick(None);
        };
        let (refused, ()) = join(two.pins().add(root).into_future(), others).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::TimedOut(_)), "{refused}");
        assert_eq!(two.pins().get(&root).await.unwrap(), None);
    };
    place.runtime.block_on(test).unwrap();
}

#[test]
fn nothing_is_collected_in_a_shared_store_without_a_shared_datastore() {
    let place = Place::new();
    let test = async {
        let mut way = place.way();
        way.shares_datastore = false;
        let node = way.node().await;
        node.blocks().put(raw("a")).await.unwrap();
        let refused = node.gc().collect().await.unwrap_err();
        assert!(matches!(refused, Error::Unsupported(_)), "{refused}");
        assert!(place.has(raw("a").cid()).await && place.leases().await.is_empty());
    };
    place.runtime.block_on(test).unwrap();
}
