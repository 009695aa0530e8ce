//! Where keys are kept, each under its name.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipfs_traits::{Error, Result, async_trait};

use super::Key;

/// Keys under names.
///
/// # Contract
///
/// A name that is put or renamed to has passed [`check_name`]; one that is asked for may be any
/// text. What [`put`](Self::put), [`remove`](Self::remove) and [`rename`](Self::rename) did is
/// durable when they return, and each of them happens wholly or not at all: there is no moment at
/// which a key that was kept cannot be read under one of its names.
///
/// # Implementing
///
/// ```
/// use ipfs_core::{Error, Key, Keystore, Result, async_trait, check_name, identity::KeyType};
///
/// /// One key, which cannot be taken away.
/// #[derive(Debug)]
/// struct Only(Key);
///
/// #[async_trait]
/// impl Keystore for Only {
///     async fn list(&self) -> Result<Vec<String>> {
///         Ok(vec!["only".into()])
///     }
///     async fn get(&self, name: &str) -> Result<Option<Key>> {
///         Ok((name == "only").then(|| self.0.clone()))
///     }
///     async fn put(&self, name: &str, _: &Key) -> Result<()> {
///         check_name(name)?;
///         Err(Error::unsupported("another key"))
///     }
///     async fn remove(&self, _: &str) -> Result<bool> {
///         Err(Error::unsupported("removing the key"))
///     }
///     async fn rename(&self, _: &str, _: &str, _: bool) -> Result<()> {
///         Err(Error::unsupported("another name"))
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let store = Only(Key::generate(KeyType::Ed25519)?);
/// let node = ipfs_core::Node::builder().keystore(store).offline().spawn().await?;
/// let names: Vec<String> = node.keys().list().await?.into_iter().map(|key| key.name).collect();
/// assert_eq!(names, ["self", "only"]);
/// # node.close().await?;
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
///
/// # Cancel safety
///
/// Every future may be dropped at any time. What was begun has then happened wholly or not at all.
///
/// # Errors
///
/// [`Error::Exists`] for a name that is taken; those of [`check_name`]; those of
/// [`Key::from_protobuf`] for what is kept and cannot be read; [`Error::Component`] for what the
/// disk says.
#[async_trait]
pub trait Keystore: Debug + Send + Sync + 'static {
    /// The names, sorted.
    async fn list(&self) -> Result<Vec<String>>;

    /// The key of a name, if there is one.
    async fn get(&self, name: &str) -> Result<Option<Key>>;

    /// Keeps a key under a name that is free.
    async fn put(&self, name: &str, key: &Key) -> Result<()>;

    /// Forgets a key, one that cannot be read too; `false` when there was none.
    async fn remove(&self, name: &str) -> Result<bool>;

    /// Gives a key another name; with `force` in place of the key that has it. A key that is not
    /// there is [`Error::Invalid`]; the same name twice changes nothing.
    async fn rename(&self, old: &str, new: &str, force: bool) -> Result<()>;
}

/// The longest name of a key, in bytes: as the name of a file, `key_` and base32, it has 255.
pub const MAX_KEY_NAME: usize = 156;

/// Whether a new key may have this name.
///
/// # Errors
///
/// [`Error::Invalid`] for an empty one, one with a `/`, and `self`, which is the node's own key;
/// [`Error::Limit`] beyond [`MAX_KEY_NAME`].
pub fn check_name(name: &str) -> Result<()> {
    let reason = match name {
        "" => "it is empty",
        super::SELF => "it is that of the node's own key",
        _ if name.contains('/') => "it has a slash",
        _ if name.len() > MAX_KEY_NAME => {
            return Err(Error::limit("bytes of a key's name", MAX_KEY_NAME, name.len()));
        }
        _ => return Ok(()),
    };
    Err(Error::invalid("key name", reason))
}

pub(super) fn no_such_key(name: &str) -> Error {
    Error::invalid("key name", format!("there is no key named {name:?}"))
}

/// Keys in memory, which go with it. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryKeystore(Arc<Mutex<BTreeMap<String, Key>>>);

impl MemoryKeystore {
    /// A store without keys.
    pub fn new() -> Self {
        Self::default()
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<String, Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Keystore for MemoryKeystore {
    async fn list(&self) -> Result<Vec<String>> {
        Ok(self.keys().keys().cloned().collect())
    }

    async fn get(&self, name: &str) -> Result<Option<Key>> {
        Ok(self.keys().get(name).cloned())
    }

    async fn put(&self, name: &str, key: &Key) -> Result<()> {
        check_name(name)?;
        match self.keys().entry(name.to_owned()) {
            Entry::Occupied(_) => Err(exists(name)),
            Entry::Vacant(free) => {
                free.insert(key.clone());
                Ok(())
            }
        }
    }

    async fn remove(&self, name: &str) -> Result<bool> {
        Ok(self.keys().remove(name).is_some())
    }

    async fn rename(&self, old: &str, new: &str, force: bool) -> Result<()> {
        check_name(new)?;
        let mut keys = self.keys();
        if !keys.contains_key(old) {
            return Err(no_such_key(old));
        }
        if old != new && !force && keys.contains_key(new) {
            return Err(exists(new));
        }
        if let Some(key) = keys.remove(old) {
            keys.insert(new.to_owned(), key);
        }
        Ok(())
    }
}

pub(super) fn exists(name: &str) -> Error {
    Error::Exists(format!("a key named {name:?}"))
}
