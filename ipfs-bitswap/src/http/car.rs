//! The blocks of a CAR file, as a gateway sends it.

use std::{
    collections::VecDeque,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryFutureExt, stream};
use http::Method;
use ipfs_traits::{
    Block, Bytes, Cid, Error, HttpBody, Result, Runtime,
    car::{Decoder, Item},
};

use super::{
    Shared,
    gateway::Ticket,
    request::{self, Fault, STALL, WHOLE},
    search::search,
};

/// The media type of a CAR file: one that can be walked as it comes, each block once.
const CAR: &str = "application/vnd.ipld.car; version=1; order=dfs; dups=n";

/// How much of a DAG a CAR file shall hold, besides the blocks that a path leads through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// All blocks.
    #[default]
    All,
    /// The blocks of one thing: a whole file, or a directory without what is in it.
    Entity,
    /// The last block of the path alone.
    Block,
}

impl Scope {
    const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Entity => "entity",
            Self::Block => "block",
        }
    }
}

pub(super) fn fetch(
    shared: Arc<Shared>,
    root: Cid,
    path: &str,
    scope: Scope,
) -> BoxStream<'static, Result<Block>> {
    let place =
        escaped(path).map(|path| format!("{root}{path}?format=car&dag-scope={}", scope.name()));
    let opened = async move {
        let place = place?;
        let archive = shared.latch.guard(open(&shared, root, place)).await?;
        Ok(stream::try_unfold(archive, |mut archive| async move {
            let block = archive.next().await?;
            Ok(block.map(|block| (block, archive)))
        }))
    };
    opened.try_flatten_stream().boxed()
}

/// A path, with a slash before each name, as it stands in a URL.
///
/// The names `.` and `..` cannot stand there, however they are written: they are steps of the URL.
fn escaped(path: &str) -> Result<String> {
    let mut out = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if matches!(name, "." | "..") {
            return Err(Error::invalid("path", "a name in it is `.` or `..`"));
        }
        out.push('/');
        for byte in name.bytes() {
            match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
                    out.push(char::from(byte));
                }
                _ => write!(out, "%{byte:02X}").expect("a string takes all that is written to it"),
            }
        }
    }
    Ok(out)
}

async fn open(shared: &Arc<Shared>, root: Cid, place: String) -> Result<Archive> {
    shared.hashes.check(&root)?;
    search(shared, &root, |_, ticket| {
        let (shared, place) = (shared.clone(), place.clone());
        async move {
            let answer = request::send(&shared, &ticket, Method::GET, &place, CAR).await?;
            let mut archive = Archive::new(shared, ticket, answer.into_body());
            archive.read_header().await.map_err(fault)?;
            archive.ticket.gave(0, Duration::ZERO);
            Ok(archive)
        }
        .boxed()
    })
    .await
}

/// What it says of a gateway that its CAR file cannot be read.
fn fault(error: Error) -> Fault {
    match error {
        Error::Corrupt(_) => Fault::Lied(error),
        Error::Malformed { .. } | Error::TimedOut(_) | Error::Component { .. } => {
            Fault::Failed(error)
        }
        _ => Fault::Refused(error),
    }
}

/// A CAR file that is coming in.
struct Archive {
    shared: Arc<Shared>,
    ticket: Ticket,
    body: HttpBody,
    decoder: Decoder,
    blocks: VecDeque<Block>,
    /// What comes after the blocks.
    failed: Option<Error>,
    ended: bool,
}

impl Archive {
    fn new(shared: Arc<Shared>, ticket: Ticket, body: HttpBody) -> Self {
        let (decoder, blocks) = (Decoder::new(), VecDeque::new());
        Self { shared, ticket, body, decoder, blocks, failed: None, ended: false }
    }

    async fn read_header(&mut self) -> Result<()> {
        let until = self.shared.runtime.now() + WHOLE;
        loop {
            if let Some(Item::Header(_)) = self.decoder.next()? {
                return Ok(());
            }
            self.read_piece(until).await?;
        }
    }

    async fn next(&mut self) -> Result<Option<Block>> {
        let until = self.shared.runtime.now() + WHOLE;
        loop {
            if let Some(block) = self.blocks.pop_front() {
                return Ok(Some(block));
            }
            if let Some(error) = self.failed.take() {
                return Err(self.blame(error));
            }
            if self.ended {
                return Ok(None);
            }
            let latch = self.shared.latch.clone();
            if let Err(error) = latch.guard(self.fill(until)).await {
                self.failed = Some(error);
            }
        }
    }

    /// Takes the blocks that have come, or waits for more.
    async fn fill(&mut self, until: Instant) -> Result<()> {
        let (mut sections, mut len) = (Vec::new(), 0);
        loop {
            match self.decoder.next() {
                Ok(Some(Item::Section(section))) => {
                    len += section.data.len();
                    sections.push((section.cid, section.data));
                }
                Ok(Some(Item::Header(_))) => {}
                Ok(None) => break,
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        if sections.is_empty() && self.failed.is_none() {
            return self.read_piece(until).await;
        }
        self.verify(sections, len).await
    }

    /// Keeps the blocks that hash to their CIDs, up to the first that does not.
    async fn verify(&mut self, sections: Vec<(Cid, Bytes)>, len: usize) -> Result<()> {
        let hashes = self.shared.hashes.clone();
        let work = move || Ok(Block::verify_many(sections, &hashes));
        for block in request::hash(&*self.shared.runtime, len, work).await? {
            self.blocks.push_back(block?);
        }
        Ok(())
    }

    async fn read_piece(&mut self, until: Instant) -> Result<()> {
        let runtime = &*self.shared.runtime;
        let within = STALL.min(until.saturating_duration_since(runtime.now()));
        match request::piece(runtime, &mut self.body, within).await? {
            Some(piece) => self.decoder.push(piece),
            None => {
                self.decoder.finish()?;
                self.ended = true;
            }
        }
        Ok(())
    }

    /// Holds an error against the gateway, where it is its fault.
    fn blame(&self, error: Error) -> Error {
        if !matches!(error, Error::Closed(_)) {
            self.ticket.failed(&fault(error.clone()), self.shared.runtime.now());
        }
        error
    }
}
