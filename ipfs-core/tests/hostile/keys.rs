//! What must hold of private keys whatever they are read from: shared by the test and the fuzz
//! target.

use ipfs_core::{Key, Result};

/// What is read as a key is written so that it can be read, and signs what it verifies.
pub(crate) fn keys(bytes: &[u8]) {
    let read = |key: Result<Key>| {
        let Ok(key) = key else { return };
        // An RSA key whose numbers do not belong together is found out by signing.
        if let Ok(signature) = key.sign(b"data") {
            assert!(key.verify(b"data", &signature));
        }
        Key::from_protobuf(&key.to_protobuf().expect("it was read")).expect("its own");
        Key::from_pem(&key.to_pem().expect("it was read")).expect("its own");
    };
    read(Key::from_protobuf(bytes));
    read(Key::from_pem(&String::from_utf8_lossy(bytes)));
}
