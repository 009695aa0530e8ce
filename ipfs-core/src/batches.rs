//! Batches of a stream that are bounded in number and in bytes.

use std::task::Poll;

use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, TryStreamExt, stream};
use ipfs_traits::Result;

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

/// Pages joined to such of at least `least` items, but for the last. An error comes at once, and ends
/// the stream.
pub(crate) fn pages<T: Send + 'static>(
    pages: BoxStream<'static, Result<Vec<T>>>,
    least: usize,
) -> BoxStream<'static, Result<Vec<T>>> {
    // It is asked again after its end.
    stream::try_unfold(pages.fuse(), move |mut pages| async move {
        let mut joined = Vec::new();
        while joined.len() < least {
            match pages.try_next().await? {
                Some(page) => joined.extend(page),
                None => break,
            }
        }
        Ok((!joined.is_empty()).then_some((joined, pages)))
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

    #[test]
    fn small_pages_are_joined() {
        let given: Vec<Result<Vec<u8>>> =
            vec![Ok(vec![1, 2]), Ok(vec![]), Ok(vec![3]), Ok(vec![4]), Ok(vec![5])];
        // One that must not be asked again after its end.
        let given =
            stream::unfold(given.into_iter(), |mut given| async { Some((given.next()?, given)) });
        let joined = pages(given.boxed(), 3).try_collect::<Vec<_>>();
        assert_eq!(block_on(joined).unwrap(), [vec![1, 2, 3], vec![4, 5]]);
    }
}
