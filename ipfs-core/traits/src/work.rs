//! Work under way: a future that also tells how far it is.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures_core::{Stream, future::BoxFuture};
use futures_util::FutureExt;

use crate::{Error, Result};

/// Work under way: an import, or an export.
///
/// It is a future that gives the result, and a stream that tells of the progress, also of the last,
/// until it gives the same result as its last item. Nothing happens unless it is polled; dropping it cancels the work,
/// and what was done by then stays done.
///
/// ```
/// use futures::TryStreamExt;
/// use ipfs_traits::work::{Event, Meter, Work};
///
/// # futures::executor::block_on(async {
/// let meter = Meter::default();
/// let mut work = Work::new(meter.clone(), async move {
///     meter.bytes(3);
///     Ok("done")
/// });
/// while let Some(event) = work.try_next().await? {
///     match event {
///         Event::Progress(progress) => assert!(progress.bytes <= 3),
///         Event::Done(result) => assert_eq!(result, "done"),
///     }
/// }
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "work does nothing unless it is polled"]
pub struct Work<T> {
    future: Option<BoxFuture<'static, Result<T>>>,
    /// What it gave, while the last progress is told.
    done: Option<Result<T>>,
    meter: Meter,
    told: Progress,
}

/// Lets other threads have the processor that wait for it.
///
/// For long work without haste, once in some ten microseconds: a system that is asked to run
/// something else may let this one have its share first, which is some milliseconds.
pub fn give_way() {
    std::thread::yield_now();
}

/// Items after which [`giving_way`] does.
const TURN: usize = 256;

/// The same items for long work without haste, which [gives way](give_way) now and then.
///
/// ```
/// use ipfs_traits::work::giving_way;
///
/// assert_eq!(giving_way(0..1000).sum::<u32>(), 499_500);
/// ```
pub fn giving_way<I: IntoIterator>(items: I) -> impl Iterator<Item = I::Item> {
    items.into_iter().enumerate().map(|(many, item)| {
        if many % TURN == 0 {
            give_way();
        }
        item
    })
}

/// What [`Work`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// So much is done by now.
    Progress(Progress),
    /// All is done. The last event.
    Done(T),
}

/// How much is done. What a kind of work does not count stays 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes: of files where files are worked on, else of blocks.
    pub bytes: u64,
    /// Files that are whole.
    pub files: u64,
    /// Blocks.
    pub blocks: u64,
}

/// Where work counts what it has done. Clones are the same meter.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    files: AtomicU64,
    blocks: AtomicU64,
}

impl Meter {
    /// Counts bytes that are done.
    pub fn bytes(&self, count: u64) {
        self.0.bytes.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts files that are whole.
    pub fn files(&self, count: u64) {
        self.0.files.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts blocks that are done.
    pub fn blocks(&self, count: u64) {
        self.0.blocks.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes over what another one has counted.
    fn set(&self, progress: Progress) {
        self.0.bytes.store(progress.bytes, Ordering::Relaxed);
        self.0.files.store(progress.files, Ordering::Relaxed);
        self.0.blocks.store(progress.blocks, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn read(&self) -> Progress {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { bytes, files, blocks } = &*self.0;
        Progress { bytes: of(bytes), files: of(files), blocks: of(blocks) }
    }
}

impl<T: 'static> Work<T> {
    /// Work that counts on `meter`.
    pub fn new(meter: Meter, work: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self { future: Some(work.boxed()), done: None, meter, told: Progress::default() }
    }

    /// Work that begins when `start` has given it, with its progress.
    pub fn after<F>(start: F) -> Self
    where
        T: Send,
        F: Future<Output = Result<Self>> + Send + 'static,
    {
        let meter = Meter::default();
        Self::new(meter.clone(), async move {
            let mut work = start.await?;
            poll_fn(|cx| {
                let result = Pin::new(&mut work).poll(cx);
                meter.set(work.meter.read());
                result
            })
            .await
        })
    }

    /// The same work, and then more with its result; the progress is that of the first part.
    pub fn and_then<U, F>(self, then: impl FnOnce(T) -> F + Send + 'static) -> Work<U>
    where
        T: Send,
        U: 'static,
        F: Future<Output = Result<U>> + Send + 'static,
    {
        let first = self.future;
        Work::new(self.meter, async move {
            let first = first.ok_or(ENDED)?.await?;
            then(first).await
        })
    }
}

impl<T> Work<T> {
    /// Polls the work; `None` when it has ended before.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Option<Poll<Result<T>>> {
        if let Some(done) = self.done.take() {
            return Some(Poll::Ready(done));
        }
        let result = self.future.as_mut()?.as_mut().poll(cx);
        if result.is_ready() {
            self.future = None;
        }
        Some(result)
    }
}

/// What it gives is never pinned.
impl<T> Unpin for Work<T> {}

/// What polling ended work gives.
const ENDED: Error = Error::Closed("the work");

impl<T> Future for Work<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_work(cx).unwrap_or(Poll::Ready(Err(ENDED)))
    }
}

impl<T> Stream for Work<T> {
    type Item = Result<Event<T>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.poll_work(cx) {
            None => Poll::Ready(None),
            Some(Poll::Ready(result)) => {
                let now = self.meter.read();
                if std::mem::replace(&mut self.told, now) == now || result.is_err() {
                    return Poll::Ready(Some(result.map(Event::Done)));
                }
                self.done = Some(result);
                Poll::Ready(Some(Ok(Event::Progress(now))))
            }
            Some(Poll::Pending) => {
                let now = self.meter.read();
                if std::mem::replace(&mut self.told, now) == now {
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(Event::Progress(now))))
            }
        }
    }
}

impl<T> fmt::Debug for Work<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("progress", &self.meter.read()).finish_non_exhaustive()
    }
}
