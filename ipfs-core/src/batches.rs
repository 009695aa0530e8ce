//! Batches of a stream that are bounded in number and in bytes.

use std::task::Poll;

use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, stream};

/// What is ready now, as one batch: at least one item, at most `most` of them, and no more once
/// their sizes reach `bytes`.
pub(crate) fn batches<T: Send + 'static>(
    items: impl Stream<Item = T> + Send + 'static,
    most: usize,
    bytes: usize,
    size: impl Fn(&T) -> usize + Send + 'static,
) -> BoxStream<'static, Vec<T>> {
    let mut items = Box::pin(items.fuse());
    stream::poll_fn(move |cx| {
        let mut batch = Vec::new();
        let mut held = 0;
        while batch.len() < most && held < bytes {
            match items.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => {
                    held += size(&item);
                    batch.push(item);
                }
                Poll::Ready(None) if batch.is_empty() => return Poll::Ready(None),
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                _ => break,
            }
        }
        Poll::Ready(Some(batch))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_batch_ends_with_either_bound_and_loses_nothing() {
        let given = |most, bytes| -> Vec<Vec<usize>> {
            block_on(batches(stream::iter(1..=6), most, bytes, |size| *size).collect())
        };
        assert_eq!(given(4, 100), [vec![1, 2, 3, 4], vec![5, 6]]);
        assert_eq!(given(4, 5), [vec![1, 2, 3], vec![4, 5], vec![6]]);
        assert!(block_on(batches(stream::empty(), 4, 5, |_: &u8| 1).next()).is_none());
    }
}
