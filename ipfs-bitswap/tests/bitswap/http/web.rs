//! Servers that answer as a test says.

use std::{
    collections::BTreeMap,
    fmt,
    pin::pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either, pending, select},
    stream,
};
use http::{Request, Response};
use ipfs_bitswap::http::{HttpExchange, Options};
use ipfs_traits::{
    Block, Bytes, Cid, HashTable, HttpBody, HttpClient, Result, Runtime, RuntimeExt,
    VirtualRuntime, async_trait,
};

pub(crate) type Answer = BoxFuture<'static, Result<Response<HttpBody>>>;
type Handler = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// A request that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) after: Duration,
    pub(crate) host: String,
    pub(crate) what: String,
    pub(crate) accept: String,
}

/// A web of servers, and the client that asks them.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) runtime: VirtualRuntime,
    start: Instant,
    hosts: Arc<Mutex<BTreeMap<String, Handler>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
    /// Requests that are under way: one clone of what is inside for each.
    open: Arc<Mutex<Arc<()>>>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Web")
    }
}

impl Web {
    pub(crate) fn new() -> Self {
        let runtime = VirtualRuntime::new();
        let start = runtime.now();
        let (hosts, sent, open) = Default::default();
        Self { runtime, start, hosts, sent, open }
    }

    /// A server, which answers what is below `/ipfs/`; it answers probes by itself.
    pub(crate) fn host(&self, name: &str, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) {
        let answer: Handler = Arc::new(move |path: &str| match path.starts_with("bafkqaaa?") {
            true => bytes([]),
            false => answer(path),
        });
        self.raw_host(name, move |path| answer(path));
    }

    /// A server that answers probes too.
    pub(crate) fn raw_host(
        &self,
        name: &str,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) {
        self.hosts.lock().unwrap().insert(format!("{name}.example"), Arc::new(answer));
    }

    /// A server that has these blocks and no others.
    pub(crate) fn good(&self, name: &str, blocks: &[Block]) {
        let blocks: BTreeMap<Cid, Bytes> =
            blocks.iter().map(|block| (*block.cid(), block.data().clone())).collect();
        self.host(name, move |path| match blocks.get(&cid(path)) {
            Some(data) => bytes([data.clone()]),
            None => status(404),
        });
    }

    pub(crate) fn exchange(&self, names: &[&str]) -> HttpExchange {
        self.exchange_with(names, Options::default())
    }

    pub(crate) fn exchange_with(&self, names: &[&str], options: Options) -> HttpExchange {
        let urls = names.iter().map(|name| format!("https://{name}.example/"));
        let (runtime, client) = (Arc::new(self.runtime.clone()), Arc::new(self.clone()));
        HttpExchange::new(runtime, client, HashTable::standard(), urls, options).unwrap()
    }

    /// Runs it, for a day at the most: then what it waits for is not going to come.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let day = RuntimeExt::sleep(&self.runtime, Duration::from_secs(24 * 3600));
        match self.runtime.block_on(select(pin!(future), day)).unwrap() {
            Either::Left((output, _)) => output,
            Either::Right(_) => panic!("it waits in vain"),
        }
    }

    /// Runs what the tasks have to do now.
    pub(crate) async fn settle(&self) {
        self.sleep(1).await;
    }

    pub(crate) async fn sleep(&self, millis: u64) {
        RuntimeExt::sleep(&self.runtime, Duration::from_millis(millis)).await;
    }

    /// The requests so far, without probes.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        let mut sent = self.all_sent();
        sent.retain(|sent| !sent.what.contains("bafkqaaa"));
        sent
    }

    pub(crate) fn all_sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// Requests that are under way.
    pub(crate) fn open(&self) -> usize {
        Arc::strong_count(&self.open.lock().unwrap()) - 1
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.runtime.now() - self.start
    }
}

/// The CID that a request is for.
pub(crate) fn cid(path: &str) -> Cid {
    path.split(['?', '/']).next().unwrap().parse().unwrap()
}

#[async_trait]
impl HttpClient for Web {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
        let open = self.open.lock().unwrap().clone();
        let host = request.uri().host().unwrap().to_owned();
        let path = request.uri().path_and_query().unwrap().as_str();
        let path = path.strip_prefix("/ipfs/").unwrap().to_owned();
        let header = |name| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
        self.sent.lock().unwrap().push(Sent {
            after: self.elapsed(),
            host: host.clone(),
            what: format!("{} {path}", request.method()),
            accept: header("accept"),
        });
        let handler = self.hosts.lock().unwrap()[&host].clone();
        let answer = handler(&path).await?;
        Ok(answer.map(|body| {
            body.map(move |piece| {
                let _ = &open;
                piece
            })
            .boxed()
        }))
    }
}

/// An answer of this status, without a body.
pub(crate) fn status(status: u16) -> Answer {
    let answer = Response::builder().status(status).body(stream::empty().boxed());
    async move { Ok(answer.unwrap()) }.boxed()
}

/// An answer that asks for patience.
pub(crate) fn busy(status: u16, retry_after: &str) -> Answer {
    let answer = Response::builder().status(status).header("retry-after", retry_after);
    let answer = answer.body(stream::empty().boxed());
    async move { Ok(answer.unwrap()) }.boxed()
}

/// An answer with a body of these pieces.
pub(crate) fn bytes(pieces: impl IntoIterator<Item = Bytes>) -> Answer {
    let pieces: Vec<Result<Bytes>> =
        pieces.into_iter().filter(|piece| !piece.is_empty()).map(Ok).collect();
    body(stream::iter(pieces).boxed())
}

pub(crate) fn body(body: HttpBody) -> Answer {
    async move { Ok(Response::new(body)) }.boxed()
}

/// No answer, ever.
pub(crate) fn never() -> Answer {
    pending().boxed()
}

/// The answer, after a while.
pub(crate) fn late(runtime: &VirtualRuntime, millis: u64, answer: Answer) -> Answer {
    let runtime = runtime.clone();
    async move {
        RuntimeExt::sleep(&runtime, Duration::from_millis(millis)).await;
        answer.await
    }
    .boxed()
}
