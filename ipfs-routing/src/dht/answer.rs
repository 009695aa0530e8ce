//! What a node of the DHT answers.

use std::{
    fmt::{self, Debug},
    sync::{Arc, Mutex, PoisonError},
};

use ipfs_traits::{Error, Multihash, PeerId, PeerInfo, Result, async_trait};

use super::{
    engine::{Engine, Now},
    message::{Kind, Message},
    records::Records,
    scope::Scope,
};

/// What this node itself announces: it is then among the providers that it tells of, also before
/// anybody else keeps its record.
#[async_trait]
pub trait Announced: Debug + Send + Sync + 'static {
    /// Whether the block is announced.
    ///
    /// # Errors
    ///
    /// What the disk says.
    async fn announces(&self, key: &Multihash) -> Result<bool>;
}

/// Says where this node is.
struct Own(Box<dyn Fn() -> PeerInfo + Send + Sync>);

impl Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}

/// Answers what peers ask.
#[derive(Debug)]
pub struct Answers {
    engine: Arc<Mutex<Engine>>,
    records: Arc<Records>,
    announced: Option<(Arc<dyn Announced>, Own)>,
}

impl Answers {
    /// From what the engine knows and what is kept.
    pub fn new(engine: Arc<Mutex<Engine>>, records: Arc<Records>) -> Self {
        Self { engine, records, announced: None }
    }

    /// This node announces blocks itself, and is where `own` says.
    #[must_use]
    pub fn with_announced(
        mut self,
        announced: Arc<dyn Announced>,
        own: impl Fn() -> PeerInfo + Send + Sync + 'static,
    ) -> Self {
        self.announced = Some((announced, Own(Box::new(own))));
        self
    }

    /// The answer to a peer's request; `None` where none is due.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a request that makes no sense, [`Error::Limit`] for a value that there
    /// is no room for, and what the namespace says of a value that is not valid. Whoever asked is
    /// told by the end of the stream.
    pub async fn answer(
        &self,
        from: &PeerId,
        request: Message,
        now: Now,
    ) -> Result<Option<Message>> {
        match request.kind {
            Kind::FindNode => Ok(Some(self.find_node(from, request))),
            Kind::GetProviders => self.get_providers(from, request, now).await.map(Some),
            Kind::AddProvider => self.add_provider(from, &request, now).await.map(|()| None),
            Kind::GetValue => self.get_value(from, request, now).await.map(Some),
            Kind::PutValue => self.put_value(request, now).await.map(Some),
            Kind::Ping => Ok(Some(Message::new(Kind::Ping, request.key))),
        }
    }

    /// Calls the engine, for a moment.
    fn engine<T>(&self, call: impl FnOnce(&Engine) -> T) -> T {
        call(&self.engine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The peers nearest to a key, and the peer itself that has this name, where it is known: it may
    /// be one that does not serve, and that nobody else can tell of.
    fn find_node(&self, from: &PeerId, request: Message) -> Message {
        let mut answer = self.nearest(from, &request);
        if let Ok(wanted) = PeerId::from_bytes(&request.key)
            && wanted != *from
            && answer.closer.iter().all(|peer| peer.id != wanted)
            && let Some(addresses) = self.engine(|engine| engine.addresses_of(&wanted))
        {
            let most = self.engine(|engine| engine.config().bucket);
            answer.closer.truncate(most.saturating_sub(1));
            answer.closer.insert(0, PeerInfo::new(wanted, addresses));
        }
        answer
    }

    fn nearest(&self, from: &PeerId, request: &Message) -> Message {
        let mut answer = Message::new(request.kind, request.key.clone());
        answer.closer = self.engine(|engine| engine.closest(&request.key, Some(from)));
        answer
    }

    async fn get_providers(&self, from: &PeerId, request: Message, now: Now) -> Result<Message> {
        let mut answer = self.nearest(from, &request);
        answer.providers = self.records.providers(&request.key, now.wall).await?;
        if let Some((announced, Own(own))) = &self.announced
            && let Ok(key) = Multihash::from_bytes(&request.key)
            && announced.announces(&key).await?
        {
            let own = own();
            answer.providers.retain(|provider| provider.id != own.id);
            answer.providers.insert(0, own);
        }
        Ok(answer)
    }

    /// Only for itself does a peer say that it has a block.
    async fn add_provider(&self, from: &PeerId, request: &Message, now: Now) -> Result<()> {
        let told = request.providers.iter().find(|provider| provider.id == *from);
        let told = told.ok_or_else(|| invalid("it announces for somebody else"))?;
        let (scope, near, known) = self.engine(|engine| {
            let known = engine.addresses_of(from).unwrap_or_default();
            (engine.config().scope, engine.is_near(&request.key), known)
        });
        let mut addresses = scope.filter(&told.addresses);
        if addresses.is_empty() {
            addresses = known;
        }
        if addresses.is_empty() && scope != Scope::Any {
            return Err(invalid("it announces from nowhere"));
        }
        let provider = PeerInfo::new(*from, addresses);
        match self.records.add_provider(&request.key, &provider, near, now.wall).await {
            // There may be room for what follows on the stream.
            Err(Error::Limit { .. }) => Ok(()),
            added => added,
        }
    }

    async fn get_value(&self, from: &PeerId, request: Message, now: Now) -> Result<Message> {
        let answer = self.nearest(from, &request);
        let validators = self.engine(|engine| engine.config().validators.clone());
        Ok(match self.records.value(&request.key, &validators, now.wall).await? {
            Some(value) => {
                let closer = answer.closer;
                Message { closer, ..Message::with_value(answer.kind, answer.key, value) }
            }
            None => answer,
        })
    }

    async fn put_value(&self, request: Message, now: Now) -> Result<Message> {
        let Message { key, record, .. } = request;
        let record = record.filter(|record| record.key == key);
        let value = record.ok_or_else(|| invalid("it puts no value under its key"))?.value;
        let (near, validators) =
            self.engine(|engine| (engine.is_near(&key), engine.config().validators.clone()));
        self.records.put_value(&key, &value, near, &validators, now.wall).await?;
        Ok(Message::with_value(Kind::PutValue, key, value))
    }
}

fn invalid(why: &'static str) -> Error {
    Error::invalid("DHT request", why)
}
