//! Asking one gateway after the other, until one of them gives what is looked for.

use std::{future::pending, pin::pin, sync::Arc, time::Instant};

use futures_channel::oneshot;
use futures_core::future::BoxFuture;
use futures_util::{
    FutureExt,
    future::{select, select_all},
};
use ipfs_traits::{Cid, Error, Result, Runtime};

use super::{
    Shared,
    gateway::{Gateway, Standing, Ticket},
    request::{self, Fault},
};
use ipfs_traits::sync::Closed;

/// How often one gateway may fail during one search before it is no longer asked: it is asked again
/// twice, after pauses of a second and more, which is what a server needs that is busy or restarts.
const TRIES: u64 = 3;

/// Looks for something that `ask` asks a gateway for, the most promising one first.
///
/// # Errors
///
/// [`Error::NotFound`] of `cid` when all gateways say that they do not have it; otherwise the last
/// failure.
pub(super) async fn search<'a, T>(
    shared: &Arc<Shared>,
    cid: &Cid,
    ask: impl Fn(usize, Ticket) -> BoxFuture<'a, Result<T, Fault>>,
) -> Result<T> {
    let mut tried = Tried::new(&shared.gateways);
    loop {
        let now = shared.runtime.now();
        let at = match tried.next(shared, now) {
            Next::Ask(at) => at,
            Next::Wait(until, probes) => {
                wait(shared, until, probes).await;
                continue;
            }
            Next::Nobody => return Err(tried.into_error(*cid)),
        };
        let Some(turn) = shared.gateways[at].turn(now).await else { continue };
        match ask(at, turn.clone()).await {
            Ok(found) => return Ok(found),
            Err(fault) => {
                turn.failed(&fault, shared.runtime.now());
                tried.record(at, &fault);
            }
        }
    }
}

/// Waits until a pause is over or a probe.
async fn wait(shared: &Shared, until: Option<Instant>, probes: Vec<Closed>) {
    let paused = async {
        match until {
            Some(until) => shared.runtime.sleep_until(until).await,
            None => pending().await,
        }
    };
    let probed = async {
        match probes.is_empty() {
            true => pending().await,
            false => drop(select_all(probes).await),
        }
    };
    select(pin!(paused), pin!(probed)).await;
}

/// Has a gateway show that it works, while others are asked. Gives what ends with that.
fn probe(shared: &Arc<Shared>, gateway: &Arc<Gateway>) -> Closed {
    gateway.probe(|ticket, ended| {
        let shared = shared.clone();
        let probe = Probe { shared, ticket, fault: Some(Fault::Failed(GONE)), _ended: ended };
        let runtime = probe.shared.runtime.clone();
        runtime.spawn(probe.run().boxed()).detach();
    })
}

const GONE: Error = Error::Closed("the runtime");

/// A probe under way. Those who wait are told when it ends, however it does.
struct Probe {
    shared: Arc<Shared>,
    ticket: Ticket,
    fault: Option<Fault>,
    /// Dropped last: by then it is known how the probe went.
    _ended: oneshot::Sender<()>,
}

impl Probe {
    async fn run(mut self) {
        let latch = self.shared.latch.clone();
        let asked = async { Ok(request::probe(&self.shared, &self.ticket).await.err()) };
        self.fault = latch.guard(asked).await.unwrap_or_else(|error| Some(Fault::Failed(error)));
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.ticket.probed(self.fault.as_ref(), self.shared.runtime.now());
    }
}

/// What a search knows of the gateways.
struct Tried {
    of: Vec<Try>,
    /// Why the last one that failed did.
    last: Option<Error>,
}

struct Try {
    /// It does not have it, or will not give it.
    over: bool,
    failed: u64,
    /// How many probes of others had failed when the search began.
    probes: u64,
}

enum Next {
    Ask(usize),
    /// Until then, or until one of the probes is over.
    Wait(Option<Instant>, Vec<Closed>),
    Nobody,
}

impl Tried {
    fn new(gateways: &[Arc<Gateway>]) -> Self {
        let of = gateways
            .iter()
            .map(|gateway| Try { over: false, failed: 0, probes: gateway.failed_probes() })
            .collect();
        Self { of, last: None }
    }

    /// The best gateway that may be asked, or when there will be one.
    fn next(&mut self, shared: &Arc<Shared>, now: Instant) -> Next {
        let (mut best, mut first, mut probes) = (None, None, Vec::new());
        for (at, gateway) in shared.gateways.iter().enumerate() {
            if self.of[at].over {
                continue;
            }
            let tries = self.of[at].failed + gateway.failed_probes() - self.of[at].probes;
            match gateway.standing(now) {
                _ if tries >= TRIES => self.give_up(gateway, now),
                Standing::Distrusted => self.give_up(gateway, now),
                Standing::Paused(until) => first = Some(first.unwrap_or(until).min(until)),
                Standing::Unproven => probes.push(probe(shared, gateway)),
                Standing::Open(cost) => {
                    if best.is_none_or(|(_, least)| cost < least) {
                        best = Some((at, cost));
                    }
                }
            }
        }
        match (best, first) {
            (Some((at, _)), _) => Next::Ask(at),
            (None, None) if probes.is_empty() => Next::Nobody,
            (None, until) => Next::Wait(until, probes),
        }
    }

    /// One is left out that has not said that it lacks the block.
    fn give_up(&mut self, gateway: &Gateway, now: Instant) {
        if self.last.is_none() {
            self.last = gateway.error(now);
        }
    }

    fn record(&mut self, at: usize, fault: &Fault) {
        match fault {
            Fault::Lacks | Fault::Refused(_) => self.of[at].over = true,
            _ => self.of[at].failed += 1,
        }
        self.last = fault.error().cloned().or(self.last.take());
    }

    fn into_error(self, cid: Cid) -> Error {
        self.last.unwrap_or(Error::NotFound(cid))
    }
}
