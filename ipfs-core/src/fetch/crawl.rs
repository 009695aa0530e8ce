//! Bringing blocks, in any order, and going on along their links.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{FutureExt, StreamExt};
use ipfs_traits::{Block, Cid, Error, Result};

use super::{
    clock::Late,
    is_fatal,
    links::{Role, Rules},
    missing::Lacking,
    pending::{Job, Pending},
    progress::{From, Shared},
    seen::{Known, Seen},
};
use crate::{
    NodeSource,
    source::{Found, LOCAL_BATCH},
};

/// Blocks that are known not to be here and wait until the session takes them: as many as it asks
/// for at once, so that it never has to wait for them.
const MAX_READY: usize = 1024;

/// Fetched blocks that are looked at before others are asked for.
const MAX_AT_ONCE: usize = 16;

/// Makes a wait for too long a time.
pub(super) type Watch = Box<dyn Fn() -> BoxFuture<'static, Late> + Send>;

/// Brings blocks.
///
/// It is no [`Walk`](ipfs_unixfs::Walk), which gives blocks in order: a block that does not come
/// must not keep others from being fetched, and none is held until its turn.
pub(super) struct Crawl {
    rules: Rules,
    source: NodeSource,
    shared: Arc<Shared>,
    watch: Watch,
    late: BoxFuture<'static, Late>,
    pending: Pending,
    seen: Seen,
    /// What the blocks are wanted for that are looked for here, or are asked for.
    jobs: BTreeMap<Cid, Vec<Job>>,
    looking: Option<Looking>,
    ready: async_channel::Sender<Cid>,
    taken: async_channel::Receiver<Cid>,
    /// What the session gives; none before it was asked.
    fetched: Option<BoxStream<'static, (Cid, Result<Block>)>>,
    /// Nobody is asked any more: why what is not here is missing.
    alone: Option<Error>,
    missing: Lacking,
}

/// Blocks that are being looked for here.
struct Looking {
    cids: Vec<Cid>,
    found: BoxFuture<'static, Vec<Found>>,
}

/// What has happened.
#[derive(Default)]
struct Turn {
    found: Vec<Found>,
    fetched: Vec<(Cid, Result<Block>)>,
    ended: bool,
    late: Option<Late>,
}

impl Turn {
    const fn is_idle(&self) -> bool {
        self.found.is_empty() && self.fetched.is_empty() && !self.ended
    }
}

/// Lets others have their turn. What is in memory is there at once, and would leave them none.
async fn rest() {
    let mut has_rested = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_rested, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Crawl {
    pub(super) fn new(
        rules: Rules,
        source: NodeSource,
        shared: Arc<Shared>,
        watch: Watch,
        root: Job,
    ) -> Self {
        // Bounded by `MAX_READY`, and what a batch adds.
        let (ready, taken) = async_channel::unbounded();
        let (late, pending) = (watch(), Pending::new(root));
        let (seen, missing) = (Seen::default(), Lacking::default());
        let (jobs, looking, fetched, alone) = (BTreeMap::new(), None, None, None);
        Self {
            rules,
            source,
            shared,
            watch,
            late,
            pending,
            seen,
            jobs,
            looking,
            ready,
            taken,
            fetched,
            alone,
            missing,
        }
    }

    /// Does not count a block, which was counted on the way to the root.
    pub(super) fn counted(mut self, cid: &Cid) -> Self {
        self.seen.come_to(cid, 0, false);
        self
    }

    /// Brings all that can be had.
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`]; [`Error::Full`] and [`Error::Closed`], after which nothing more can be
    /// had; [`Error::WrongKind`] for a range of what is no file.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            self.look();
            self.tell();
            if self.jobs.is_empty() {
                return self.missing.into_result();
            }
            let turn = poll_fn(|cx| self.poll_turn(cx)).await;
            let late = turn.late;
            let is_idle = self.handle(turn)?;
            match late {
                None => {}
                // It was too late only as long as this turn was not looked at.
                Some(Late::Stalled) if !is_idle => self.late = (self.watch)(),
                // What is here need not be asked for: then it is known what is missing.
                Some(Late::Stalled) if self.alone.is_none() && self.looking.is_none() => {
                    self.go_on_alone(&Late::Stalled.why());
                    self.shared.answered();
                    self.late = (self.watch)();
                }
                Some(late) => return self.give_up(&late.why()),
            }
            rest().await;
        }
    }

    /// Goes on with what has happened; whether that was nothing.
    fn handle(&mut self, turn: Turn) -> Result<bool> {
        let is_idle = turn.is_idle();
        for found in turn.found {
            match found {
                Found::Here(cid, block) => self.take(cid, block, From::Here)?,
                Found::Missing(cid) => self.ask(cid),
            }
        }
        for (cid, block) in turn.fetched {
            self.take(cid, block, From::Peers)?;
        }
        if turn.ended {
            self.go_on_alone(&Error::Closed("the source of blocks"));
        }
        Ok(is_idle)
    }

    /// Looks for the next blocks here, if there is room for those that are not.
    fn look(&mut self) {
        if self.looking.is_some() || self.ready.len() >= MAX_READY {
            return;
        }
        let cids = self.draw();
        if !cids.is_empty() {
            let (source, wanted) = (self.source.clone(), cids.clone());
            let found = async move { source.look(wanted).await }.boxed();
            self.looking = Some(Looking { cids, found });
        }
    }

    /// The next blocks that are not on their way yet.
    fn draw(&mut self) -> Vec<Cid> {
        let mut cids = Vec::new();
        while cids.len() < LOCAL_BATCH {
            let Some(mut job) = self.pending.pop() else { break };
            let is_again = job.dropped > 0;
            if !is_again {
                match self.come_to(&job) {
                    Known::Whole => continue,
                    known => job.is_new = known == Known::New,
                }
            }
            let waiting = self.jobs.entry(job.cid).or_default();
            if waiting.is_empty() {
                cids.push(job.cid);
            }
            waiting.push(job);
            if is_again {
                // It brings many links with it.
                break;
            }
        }
        cids
    }

    fn come_to(&mut self, job: &Job) -> Known {
        // Without a bound it does not matter how far away it is.
        let depth = if self.rules.max_depth.is_some() { job.depth } else { 0 };
        self.seen.come_to(&job.cid, depth, job.role.is_whole())
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut turn = Turn::default();
        if let Some(looking) = &mut self.looking
            && let Poll::Ready(found) = looking.found.poll_unpin(cx)
        {
            turn.found = found;
            self.looking = None;
        }
        let ready = self.ready.len();
        while let Some(fetched) = &mut self.fetched
            && turn.fetched.len() < MAX_AT_ONCE
        {
            match fetched.poll_next_unpin(cx) {
                Poll::Ready(Some(answer)) => turn.fetched.push(answer),
                Poll::Ready(None) => {
                    turn.ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if self.ready.len() != ready {
            // The session has taken some.
            self.tell();
        }
        if let Poll::Ready(late) = self.late.poll_unpin(cx) {
            turn.late = Some(late);
        } else if turn.is_idle() {
            return Poll::Pending;
        }
        Poll::Ready(turn)
    }

    /// Asks for a block that is not here.
    fn ask(&mut self, cid: Cid) {
        if let Some(why) = self.alone.clone() {
            self.jobs.remove(&cid);
            return self.missing.add(cid, why);
        }
        // Both ends are here.
        let _ = self.ready.try_send(cid);
        if self.fetched.is_none() {
            self.fetched = Some(self.source.clone().fetch(self.taken.clone().boxed()));
        }
    }

    /// Goes on along the links of a block that came.
    fn take(&mut self, cid: Cid, answer: Result<Block>, from: From) -> Result<()> {
        let jobs = self.jobs.remove(&cid).unwrap_or_default();
        let block = match answer {
            Ok(block) => block,
            Err(error) => return self.fail(cid, error),
        };
        match jobs.iter().any(|job| job.is_new) {
            true => self.shared.came(from, block.len()),
            false => self.shared.answered(),
        }
        for job in jobs {
            match self.rules.links(&job.role, job.depth, &block) {
                Ok(links) => self.pending.push(job, links),
                // What the caller asked for makes no sense.
                Err(error @ Error::WrongKind { .. }) if matches!(job.role, Role::Range(_)) => {
                    return Err(error);
                }
                Err(error) => self.fail(cid, error)?,
            }
        }
        Ok(())
    }

    /// Goes on without a block, if it can.
    fn fail(&mut self, cid: Cid, error: Error) -> Result<()> {
        self.shared.answered();
        if is_fatal(&error) {
            return Err(error);
        }
        self.missing.add(cid, error);
        Ok(())
    }

    /// Asks nobody any more, and looks only for what is here.
    fn go_on_alone(&mut self, why: &Error) {
        self.fetched = None;
        while self.taken.try_recv().is_ok() {}
        let looking = self.looking.as_ref().map_or(&[][..], |looking| &looking.cids);
        self.jobs.retain(|cid, _| {
            let is_looked_for = looking.contains(cid);
            if !is_looked_for {
                self.missing.add(*cid, why.clone());
            }
            is_looked_for
        });
        self.alone = Some(why.clone());
    }

    /// All that was not had is missing.
    fn give_up(mut self, why: &Error) -> Result<()> {
        for cid in std::mem::take(&mut self.jobs).into_keys() {
            self.missing.add(cid, why.clone());
        }
        while let Some(job) = self.pending.pop() {
            match job.dropped {
                0 if self.come_to(&job) == Known::Whole => {}
                0 => self.missing.add(job.cid, why.clone()),
                dropped => self.missing.add_unnamed(dropped),
            }
        }
        self.tell();
        self.missing.into_result()
    }

    fn tell(&self) {
        let ready = self.ready.len();
        let looking = self.looking.as_ref().map_or(0, |looking| looking.cids.len());
        let wanted = self.jobs.len().saturating_sub(ready + looking);
        self.shared.tell(wanted as u64, self.pending.len() + ready as u64, self.missing.count());
    }
}
