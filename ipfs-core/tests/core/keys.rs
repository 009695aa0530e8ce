//! Keys, where they are kept, and the change of a node's own.

use std::{fs, path::Path, sync::Arc};

use ipfs_core::{
    Error, FolderKeystore, Key, Keystore, MAX_KEY_NAME, MemoryKeystore, Node, TokioRuntime,
    identity::{KeyType, Keypair},
};
use proptest::prelude::*;

use crate::{hostile::keys::keys, support::text};

async fn folder(path: &Path) -> FolderKeystore {
    FolderKeystore::open(path, Arc::new(TokioRuntime::current().unwrap())).await.unwrap()
}

fn new_key() -> Key {
    Key::generate(KeyType::Ed25519).unwrap()
}

/// What every keystore promises; it begins without a key.
async fn keeps_promises(store: &dyn Keystore) {
    let (a, b) = (new_key(), Key::generate(KeyType::Secp256k1).unwrap());
    let kept = async |name: &str| store.get(name).await.unwrap().map(|key| key.peer_id());
    assert!(store.list().await.unwrap().is_empty());
    assert_eq!(kept("b").await, None);
    let longest = "x".repeat(MAX_KEY_NAME);
    for name in ["b", "Ünïcode name", &longest] {
        store.put(name, &a).await.unwrap();
        assert!(matches!(store.put(name, &b).await, Err(Error::Exists(_))), "{name}");
        assert_eq!(kept(name).await, Some(a.peer_id()));
    }
    assert_eq!(store.list().await.unwrap(), ["b", &longest, "Ünïcode name"]);
    for name in ["", "a/b", "self"] {
        assert!(matches!(store.put(name, &a).await, Err(Error::Invalid { .. })), "{name}");
        assert!(matches!(store.rename("b", name, true).await, Err(Error::Invalid { .. })));
        assert_eq!(kept(name).await, None);
    }
    let too_long = "x".repeat(MAX_KEY_NAME + 1);
    assert!(matches!(store.put(&too_long, &a).await, Err(Error::Limit { .. })));
    assert_eq!(kept(&too_long).await, None);
    assert!(!store.remove(&too_long).await.unwrap());

    store.put("c", &b).await.unwrap();
    assert!(matches!(store.rename("b", "c", false).await, Err(Error::Exists(_))));
    assert!(matches!(store.rename("nobody", "c", true).await, Err(Error::Invalid { .. })));
    store.rename("b", "b", false).await.unwrap();
    assert_eq!((kept("b").await, kept("c").await), (Some(a.peer_id()), Some(b.peer_id())));
    store.rename("b", "c", true).await.unwrap();
    assert_eq!((kept("b").await, kept("c").await), (None, Some(a.peer_id())));
    store.rename("c", "d", false).await.unwrap();
    assert_eq!((kept("c").await, kept("d").await), (None, Some(a.peer_id())));
    for name in ["d", "Ünïcode name", &longest] {
        assert!(store.remove(name).await.unwrap());
        assert!(!store.remove(name).await.unwrap());
    }
    assert!(store.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn keystores_keep_their_promises() {
    keeps_promises(&MemoryKeystore::new()).await;
    let place = tempfile::tempdir().unwrap();
    keeps_promises(&folder(&place.path().join("a/b")).await).await;
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_keys() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("keystore");
    folder(&path).await.put("a", &new_key()).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("key_me"))), (0o700, 0o400));
}

/// The power fails while a key is written: what is left over is in nobody's way, and is no key. One
/// that is damaged is an error under its name alone, and can be removed.
#[tokio::test]
async fn what_is_left_over_or_damaged_hides_no_other_key() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("keystore");
    let store = folder(&path).await;
    for (file, content) in [(".partial", &b"half"[..]), ("README", b""), ("key_!", b"")] {
        fs::write(path.join(file), content).unwrap();
    }
    store.put("a", &new_key()).await.unwrap();
    assert_eq!(store.list().await.unwrap(), ["a"]);
    assert!(!path.join(".partial").exists());
    fs::write(path.join("key_mi"), "nonsense").unwrap();
    // A file of 1 GiB is not read.
    let huge = fs::File::create(path.join("key_mm")).unwrap();
    huge.set_len(1 << 30).unwrap();
    let node = Node::builder().keystore(store).offline().spawn().await.unwrap();
    let keys = node.keys().list().await.unwrap();
    let names: Vec<&str> = keys.iter().map(|key| &key.name[..]).collect();
    assert_eq!(names, ["self", "a", "b", "c"]);
    assert!(keys[1].peer.is_ok() && keys[1].ipns_name().unwrap().starts_with("k51"));
    assert!(matches!(keys[2].peer, Err(Error::Malformed { .. })));
    assert!(matches!(keys[3].peer, Err(Error::Limit { .. })));
    assert_eq!(node.keys().pairs().await.unwrap().len(), 2);
    for name in ["b", "c"] {
        node.keys().remove(name).await.unwrap();
    }
    assert_eq!(node.keys().list().await.unwrap().len(), 2);
}

/// A library of ciphers holds RSA keys that it does not give back; they are kept byte for byte.
#[tokio::test]
async fn an_rsa_key_is_kept() {
    let key = Key::from_pem(&text("keys/rsa-2048.pem")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let node = || Node::builder().data_dir(place.path()).identity(key.clone()).offline().spawn();
    let first = node().await.unwrap();
    assert_eq!(first.peer_id(), key.peer_id());
    first.keys().import("again", &key).await.unwrap();
    first.close().await.unwrap();
    let second = node().await.unwrap();
    for name in ["self", "again"] {
        let kept = second.keys().export(name).await.unwrap();
        assert_eq!(kept.to_pem().unwrap(), text("keys/rsa-2048.pem"));
    }
    let bare = Key::from(key.pair().clone());
    assert!(bare.verify(b"data", &bare.sign(b"data").unwrap()));
    assert!(matches!(bare.to_protobuf(), Err(Error::Unsupported(_))));
    assert!(matches!(bare.to_pem(), Err(Error::Unsupported(_))));
    assert!(matches!(Key::generate(KeyType::RSA), Err(Error::Unsupported(_))));
}

#[tokio::test]
async fn a_node_has_keys() {
    let node = Node::builder().offline().spawn().await.unwrap();
    let keys = node.keys();
    let blog = keys.generate("blog", KeyType::Ed25519).await.unwrap();
    for name in ["self", "a/b", ""] {
        let made = keys.generate(name, KeyType::Ed25519).await;
        assert!(matches!(made, Err(Error::Invalid { .. })), "{name}");
    }
    assert!(matches!(keys.remove("self").await, Err(Error::Invalid { .. })));
    assert!(matches!(keys.rename("self", "me", true).await, Err(Error::Invalid { .. })));
    assert!(matches!(keys.export("nobody").await, Err(Error::Invalid { .. })));
    assert!(matches!(keys.remove("nobody").await, Err(Error::Invalid { .. })));
    keys.rename("blog", "diary", false).await.unwrap();
    let peer = keys.export("diary").await.unwrap().peer_id();
    assert_eq!(blog.peer.unwrap(), peer);
    let listed = keys.list().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|key| (key.name, key.peer.unwrap())).collect();
    assert_eq!(listed, [("self".into(), node.peer_id()), ("diary".into(), peer)]);
    assert!(matches!(keys.rotate("old", KeyType::Ed25519).await, Err(Error::Unsupported(_))));
    node.close().await.unwrap();
    assert!(matches!(keys.list().await, Err(Error::Closed(_))));
    assert!(matches!(keys.generate("late", KeyType::Ed25519).await, Err(Error::Closed(_))));
}

#[tokio::test]
async fn what_a_user_signs_is_verified_by_any_name_of_the_key() {
    let node = Node::builder().offline().spawn().await.unwrap();
    let keys = node.keys();
    let key = keys.generate("key", KeyType::Ed25519).await.unwrap();
    let (peer, name) = (key.peer.clone().unwrap().to_string(), key.ipns_name().unwrap());
    let signature = keys.sign("key", b"data").await.unwrap();
    for who in ["key", &peer, &name, &format!("/ipns/{name}")] {
        assert!(keys.verify(who, b"data", &signature).await.unwrap(), "{who}");
        assert!(!keys.verify(who, b"other", &signature).await.unwrap());
        assert!(!keys.verify(who, b"data", b"").await.unwrap());
    }
    assert!(!keys.verify("self", b"data", &signature).await.unwrap());
    for who in ["nobody", "", "bafkqaaa", &"k".repeat(1 << 20)] {
        let answer = keys.verify(who, b"data", &signature).await;
        assert!(matches!(answer, Err(Error::Invalid { .. })), "{who:.20}");
    }
    let rsa = Key::from_pem(&text("keys/rsa-2048.pem")).unwrap();
    let answer = keys.verify(&rsa.ipns_name(), b"data", &signature).await;
    assert!(matches!(answer, Err(Error::Unsupported(_))));
}

/// A network of one's own has a key that the node does not.
#[tokio::test]
async fn the_key_of_a_given_network_is_its_own() {
    let hub = ipfs_core::memory::MemoryHub::new();
    let network = hub.join(ipfs_core::memory::peer_id(1)).unwrap();
    let node = Node::builder().network(network).spawn().await.unwrap();
    assert_eq!(node.keys().list().await.unwrap()[0].peer.clone().unwrap(), node.peer_id());
    assert!(matches!(node.keys().export("self").await, Err(Error::Unsupported(_))));
    assert!(node.keys().pairs().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_node_gets_another_name_and_keeps_the_old_key() {
    let place = tempfile::tempdir().unwrap();
    let node = || Node::builder().data_dir(place.path()).offline().spawn();
    let first = node().await.unwrap();
    let old = first.peer_id();
    let taken = first.keys().generate("taken", KeyType::Ed25519).await.unwrap();
    let refused = first.keys().rotate("taken", KeyType::Ed25519).await;
    assert!(matches!(refused, Err(Error::Exists(_))));
    let new = first.keys().rotate("old", KeyType::Ed25519).await.unwrap();
    assert_eq!(first.peer_id(), old);
    // What was never used is kept too.
    let newer = first.keys().rotate("unused", KeyType::Secp256k1).await.unwrap();
    first.close().await.unwrap();
    assert!(matches!(first.keys().rotate("late", KeyType::Ed25519).await, Err(Error::Closed(_))));

    let second = node().await.unwrap();
    assert_eq!(second.peer_id(), newer);
    let peer = async |name: &str| second.keys().export(name).await.map(|key| key.peer_id());
    assert_eq!(peer("old").await.unwrap(), old);
    assert_eq!(peer("unused").await.unwrap(), new);
    assert_eq!(peer("taken").await.unwrap(), taken.peer.unwrap());
}

/// The power fails when the old key is kept and the new one is not there yet: the node is who it was,
/// and the same call goes on.
#[tokio::test]
async fn a_change_of_name_that_was_cut_off_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let node = || Node::builder().data_dir(place.path()).offline().spawn();
    let first = node().await.unwrap();
    let own = first.keys().export("self").await.unwrap();
    first.keys().import("old", &own).await.unwrap();
    fs::write(place.path().join("identity.partial"), "half").unwrap();
    first.close().await.unwrap();
    let second = node().await.unwrap();
    assert_eq!(second.peer_id(), own.peer_id());
    let new = second.keys().rotate("old", KeyType::Ed25519).await.unwrap();
    second.close().await.unwrap();
    let third = node().await.unwrap();
    assert_eq!(third.peer_id(), new);
    assert_eq!(third.keys().export("old").await.unwrap().peer_id(), own.peer_id());
}

#[test]
fn debug_shows_no_secret() {
    for kind in [KeyType::Ed25519, KeyType::Secp256k1, KeyType::Ecdsa] {
        let key = Key::generate(kind).unwrap();
        let public = format!("Key {{ kind: {:?}, peer: {:?} }}", key.kind(), key.peer_id());
        assert_eq!(format!("{key:?}"), public);
    }
}

/// An RSA key as protobuf whose modulus has so many bits, and that is none otherwise.
fn rsa_of(bits: usize) -> Vec<u8> {
    let element = |tag: u8, content: &[u8]| {
        let len = (content.len() as u16).to_be_bytes();
        [&[tag, 0x82, len[0], len[1]], content].concat()
    };
    let mut modulus = vec![0xff; bits.div_ceil(8) + 1];
    modulus[0] = 0;
    modulus[1] >>= (8 - bits % 8) % 8;
    let numbers = [&[2, 1, 0][..], &element(2, &modulus), &element(2, &vec![1; 300])].concat();
    let key = element(0x30, &numbers);
    let mut protobuf = vec![8, 0];
    ipfs_core::protobuf::write_bytes(2, &key, &mut protobuf);
    protobuf
}

#[test]
fn rsa_keys_have_a_size() {
    for (bits, limit) in [(2047, 2048), (8193, 8192), (16_384, 8192)] {
        let read = Key::from_protobuf(&rsa_of(bits));
        let Err(Error::Limit { limit: found, actual, .. }) = read else {
            panic!("{bits}: {read:?}")
        };
        assert_eq!((found, actual), (limit, bits as u64));
    }
    for bits in [4097, 8192] {
        assert!(matches!(Key::from_protobuf(&rsa_of(bits)), Err(Error::Unsupported(_))), "{bits}");
    }
    assert!(matches!(Key::from_protobuf(&rsa_of(2048)), Err(Error::Malformed { .. })));
}

#[test]
fn long_texts_are_not_looked_at() {
    let long = vec![0; Key::MAX_LEN + 1];
    assert!(matches!(Key::from_protobuf(&long), Err(Error::Limit { .. })));
    let long = text("keys/ed25519.pem") + &"\n".repeat(Key::MAX_LEN);
    assert!(matches!(Key::from_pem(&long), Err(Error::Limit { .. })));
}

/// An ed25519 key whose public half is another's would sign what nobody can verify, and give its
/// seed away doing so.
#[test]
fn the_halves_of_an_ed25519_key_belong_together() {
    let (key, other) = (new_key().to_protobuf().unwrap(), new_key().to_protobuf().unwrap());
    let mixed = [&key[..36], &other[36..]].concat();
    assert!(matches!(Key::from_protobuf(&mixed), Err(Error::Malformed { .. })));
    // Old files have the public half twice.
    let twice = [&[8, 1, 0x12, 96], &key[4..], &key[36..]].concat();
    assert_eq!(Key::from_protobuf(&twice).unwrap().to_protobuf().unwrap(), key);
    let wrong = [&[8, 1, 0x12, 96], &key[4..], &other[36..]].concat();
    assert!(Key::from_protobuf(&wrong).is_err());
}

fn formats() -> Vec<Vec<u8>> {
    let names = ["ed25519", "rsa-2048", "secp256k1", "p256"];
    let keys = names.map(|name| Key::from_pem(&text(&format!("keys/{name}.pem"))).unwrap());
    let protobufs = keys.iter().map(|key| key.to_protobuf().unwrap());
    protobufs.chain(keys.iter().map(|key| key.to_pem().unwrap().into_bytes())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes, and keys with a few bytes changed or cut off, are a key or an error.
    #[test]
    fn no_bytes_make_a_reader_panic(
        noise in proptest::collection::vec(any::<u8>(), 0..400),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        keys(&noise);
        for mut format in formats() {
            for (at, byte) in &changes {
                let at = at.index(format.len());
                format[at] = *byte;
            }
            keys(&format);
            format.truncate(cut.index(format.len()));
            keys(&format);
        }
    }
}

/// A bare pair is a node's identity, as ever.
#[tokio::test]
async fn a_pair_is_an_identity() {
    let pair = Keypair::generate_ed25519();
    let node = Node::builder().identity(pair.clone()).offline().spawn().await.unwrap();
    assert_eq!(node.keys().export("self").await.unwrap().peer_id(), pair.public().to_peer_id());
}
