//! The keys of a node: its own, and those that names are published with.

mod der;
mod folder;
mod key;
mod pkcs8;
mod store;

use ipfs_traits::{Error, PeerId, Result, RuntimeExt};
use libp2p_identity::{KeyType, Keypair, PublicKey};

pub use self::{
    folder::FolderKeystore,
    key::Key,
    store::{Keystore, MAX_KEY_NAME, MemoryKeystore, check_name},
};
use crate::{Node, data_dir};

/// The name of the node's own key.
pub(crate) const SELF: &str = "self";

/// What stands before data that a user signs, so that no signature is one of something else.
const SIGNED: &[u8] = b"libp2p-key signed message:";

/// The keys of a node. `self` is the node's own key, and is in no [`Keystore`].
///
/// ```
/// # use ipfs_core::{Error, Node, identity::KeyType};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let node = Node::builder().offline().spawn().await?;
/// let blog = node.keys().generate("blog", KeyType::Ed25519).await?;
/// println!("/ipns/{}", blog.ipns_name()?);
///
/// let signature = node.keys().sign("blog", b"I wrote this").await?;
/// let name = blog.ipns_name()?;
/// assert!(node.keys().verify(&name, b"I wrote this", &signature).await?);
/// # node.close().await?;
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// Beside those that each call names: what the keystore says, and [`Error::Closed`] once the node is
/// closed. A key that is not there is [`Error::Invalid`].
#[derive(Clone, Debug)]
pub struct Keys {
    node: Node,
}

/// A key, without its secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyInfo {
    /// What it is called in this node.
    pub name: String,
    /// What it is known by elsewhere, or why what is kept under its name cannot be read.
    pub peer: Result<PeerId>,
}

impl KeyInfo {
    fn new(name: &str, peer: Result<PeerId>) -> Self {
        Self { name: name.to_owned(), peer }
    }

    /// What stands behind `/ipns/` for this key.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn ipns_name(&self) -> Result<String> {
        self.peer.as_ref().map(key::ipns_name).map_err(Clone::clone)
    }
}

impl Keys {
    pub(crate) const fn new(node: Node) -> Self {
        Self { node }
    }

    /// All keys, `self` first, then by name.
    ///
    /// # Errors
    ///
    /// Those above. A single key that cannot be read is an error of its entry alone.
    pub async fn list(&self) -> Result<Vec<KeyInfo>> {
        let mut keys = vec![KeyInfo::new(SELF, Ok(self.node.peer_id()))];
        let store = self.store().await?;
        for name in store.list().await? {
            // Another node's keystore may hold one; in this one the name is taken.
            if name == SELF {
                continue;
            }
            // `None`: it has just gone.
            if let Some(key) = store.get(&name).await.transpose() {
                keys.push(KeyInfo::new(&name, key.map(|key| key.peer_id())));
            }
        }
        Ok(keys)
    }

    /// Makes a key.
    ///
    /// # Errors
    ///
    /// Those of [`check_name`], [`Error::Exists`], and those of [`Key::generate`].
    pub async fn generate(&self, name: &str, kind: KeyType) -> Result<KeyInfo> {
        check_name(name)?;
        self.import(name, &Key::generate(kind)?).await
    }

    /// Takes a key that was made elsewhere.
    ///
    /// # Errors
    ///
    /// Those of [`check_name`], and [`Error::Exists`].
    pub async fn import(&self, name: &str, key: &Key) -> Result<KeyInfo> {
        check_name(name)?;
        self.store().await?.put(name, key).await?;
        Ok(KeyInfo::new(name, Ok(key.peer_id())))
    }

    /// A key with its secret, to be taken elsewhere; `self` too.
    ///
    /// # Errors
    ///
    /// Those above, and [`Error::Unsupported`] for the own key of a network that was given with the
    /// builder, which keeps it to itself.
    pub async fn export(&self, name: &str) -> Result<Key> {
        let store = self.store().await?;
        if name == SELF {
            let own = self.node.identity().cloned();
            return own.ok_or_else(|| Error::unsupported("the key of a network of one's own"));
        }
        store.get(name).await?.ok_or_else(|| store::no_such_key(name))
    }

    /// Gives a key another name; with `force` in place of the key that has it, which is then lost.
    ///
    /// # Errors
    ///
    /// Those of [`check_name`], and [`Error::Exists`].
    pub async fn rename(&self, old: &str, new: &str, force: bool) -> Result<()> {
        check_not_self(old)?;
        check_name(new)?;
        self.store().await?.rename(old, new, force).await
    }

    /// Forgets a key. What was published with it can then never be changed again.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for `self`.
    pub async fn remove(&self, name: &str) -> Result<()> {
        check_not_self(name)?;
        match self.store().await?.remove(name).await? {
            true => Ok(()),
            false => Err(store::no_such_key(name)),
        }
    }

    /// Gives the node another key of its own, and keeps the one of the data directory under
    /// `old_name`. The node goes on with its old name until it is started again; a builder that is
    /// given an [`identity`](crate::Builder::identity) must then be given the new one.
    ///
    /// The old key is durable under its name before the new one takes its place: of a call that is
    /// cut off nothing is lost, and it can be made again with the same `old_name`.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] without a data directory; those of [`generate`](Self::generate).
    pub async fn rotate(&self, old_name: &str, kind: KeyType) -> Result<PeerId> {
        check_name(old_name)?;
        let new = Key::generate(kind)?;
        let folder = self.node.data_dir().cloned();
        let folder =
            folder.ok_or_else(|| Error::unsupported("a new identity without a data directory"))?;
        // The node is not closed meanwhile, so the folder is locked for it.
        let _open = self.node.stay_open().await?;
        let runtime = self.node.runtime();
        let of = folder.clone();
        let old = runtime.blocking(move || data_dir::identity(&of)).await??;
        match self.node.keystore().put(old_name, &old).await {
            Err(Error::Exists(what)) => {
                let kept = self.node.keystore().get(old_name).await?;
                if kept.is_none_or(|kept| kept.public() != old.public()) {
                    return Err(Error::Exists(what));
                }
            }
            kept => kept?,
        }
        let peer = new.peer_id();
        runtime.blocking(move || data_dir::set_identity(&folder, &new)).await??;
        Ok(peer)
    }

    /// Signs data with a key, as `ipfs key sign` does: with `libp2p-key signed message:` before it.
    ///
    /// # Errors
    ///
    /// Those of [`export`](Self::export) and [`Key::sign`].
    pub async fn sign(&self, name: &str, data: &[u8]) -> Result<Vec<u8>> {
        self.export(name).await?.sign(&[SIGNED, data].concat())
    }

    /// Whether data was signed with [`sign`](Self::sign), or `ipfs key sign`, by `who`: the name of a
    /// key of this node, or else the peer id or `/ipns` name of any.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it names nobody; [`Error::Unsupported`] for a peer id that does not
    /// hold its public key, as that of an RSA key.
    pub async fn verify(&self, who: &str, data: &[u8], signature: &[u8]) -> Result<bool> {
        let key = match self.export(who).await {
            Ok(key) => key.public(),
            Err(Error::Invalid { .. }) => public_key(who)?,
            Err(error) => return Err(error),
        };
        Ok(key.verify(&[SIGNED, data].concat(), signature))
    }

    /// The pairs of all keys that can be read, that of the node included: what signs records anew.
    ///
    /// # Errors
    ///
    /// Those above.
    pub async fn pairs(&self) -> Result<Vec<Keypair>> {
        let store = self.store().await?;
        pairs(self.node.identity(), store).await
    }

    async fn store(&self) -> Result<&dyn Keystore> {
        drop(self.node.stay_open().await?);
        Ok(self.node.keystore())
    }
}

/// The pairs of all keys that can be read.
pub(crate) async fn pairs(own: Option<&Key>, store: &dyn Keystore) -> Result<Vec<Keypair>> {
    let mut pairs: Vec<Keypair> = own.map(|own| own.pair().clone()).into_iter().collect();
    for name in store.list().await? {
        match store.get(&name).await {
            Ok(key) => pairs.extend(key.map(|key| key.pair().clone())),
            Err(error) => tracing::warn!(%error, name, "a key cannot be read"),
        }
    }
    Ok(pairs)
}

fn check_not_self(name: &str) -> Result<()> {
    match name {
        SELF => Err(Error::invalid("key name", "the node's own key stays where it is")),
        _ => Ok(()),
    }
}

/// The public key that a name holds.
fn public_key(name: &str) -> Result<PublicKey> {
    let peer = key::parse_name(name).ok_or_else(|| {
        Error::invalid("key name", format!("{name:?} is no key, no IPNS name and no peer id"))
    })?;
    let hash: &multiaddr::multihash::Multihash<64> = peer.as_ref();
    let inline = Some(hash.digest()).filter(|_| hash.code() == ipfs_traits::codes::IDENTITY);
    inline
        .and_then(|key| PublicKey::try_decode_protobuf(key).ok())
        .ok_or_else(|| Error::unsupported("verifying by a name that does not hold its key"))
}
