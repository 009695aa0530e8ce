//! Streams that end by something else.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::{Stream, future::BoxFuture, stream::BoxStream};
use futures_util::{FutureExt, StreamExt};
use ipfs_traits::{Error, Result, sync::Latch};

/// Done when the latch is closed, with what is then told.
pub(crate) fn closed(latch: &Latch) -> BoxFuture<'static, Error> {
    let error = latch.error();
    latch.closed().map(move |_| error).boxed()
}

/// The stream, until it has nothing to give and one of `ends` is done: then that error, and the end.
pub(crate) fn until<T: 'static>(
    stream: BoxStream<'static, Result<T>>,
    ends: Vec<BoxFuture<'static, Error>>,
) -> BoxStream<'static, Result<T>> {
    Until { stream: Some(stream), ends }.boxed()
}

struct Until<T> {
    stream: Option<BoxStream<'static, Result<T>>>,
    ends: Vec<BoxFuture<'static, Error>>,
}

impl<T> Stream for Until<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        if let Poll::Ready(item) = stream.poll_next_unpin(cx) {
            return Poll::Ready(item);
        }
        for end in &mut self.ends {
            if let Poll::Ready(error) = end.poll_unpin(cx) {
                self.stream = None;
                self.ends = Vec::new();
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Pending
    }
}
