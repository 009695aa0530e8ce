//! Answering the streams that peers open.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::{
    AsyncWriteExt,
    future::{Either, select},
};
use ipfs_traits::{Error, Inbound, PeerId, Result, RuntimeExt, network::Stream};

use super::{
    ANSWER, Shared,
    ask::{broken, read, write},
};
use crate::dht::message::{MAX_REQUEST, Message};

/// How long a stream is kept on which nothing is asked: a minute, as go-libp2p-kad-dht has it.
const IDLE: Duration = Duration::from_secs(60);
/// How long, when half of the places of all peers are taken. Whoever holds them for nothing must not
/// keep others from being answered.
const IDLE_WHEN_BUSY: Duration = Duration::from_secs(5);

/// Answers what is asked on a stream, one request after the other, until it ends.
pub(super) async fn serve(shared: Arc<Shared>, inbound: Inbound) {
    let Inbound { peer, mut stream } = inbound;
    loop {
        let answered = match request(&shared, &mut stream).await {
            Ok(Some(request)) => answer(&shared, &peer, &request, &mut stream).await,
            Ok(None) => break,
            Err(error) => Err(error),
        };
        if let Err(error) = answered {
            // The stream is dropped, and so reset.
            tracing::trace!(%peer, %error, "a request to the DHT is not answered");
            return;
        }
    }
    let close = async { stream.close().await.map_err(broken) };
    let _ = shared.runtime.timeout(ANSWER, "closing a stream", close).await;
}

/// The next request; `None` at the end of the stream.
async fn request(shared: &Shared, stream: &mut Stream) -> Result<Option<BytesMut>> {
    let begun = shared.runtime.now();
    let mut request = pin!(read(stream, MAX_REQUEST));
    loop {
        let look = shared.runtime.now() + IDLE_WHEN_BUSY;
        match select(request.as_mut(), shared.runtime.sleep_until(look)).await {
            Either::Left((request, _)) => return request,
            Either::Right(_) if shared.is_busy() || look >= begun + IDLE => {
                return Err(Error::TimedOut("a request to the DHT"));
            }
            Either::Right(_) => {}
        }
    }
}

async fn answer(shared: &Shared, peer: &PeerId, request: &[u8], stream: &mut Stream) -> Result<()> {
    let request = Message::decode(request)?;
    let Some(answer) = shared.answers.answer(peer, request, shared.now()).await? else {
        return Ok(());
    };
    let send = async {
        write(stream, &answer).await?;
        stream.flush().await.map_err(broken)
    };
    shared.runtime.timeout(ANSWER, "writing an answer", send).await
}
