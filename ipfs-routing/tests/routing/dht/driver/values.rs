//! Values: put, found, bettered, and never believed without proof.

use futures::{StreamExt, TryStreamExt};
use ipfs_routing::dht::message::{Kind, Message};
use ipfs_traits::{Bytes, Error, Network, Routing};

use super::net::{Net, Node, ask};

const KEY: &[u8] = b"/test/key";

async fn values(node: &Node) -> Vec<Bytes> {
    node.dht.get_value(KEY).try_collect().await.unwrap()
}

/// What a node answers to others.
async fn kept(asker: &Node, node: &Node) -> Option<Bytes> {
    let answer = ask(&asker.wire, node.id, &Message::new(Kind::GetValue, KEY)).await.unwrap();
    answer.record.map(|record| record.value)
}

#[test]
fn a_value_is_found_and_a_better_one_takes_its_place() {
    Net::run(async |net| {
        let nodes = net.chain(0..10).await;
        nodes[0].dht.put_value(KEY, "v1".into()).await.unwrap();
        assert_eq!(values(&nodes[9]).await.last().unwrap(), "v1");
        nodes[5].dht.put_value(KEY, "v2".into()).await.unwrap();
        for node in &nodes {
            assert_eq!(values(node).await.last().unwrap(), "v2");
        }
        let worse = nodes[3].dht.put_value(KEY, "v1".into()).await;
        assert!(matches!(worse, Err(Error::Invalid { .. })), "{worse:?}");
        assert_eq!(values(&nodes[3]).await.last().unwrap(), "v2");
    });
}

#[test]
fn peers_with_an_older_value_or_none_are_given_the_best() {
    Net::run(async |net| {
        let nodes = net.chain(0..10).await;
        let put = async |to: &Node, value: &'static str| {
            let request = Message::with_value(Kind::PutValue, KEY, value.into());
            ask(&nodes[0].wire, to.id, &request).await.unwrap();
        };
        put(&nodes[4], "v1").await;
        put(&nodes[5], "v3").await;
        put(&nodes[6], "v2").await;
        let found = values(&nodes[9]).await;
        assert_eq!(found.last().unwrap(), "v3");
        assert!(found.is_sorted(), "each is better than the one before: {found:?}");
        net.wait(30).await;
        for node in &nodes[1..9] {
            assert_eq!(kept(&nodes[0], node).await.unwrap(), "v3", "{node:?}");
        }
    });
}

/// A peer has a value that nobody may believe.
#[test]
fn values_that_are_not_valid_are_neither_given_nor_kept() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let liar = net.liar(1, |_, request| {
            let mut answer = Message::new(request.kind, request.key.clone());
            if request.kind == Kind::GetValue {
                answer = Message::with_value(request.kind, request.key, "x9".into());
            }
            Some(answer)
        });
        liar.connect(&node.id.into()).await.unwrap();
        node.dht.ready().await;
        assert!(values(&node).await.is_empty());
        assert_eq!(node.dht.stats().invalid_values, 1);
        let request = Message::with_value(Kind::PutValue, KEY, "x9".into());
        assert_eq!(ask(&liar, node.id, &request).await, None);
        assert_eq!(node.dht.records(), (0, 0));
        let own = node.dht.put_value(KEY, "x9".into()).await;
        assert!(matches!(own, Err(Error::Invalid { .. })), "{own:?}");
        let unknown = node.dht.put_value(b"/other/key", "v".into()).await;
        assert!(matches!(unknown, Err(Error::Unsupported(_))), "{unknown:?}");
        let unknown = node.dht.get_value(b"/other/key").next().await;
        assert!(matches!(unknown, Some(Err(Error::Unsupported(_)))), "{unknown:?}");
    });
}

/// A caller of this node put a value under a key that no datastore takes. It waited to be written
/// with all that came after it, and nothing was written any more.
#[test]
fn a_key_that_is_too_long_is_refused_and_the_rest_is_written() {
    Net::run(async |net| {
        let nodes = net.chain(0..2).await;
        let long = [b"/test/", &[b'k'; 600][..]].concat();
        let put = nodes[0].dht.put_value(&long, "v".into()).await;
        assert!(matches!(put, Err(Error::Limit { .. })), "{put:?}");
        let got = nodes[0].dht.get_value(&long).next().await;
        assert!(matches!(got, Some(Err(Error::Limit { .. }))), "{got:?}");
        nodes[0].dht.put_value(KEY, "v1".into()).await.unwrap();
        nodes[0].dht.close().await.unwrap();
        let written = nodes[0].datastore.get(b"dht/any/v/test/key").await.unwrap();
        assert!(written.is_some_and(|stored| stored.ends_with(b"v1")));
    });
}
