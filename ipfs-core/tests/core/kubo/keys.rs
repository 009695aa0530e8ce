//! Keys: each takes those of the other, reads its keystore as it is, and believes its signatures.

use std::{fs, path::Path, sync::Arc};

use data_encoding::BASE64URL_NOPAD;
use ipfs_core::{FolderKeystore, Key, Keys, Node, TokioRuntime, identity::KeyType};
use serde_json::Value;

use super::{Kubo, program, text};

const KINDS: [(&str, &[&str]); 3] = [
    ("edwards", &["-t", "ed25519"]),
    ("rivest", &["-t", "rsa", "-s", "2048"]),
    ("koblitz", &["-t", "secp256k1"]),
];

async fn keystore(kubo: &Kubo) -> FolderKeystore {
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    FolderKeystore::open(kubo.repo().join("keystore"), runtime).await.unwrap()
}

/// Kubo's names of its keys, without its own.
fn listed(kubo: &Kubo) -> Vec<(String, String)> {
    let list = kubo.run(&["key", "list", "-l"]);
    let keys = list.lines().map(|line| line.split_once(' ').unwrap());
    let keys = keys.map(|(id, name)| (name.trim().to_owned(), id.to_owned()));
    keys.filter(|(name, _)| name != "self").collect()
}

async fn named(keys: &Keys) -> Vec<(String, String)> {
    let keys = keys.list().await.unwrap().into_iter().skip(1);
    keys.map(|key| (key.name.clone(), key.ipns_name().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_both_ways() {
    let Some(program) = program() else { return };
    let kubo = Kubo::new(&program);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("key");
    let node = Node::builder().offline().spawn().await.unwrap();
    let keys = node.keys();
    for (name, kind) in KINDS {
        let id = kubo.run(&[&["key", "gen"], kind, &[name]].concat());
        for format in ["libp2p-protobuf-cleartext", "pem-pkcs8-cleartext"] {
            // Theirs is read, and written as they write it.
            kubo.run(&["key", "export", "-f", format, "-o", text(&file), name]);
            let theirs = fs::read(&file).unwrap();
            let (key, ours) = match format.starts_with("pem") {
                true => {
                    let key = Key::from_pem(str::from_utf8(&theirs).unwrap()).unwrap();
                    let ours = key.to_pem().unwrap().into_bytes();
                    (key, ours)
                }
                false => {
                    let key = Key::from_protobuf(&theirs).unwrap();
                    let ours = key.to_protobuf().unwrap();
                    (key, ours)
                }
            };
            assert_eq!(key.ipns_name(), id, "{name} {format}");
            assert!(ours == theirs, "{name} {format}");
            // And taken back.
            let back = format!("{name} back by {format}");
            kubo.run(&["key", "import", "-f", format, &back, text(&file)]);
            keys.import(&back, &key).await.unwrap();
        }
        let key = keys.export(&format!("{name} back by pem-pkcs8-cleartext")).await.unwrap();
        keys.import(name, &key).await.unwrap();
    }
    // Keys that were made here.
    for kind in [KeyType::Ed25519, KeyType::Secp256k1, KeyType::Ecdsa] {
        let name = format!("{kind:?}");
        keys.generate(&name, kind).await.unwrap();
        let key = keys.export(&name).await.unwrap();
        fs::write(&file, key.to_protobuf().unwrap()).unwrap();
        kubo.run(&["key", "import", "--allow-any-key-type", &name, text(&file)]);
    }
    assert_eq!(listed(&kubo), named(&keys).await);
    signatures(&kubo, &keys, place.path()).await;
}

/// What it says in JSON.
fn told(kubo: &Kubo, args: &[&str]) -> Value {
    serde_json::from_str(&kubo.run(args)).unwrap()
}

/// Each signs with every key, and the other verifies it.
async fn signatures(kubo: &Kubo, keys: &Keys, place: &Path) {
    let file = place.join("data");
    fs::write(&file, "what is signed").unwrap();
    for (name, id) in listed(kubo) {
        let says = told(kubo, &["key", "sign", "-k", &name, text(&file)]);
        let theirs = says["Signature"].as_str().unwrap();
        let theirs = BASE64URL_NOPAD.decode(&theirs.as_bytes()[1..]).unwrap();
        assert!(keys.verify(&name, b"what is signed", &theirs).await.unwrap(), "{name}");
        assert!(!keys.verify(&name, b"what was not", &theirs).await.unwrap(), "{name}");
        let ours = keys.sign(&name, b"what is signed").await.unwrap();
        let ours = format!("u{}", BASE64URL_NOPAD.encode(&ours));
        // By its id too, where that holds the key: then it is no hash, whose text is shorter.
        let who = [&name, &id].into_iter().filter(|who| !who.starts_with("k2"));
        for who in who {
            let says = told(kubo, &["key", "verify", "-k", who, "-s", &ours, text(&file)]);
            assert_eq!(says["SignatureValid"], true, "{name}");
        }
    }
}

/// The folder of the one is opened by the other, and what either does in it is found by both.
#[tokio::test(flavor = "multi_thread")]
async fn a_keystore_is_opened_as_it_is() {
    let Some(program) = program() else { return };
    let kubo = Kubo::new(&program);
    for (name, kind) in KINDS {
        kubo.run(&[&["key", "gen"], kind, &[name]].concat());
    }
    let node = Node::builder().keystore(keystore(&kubo).await).offline().spawn().await.unwrap();
    let keys = node.keys();
    assert_eq!(listed(&kubo), named(&keys).await);
    keys.rename("edwards", "Ünïcode, renamed", false).await.unwrap();
    keys.remove("koblitz").await.unwrap();
    keys.generate("made here", KeyType::Ed25519).await.unwrap();
    assert_eq!(listed(&kubo), named(&keys).await);
    kubo.run(&["key", "rename", "made here", "renamed there"]);
    kubo.run(&["key", "rm", "rivest"]);
    assert_eq!(listed(&kubo), named(&keys).await);
    assert_eq!(named(&keys).await.len(), 2);
}
