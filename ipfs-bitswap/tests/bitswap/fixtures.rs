//! Messages of other implementations.

use ipfs_bitswap::message::{Entry, Message, Received, Version, Want};
use ipfs_traits::{Block, Bytes, Cid, HashTable, varint};

use crate::support::{Report, hex, table};

/// A message in words, as the table has them.
fn describe(message: &Received) -> Vec<String> {
    let mut words = Vec::new();
    for Entry { cid, want, priority, send_dont_have } in message.entries() {
        let kind = match want {
            Want::Block => "want-block",
            Want::Have => "want-have",
            Want::Cancel => "cancel",
        };
        let dont = if send_dont_have { " sendDontHave" } else { "" };
        words.push(format!("{kind} {cid} {priority}{dont}"));
    }
    for (cid, have) in message.presences() {
        words.push(format!("{} {cid}", if have { "HAVE" } else { "DONT_HAVE" }));
    }
    for (prefix, data) in message.payloads() {
        match Block::with_prefix(&prefix, data, &HashTable::standard()) {
            Ok(block) => words.push(format!("block {} of {}", block.cid(), block.len())),
            Err(error) => words.push(format!("block refused: {error}")),
        }
    }
    if message.pending_bytes() > 0 {
        words.push(format!("pending {}", message.pending_bytes()));
    }
    if message.is_full() {
        words.push("full".into());
    }
    words
}

/// What a case should say, in our words.
fn expected(id: &str) -> Option<Vec<&'static str>> {
    Some(match id {
        "go-100-one-want" => vec!["want-block QmRN6wdp1S2A5EtjW9A3M1vKSBuQQGcgvuhoMUoEz4iiT5 10"],
        "helia-empty" => vec![],
        "helia-want-block-v0" => {
            vec!["want-block QmRN6wdp1S2A5EtjW9A3M1vKSBuQQGcgvuhoMUoEz4iiT5 1"]
        }
        "helia-want-have" => {
            vec!["want-have bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa 10"]
        }
        "helia-want-have-dont-have" => vec![
            "want-have bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa 10 sendDontHave",
        ],
        "helia-cancel" => {
            vec!["cancel bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e 0"]
        }
        "helia-mixed-wants" => vec![
            "want-block QmRN6wdp1S2A5EtjW9A3M1vKSBuQQGcgvuhoMUoEz4iiT5 3",
            "want-have bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e 2 sendDontHave",
            "want-block bafk2bzaceaqcxw46uzkyd2jmczoogof6pnkqt4dpiv3pwkunsv4g5rkkmecie 1",
            "want-have baf4bcfhzi72pcj5cc4ocz7igcduubuu7aa3cddi 1",
        ],
        "helia-priority-max" => vec![
            "want-block bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e 2147483647",
        ],
        "helia-priority-negative" => {
            vec!["want-block bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e -1"]
        }
        "helia-dont-have" => {
            vec!["DONT_HAVE bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"]
        }
        "helia-pending-bytes" => vec!["pending 1048576"],
        "helia-block-dagpb-v1" => {
            vec!["block bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa of 19"]
        }
        "helia-block-empty-data" => {
            vec!["block bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku of 0"]
        }
        "helia-block-wrong-prefix-hash" => {
            vec!["block bafkrmidejpgh4vsdomcatgnkzcphmixtzjy7xiozol6zjiy4hp57etrzha of 11"]
        }
        "neg-bad-cid" | "neg-block-bad-prefix" => vec![],
        "neg-unknown-fields" => {
            vec!["want-have bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa 10"]
        }
        _ => return None,
    })
}

#[test]
fn messages() {
    let path = "bitswap/messages.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let bytes = hex(&case["hex"]);
        if case.id() == "go-bitswap110-message-full-wantlist" {
            let (len, body) = varint::read(&bytes, "test").unwrap();
            assert_eq!(len as usize, body.len());
            let message = Received::parse(Bytes::copy_from_slice(body)).unwrap();
            let entries: Vec<Entry> = message.entries().collect();
            report.same(case.id(), (entries.len(), message.is_full()), (7, true));
            continue;
        }
        let found = Received::parse(bytes.into()).map(|message| describe(&message));
        match expected(case.id()) {
            Some(words) => report.same(
                case.id(),
                found.unwrap(),
                words.into_iter().map(String::from).collect(),
            ),
            None => report.same(case.id(), found.is_err(), case.id() == "neg-huge-length"),
        }
    }
    report.finish();
}

/// What is encoded here is read back the same, for every kind of content at once.
#[test]
fn round_trip() {
    let hashes = HashTable::standard();
    let blocks = crate::world::blocks(1, 3, 2 << 20);
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let entry =
        |(i, want)| Entry { cid: cids[i], want, priority: -(i as i32), send_dont_have: i == 1 };
    let message = Message {
        full: true,
        entries: [Want::Have, Want::Block, Want::Cancel]
            .into_iter()
            .enumerate()
            .map(entry)
            .collect(),
        blocks: blocks[..1].to_vec(),
        presences: vec![(cids[1], true), (cids[2], false)],
        pending_bytes: 77,
    };
    let runs = message.encode(Version::V1_2, &hashes).unwrap();
    assert!(runs.iter().any(|run| run.as_ptr() == blocks[0].data().as_ptr()), "nothing is copied");
    let bytes = runs.concat();
    let (len, body) = varint::read(&bytes, "test").unwrap();
    assert_eq!(len as usize, body.len());
    // The largest block that may travel fits a message, with all that stands around it.
    assert!(body.len() < ipfs_bitswap::message::MAX_MESSAGE);
    let read = Received::parse(Bytes::copy_from_slice(body)).unwrap();
    assert_eq!(read.entries().collect::<Vec<_>>(), message.entries);
    assert_eq!(read.presences().collect::<Vec<_>>(), message.presences);
    assert_eq!((read.is_full(), read.pending_bytes()), (true, 77));
    let payloads: Vec<Block> = read
        .payloads()
        .map(|(prefix, data)| Block::with_prefix(&prefix, data, &hashes).unwrap())
        .collect();
    assert_eq!(payloads, message.blocks);
}
