//! Names: published by the one, resolved by the other, updated, and outliving their publisher.

use std::fs;

use futures::AsyncReadExt;
use ipfs_core::{
    Cid, Key, Node, PeerId,
    identity::KeyType,
    routing::{
        dht::{
            Mode,
            message::{Kind, Message},
        },
        ipns::{Name, Record},
    },
};

use super::{Peer, World, ask, until};
use crate::kubo::text;

/// A page that differs from others.
async fn page(node: &Node, text: &str) -> Cid {
    node.unixfs().add_bytes(text.to_owned()).await.unwrap().cid
}

/// What a name leads to, by what others say now.
async fn kubo_resolves(peer: &Peer, name: &Name, to: Cid) {
    until("Kubo resolves a name", || async {
        let name = format!("/ipns/{name}");
        let says = peer.tries(&["name", "resolve", "--nocache", &name]).await;
        says.is_some_and(|says| says == format!("/ipfs/{to}"))
    })
    .await;
}

async fn ours_resolves(node: &Node, name: &str, to: Cid) {
    until("ours resolves a name", || async {
        let found = node.names().resolve(&format!("/ipns/{name}")).await;
        found.is_ok_and(|found| found == to.into())
    })
    .await;
}

/// Publishes with one of its keys; with the name.
async fn kubo_publishes(peer: &Peer, key: &str, cid: Cid) -> Name {
    let says = peer.says(&["name", "publish", "-Q", "--key", key, &format!("/ipfs/{cid}")]).await;
    says.parse().unwrap()
}

/// The record that a peer keeps.
async fn kept(node: &Node, peer: PeerId, name: &Name) -> Option<Record> {
    let answer = ask(node, peer, &Message::new(Kind::GetValue, name.routing_key())).await;
    answer.record.map(|record| Record::parse(record.value).unwrap())
}

pub(super) async fn go_both_ways(world: &World) {
    let [_, node, client] = &world.ours[..] else { unreachable!("there are three") };
    for node in [node, client] {
        for text in ["the first of ours", "its update", "one more"] {
            let cid = page(node, text).await;
            let name = node.names().publish("self", cid).await.unwrap().name;
            for kubo in &world.kubos {
                kubo_resolves(kubo, &name, cid).await;
            }
        }
    }
    for (kubo, number) in world.kubos[4..].iter().zip(0..) {
        let mut name = None;
        for what in ["the first of Kubo's", "its update"] {
            let folder = tempfile::tempdir().unwrap();
            let content = format!("{what}, {number}");
            fs::write(folder.path().join("page"), &content).unwrap();
            let cid = kubo.says(&["add", "-r", "-Q", text(folder.path())]).await;
            let cid = cid.parse().unwrap();
            let published = kubo_publishes(kubo, "self", cid).await;
            for node in &world.ours {
                ours_resolves(node, &published.to_string(), cid).await;
                // A path below the name is read, wherever it is.
                let path = format!("/ipns/{published}/page");
                let mut read = String::new();
                let mut file = node.unixfs().open(&path).await.unwrap();
                file.read_to_string(&mut read).await.unwrap();
                assert_eq!(read, content);
            }
            assert_eq!(*name.get_or_insert(published), published);
        }
    }
    println!("kubo::routing: names and their updates are resolved both ways");
}

/// One key here and there, and one sequence of its records.
pub(super) async fn a_key_goes_on_where_it_was(world: &World) {
    let (kubo, node, other) = (&world.kubos[0], &world.ours[1], &world.ours[2]);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("key");
    // Made by ours, and gone on with by Kubo.
    node.keys().generate("site", KeyType::Ed25519).await.unwrap();
    for text in ["ours", "and ours again"] {
        node.names().publish("site", page(node, text).await).await.unwrap();
    }
    let key = node.keys().export("site").await.unwrap();
    fs::write(&file, key.to_protobuf().unwrap()).unwrap();
    kubo.says(&["key", "import", "site", text(&file)]).await;
    let cid = page(node, "Kubo's").await;
    let name = kubo_publishes(kubo, "site", cid).await;
    assert_eq!(name, Name::from(&key.pair().public()));
    ours_resolves(other, &name.to_string(), cid).await;
    let record = kept(node, world.kubos[1].id, &name).await.unwrap();
    assert_eq!((record.sequence(), record.value()), (2, format!("/ipfs/{cid}").as_bytes()));

    // Made by Kubo, and gone on with by ours: of each kind.
    for (kind, options) in [("ed25519", &[][..]), ("rsa", &["-s", "2048"])] {
        let theirs = format!("their {kind}");
        kubo.says(&[&["key", "gen", "-t", kind], options, &[&theirs]].concat()).await;
        for text in ["Kubo's", "and Kubo's again", "a third"] {
            kubo_publishes(kubo, &theirs, page(node, text).await).await;
        }
        let _ = fs::remove_file(&file);
        kubo.says(&["key", "export", "-o", text(&file), &theirs]).await;
        let key = Key::from_protobuf(&fs::read(&file).unwrap()).unwrap();
        node.keys().import(kind, &key).await.unwrap();
        let cid = page(node, "ours").await;
        let published = node.names().publish(kind, cid).await.unwrap();
        assert_eq!(published.record.sequence(), 3, "{kind}");
        for kubo in &world.kubos[1..] {
            kubo_resolves(kubo, &published.name, cid).await;
        }
    }
    println!("kubo::routing: a key goes on with its sequence on the other side");
}

/// One that came late, or was away during an update, has none or an old one: who resolves the name
/// sends it the one that counts.
pub(super) async fn a_peer_without_the_record_is_sent_it(world: &World) {
    let (node, other) = (&world.ours[1], &world.ours[2]);
    node.keys().generate("late", KeyType::Ed25519).await.unwrap();
    let published = node.names().publish("late", page(node, "old").await).await.unwrap();
    let (name, old) = (published.name, published.record.as_bytes().clone());
    node.names().publish("late", page(node, "new").await).await.unwrap();
    let late = Peer::start(&world.place, &world.kubos[0].kubo.program, "dht").await;
    other.connect(&late.address().await).await.unwrap();
    ask(other, late.id, &Message::with_value(Kind::PutValue, name.routing_key(), old)).await;
    assert_eq!(kept(other, late.id, &name).await.unwrap().sequence(), 0);
    until("a peer is sent what it lacks", || async {
        other.names().resolve(&format!("/ipns/{name}")).await.unwrap();
        kept(other, late.id, &name).await.unwrap().sequence() == 1
    })
    .await;
    println!("kubo::routing: ours sends a stale peer of Kubo what it lacks");
}

/// Its publisher is gone, and those who never asked before find it.
pub(super) async fn a_name_outlives_its_publisher(mut world: World) {
    let cid = page(&world.ours[1], "the last one").await;
    let theirs = kubo_publishes(&world.kubos[4], "self", cid).await;
    let ours = world.ours[1].names().publish("self", cid).await.unwrap().name;
    // Not killed: then others would wait for it as long as their connections over QUIC last.
    world.kubos.remove(4).says(&["shutdown"]).await;
    world.ours.remove(1).close().await.unwrap();
    for kubo in &world.kubos {
        kubo_resolves(kubo, &ours, cid).await;
        kubo_resolves(kubo, &theirs, cid).await;
    }
    for node in &world.ours {
        ours_resolves(node, &ours.to_string(), cid).await;
        ours_resolves(node, &theirs.to_string(), cid).await;
    }
    let late = world.place.node(Mode::Client).spawn().await.unwrap();
    late.connect(&world.kubos[0].address().await).await.unwrap();
    ours_resolves(&late, &theirs.to_string(), cid).await;
    ours_resolves(&late, &ours.to_string(), cid).await;
    println!("kubo::routing: names outlive their publishers");
}
