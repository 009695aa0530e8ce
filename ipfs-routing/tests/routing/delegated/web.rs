//! An endpoint that answers as a test says.

use std::{
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
use ipfs_routing::delegated::{HttpRouter, Options, Server};
use ipfs_traits::{
    Bytes, HttpBody, HttpClient, Result, Runtime, RuntimeExt, VirtualRuntime, async_trait,
};

pub(crate) type Answer = BoxFuture<'static, Result<Response<HttpBody>>>;
type Handler = Arc<dyn Fn(&Request<Bytes>) -> Answer + Send + Sync>;

/// A web of one endpoint, and the client that asks it.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) runtime: VirtualRuntime,
    start: Instant,
    handler: Arc<Mutex<Handler>>,
    sent: Arc<Mutex<Vec<String>>>,
    /// Requests that are under way: one clone of what is inside for each.
    open: Arc<()>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Web")
    }
}

impl Web {
    pub(crate) fn new() -> Self {
        let runtime = VirtualRuntime::new();
        let handler: Handler = Arc::new(|_| status(404));
        let (start, handler) = (runtime.now(), Arc::new(Mutex::new(handler)));
        Self { runtime, start, handler, sent: Arc::default(), open: Arc::default() }
    }

    pub(crate) fn answer(
        &self,
        answer: impl Fn(&Request<Bytes>) -> Answer + Send + Sync + 'static,
    ) {
        *self.handler.lock().unwrap() = Arc::new(answer);
    }

    pub(crate) fn router(&self) -> HttpRouter {
        self.router_with(Options::default())
    }

    pub(crate) fn router_with(&self, options: Options) -> HttpRouter {
        let (runtime, client) = (Arc::new(self.runtime.clone()), Arc::new(self.clone()));
        HttpRouter::new(runtime, client, "https://router.example", options).unwrap()
    }

    /// Runs it, for a day at the most: then what it waits for is not going to come.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let day = RuntimeExt::sleep(&self.runtime, Duration::from_secs(24 * 3600));
        match self.runtime.block_on(select(pin!(future), day)).unwrap() {
            Either::Left((output, _)) => output,
            Either::Right(_) => panic!("it waits in vain"),
        }
    }

    pub(crate) async fn sleep(&self, seconds: u64) {
        RuntimeExt::sleep(&self.runtime, Duration::from_secs(seconds)).await;
    }

    /// The requests so far: method, URL, and what is accepted or sent.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }

    /// Requests that are under way.
    pub(crate) fn open(&self) -> usize {
        Arc::strong_count(&self.open) - Arc::strong_count(&self.handler)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.runtime.now() - self.start
    }
}

#[async_trait]
impl HttpClient for Web {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
        let open = self.open.clone();
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = header("accept").or(header("content-type")).unwrap_or_default();
        let sent = format!("{} {} {kind}", request.method(), request.uri());
        self.sent.lock().unwrap().push(sent);
        let handler = self.handler.lock().unwrap().clone();
        let answer = handler(&request).await?;
        Ok(answer.map(|body| {
            body.map(move |piece| {
                let _ = &open;
                piece
            })
            .boxed()
        }))
    }
}

/// A client that hands requests to a server.
#[derive(Debug)]
pub(crate) struct Direct(pub(crate) Server);

impl Direct {
    pub(crate) fn router(
        runtime: &Arc<VirtualRuntime>,
        server: Server,
        options: Options,
    ) -> HttpRouter {
        let client = Arc::new(Self(server));
        HttpRouter::new(runtime.clone(), client, "https://router.example", options).unwrap()
    }
}

#[async_trait]
impl HttpClient for Direct {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
        Ok(self.0.call(request.map(pieces)).await)
    }
}

/// A body in one piece.
pub(crate) fn pieces(bytes: Bytes) -> HttpBody {
    stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed()
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

/// An answer of this media type, good for a minute.
pub(crate) fn typed(kind: &str, body: HttpBody) -> Answer {
    let answer = Response::builder().header("content-type", kind);
    let answer = answer.header("cache-control", "public, max-age=60").body(body);
    async move { Ok(answer.unwrap()) }.boxed()
}

pub(crate) fn json(text: impl Into<String>) -> Answer {
    typed("application/json; charset=utf-8", pieces(Bytes::from(text.into())))
}

pub(crate) fn ndjson(text: impl Into<String>) -> Answer {
    typed("application/x-ndjson", pieces(Bytes::from(text.into())))
}

/// No answer, ever.
pub(crate) fn never() -> Answer {
    pending().boxed()
}
