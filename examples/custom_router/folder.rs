//! A whole router: who has which block, and where each peer is, in a folder that all nodes share.

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use ipfs_traits::{network::*, *};
use std::{fs, io, io::Read, path::Path, path::PathBuf, sync::Arc};

/// In it `<block>/<peer>`, and `peers/<peer>`, have the addresses of a peer, one on each line.
#[derive(Clone, Debug)]
pub(crate) struct Folder(pub(crate) PathBuf, pub(crate) Parts);

impl Folder {
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = self.0.clone();
        let done = self.1.runtime().blocking(move || work(&folder)).await?;
        done.map_err(|error| Error::component("shared folder", error))
    }
}

fn place(key: &Multihash) -> String {
    Cid::new_v1(codes::RAW, *key).to_string()
}

fn read(place: &Path, id: PeerId) -> io::Result<PeerInfo> {
    let (mut text, most) = (String::new(), (MAX_ADDRESSES * MAX_ADDRESS) as u64);
    fs::File::open(place.join(id.to_string()))?.take(most).read_to_string(&mut text)?;
    let addresses = text.lines().filter_map(|line| line.parse().ok()).take(MAX_ADDRESSES);
    Ok(PeerInfo::new(id, addresses.collect())) // one that is being written is cut off: a hint too
}

#[async_trait]
impl Routing for Folder {
    fn find_providers(&self, key: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        let (this, place) = (self.clone(), place(key));
        let id = |file: io::Result<fs::DirEntry>| file.ok()?.file_name().to_str()?.parse().ok();
        let find = move |folder: &Path| {
            let (place, files) = (folder.join(&place), fs::read_dir(folder.join(place)));
            let ids = files.into_iter().flatten().filter_map(id);
            Ok(ids.filter_map(|id| read(&place, id).ok()).take(want).collect::<Vec<_>>())
        };
        let found = async move { this.work(find).await.map(|found| stream::iter(found).map(Ok)) };
        stream::once(found).try_flatten().boxed()
    }
    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        let (id, addresses) = (self.1.peer().to_string(), self.1.network()?.addresses());
        let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        let places: Vec<String> = keys.iter().map(place).chain(["peers".into()]).collect();
        let put = move |place: PathBuf| {
            fs::create_dir_all(&place).and_then(|()| fs::write(place.join(&id), &lines))
        };
        self.work(move |folder| places.iter().map(|place| folder.join(place)).try_for_each(put))
            .await
    }
    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        let found = self.work(move |folder| read(&folder.join("peers"), peer)).await;
        found.map_err(|error| Error::Unreachable(peer, Some(Arc::new(error))))
    }
}
