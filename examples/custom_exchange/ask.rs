//! A whole exchange: it asks one connected peer after the other, on a stream for each block.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, stream::BoxStream};
use ipfs_traits::{network::*, *};
use std::sync::Arc;

const ASK: Protocol = Protocol::from_static("/example/ask/1");

#[derive(Clone, Debug)]
pub(crate) struct Ask(Parts, #[expect(dead_code, reason = "it serves as it lives")] Arc<Task>);

impl Ask {
    pub(crate) fn spawn(parts: &Parts) -> Result<Self> {
        let (store, guests) = (parts.store()?.clone(), parts.network()?.accept(&[ASK], 64)?);
        let answer = move |guest: Inbound| answer(store.clone(), guest.stream);
        let serve = guests.map(answer).buffer_unordered(64).for_each(|_| std::future::ready(()));
        Ok(Self(parts.clone(), Arc::new(parts.runtime().spawn(Box::pin(serve)))))
    }
    async fn ask(&self, peer: PeerId, cid: &Cid) -> Option<Block> {
        let mut stream = self.0.network().ok()?.open(peer, &[ASK]).await.ok()?;
        let mut data = Vec::new();
        stream.write_all(&cid.to_bytes()).await.ok()?;
        stream.close().await.ok()?;
        stream.take(limits::MAX_BLOCK as u64).read_to_end(&mut data).await.ok()?;
        Block::verify(*cid, data.into(), self.0.hashes()).ok() // a peer may say anything
    }
}

async fn answer(store: Arc<dyn Blockstore>, mut stream: Stream) -> Option<()> {
    let mut asked = Vec::new();
    (&mut stream).take(limits::MAX_CID as u64).read_to_end(&mut asked).await.ok()?;
    let block = store.get(&parse_cid(&asked).ok()?).await.ok()??;
    stream.write_all(block.data()).await.ok()?;
    stream.close().await.ok()
}

#[async_trait]
impl BlockSource for Ask {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        let mut found = Block::inline(cid);
        if let Some(Event::Snapshot(now)) = self.0.network()?.events().next().await {
            let mut peers = now.peers.iter();
            while let (None, Some(state)) = (&found, peers.next()) {
                found = self.ask(state.peer, cid).await;
            }
        }
        found.ok_or(Error::NotFound(*cid))
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let (ask, get) = (self.clone(), |ask: Self, cid| async move { (cid, ask.get(&cid).await) });
        cids.map(move |cid| get(ask.clone(), cid)).buffer_unordered(16).boxed()
    }
}

impl Session for Ask {}
impl Exchange for Ask {
    fn session(&self, _: Option<&Cid>) -> Arc<dyn Session> {
        Arc::new(self.clone())
    }
}
