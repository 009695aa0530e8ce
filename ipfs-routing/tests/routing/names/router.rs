//! A router that does as it is told, and counts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use ipfs_routing::ipns::{Name, Record};
use ipfs_traits::{Bytes, Error, Result, Routing, RuntimeExt, VirtualRuntime, async_trait};

/// A value, and when it comes, counted from when it is asked for.
type Values = Vec<(Duration, Result<Bytes>)>;

#[derive(Clone, Debug)]
pub(super) struct Router(Arc<State>);

#[derive(Debug)]
struct State {
    runtime: VirtualRuntime,
    values: Mutex<BTreeMap<Vec<u8>, Values>>,
    puts: Mutex<Vec<(Vec<u8>, Bytes)>>,
    asked: AtomicUsize,
    fails: AtomicBool,
    /// Whether a lookup goes on when it has given all it has.
    hangs: AtomicBool,
}

impl Router {
    pub(super) fn new(runtime: &VirtualRuntime) -> Self {
        Self(Arc::new(State {
            runtime: runtime.clone(),
            values: Mutex::default(),
            puts: Mutex::default(),
            asked: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
        }))
    }

    /// What it gives for a name, each after so many seconds.
    pub(super) fn gives<T: Into<Bytes>>(
        &self,
        name: &Name,
        values: impl IntoIterator<Item = (u64, T)>,
    ) {
        let timed = |(at, value): (u64, T)| (Duration::from_secs(at), Ok(value.into()));
        let values = values.into_iter().map(timed).collect();
        self.0.values.lock().unwrap().insert(name.routing_key(), values);
    }

    pub(super) fn gives_records<'a>(
        &self,
        name: &Name,
        records: impl IntoIterator<Item = (u64, &'a Record)>,
    ) {
        self.gives(name, records.into_iter().map(|(at, record)| (at, record.as_bytes().clone())));
    }

    /// From now on it fails whoever asks it.
    pub(super) fn fails(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::Relaxed);
    }

    /// From now on its lookups do not end.
    pub(super) fn hangs(&self) {
        self.0.hangs.store(true, Ordering::Relaxed);
    }

    /// How often it was asked for a value.
    pub(super) fn asked(&self) -> usize {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// What was put since this was last called.
    pub(super) fn puts(&self) -> Vec<Record> {
        let puts = std::mem::take(&mut *self.0.puts.lock().unwrap());
        puts.into_iter().map(|(_, value)| Record::parse(value).unwrap()).collect()
    }
}

#[async_trait]
impl Routing for Router {
    fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        if self.0.fails.load(Ordering::Relaxed) {
            return stream::iter([Err(Error::Closed("the router"))]).boxed();
        }
        let values = self.0.values.lock().unwrap().get(key).cloned().unwrap_or_default();
        let runtime = self.0.runtime.clone();
        let start = ipfs_traits::Runtime::now(&runtime);
        let values = stream::iter(values).then(move |(at, value)| {
            let runtime = runtime.clone();
            async move {
                ipfs_traits::Runtime::sleep_until(&runtime, start + at).await;
                value
            }
        });
        match self.0.hangs.load(Ordering::Relaxed) {
            true => values.chain(stream::pending()).boxed(),
            false => values.boxed(),
        }
    }

    async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
        // A put takes its time, in which other things happen.
        RuntimeExt::sleep(&self.0.runtime, Duration::from_secs(1)).await;
        if self.0.fails.load(Ordering::Relaxed) {
            return Err(Error::Closed("the router"));
        }
        self.0.values.lock().unwrap().insert(key.into(), vec![(Duration::ZERO, Ok(value.clone()))]);
        self.0.puts.lock().unwrap().push((key.into(), value));
        Ok(())
    }
}
