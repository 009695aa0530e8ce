//! Answering the streams that peers open.

use std::{sync::Arc, time::Duration};

use futures_util::AsyncWriteExt;
use ipfs_traits::{Inbound, PeerId, Result, RuntimeExt, network::Stream};

use super::{
    ANSWER, Shared,
    ask::{broken, read, write},
};
use crate::dht::message::{MAX_REQUEST, Message};

/// How long a stream is kept on which nothing is asked: a minute, as go-libp2p-kad-dht has it.
const IDLE: Duration = Duration::from_secs(60);

/// Answers what is asked on a stream, one request after the other, until it ends.
pub(super) async fn serve(shared: Arc<Shared>, inbound: Inbound) {
    let Inbound { peer, mut stream } = inbound;
    loop {
        let request = read(&mut stream, MAX_REQUEST);
        let request = shared.runtime.timeout(IDLE, "a request to the DHT", request).await;
        let answered = match request {
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
