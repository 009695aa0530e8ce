//! Asking one gateway after the other, until one of them gives what is looked for.

use std::{sync::Arc, time::Instant};

use futures_core::future::BoxFuture;
use ipfs_traits::{Cid, Error, Result, Runtime};

use super::{
    Shared,
    gateway::{Gateway, Standing, Ticket},
    request::{self, Fault},
};

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
    shared: &Shared,
    cid: &Cid,
    ask: impl Fn(usize, Ticket) -> BoxFuture<'a, Result<T, Fault>>,
) -> Result<T> {
    let mut tried = Tried::new(&shared.gateways);
    loop {
        let now = shared.runtime.now();
        let at = match tried.next(&shared.gateways, now) {
            Next::Ask(at) => at,
            Next::Wait(until) => {
                shared.runtime.sleep_until(until).await;
                continue;
            }
            Next::Nobody => return Err(tried.into_error(*cid)),
        };
        let Some(turn) = shared.gateways[at].turn(now).await else { continue };
        if let Err(fault) = probed(shared, &turn).await {
            tried.last = fault.error().cloned();
            continue;
        }
        match ask(at, turn.clone()).await {
            Ok(found) => return Ok(found),
            Err(fault) => {
                turn.failed(&fault, shared.runtime.now(), false);
                tried.record(at, &fault);
            }
        }
    }
}

/// Has a gateway show that it works, if it has to.
async fn probed(shared: &Shared, ticket: &Ticket) -> Result<(), Fault> {
    if !ticket.needs_probe() {
        return Ok(());
    }
    match request::probe(shared, ticket).await {
        Ok(()) => ticket.works(),
        Err(fault) => {
            ticket.failed(&fault, shared.runtime.now(), true);
            return Err(fault);
        }
    }
    Ok(())
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
    Wait(Instant),
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
    fn next(&mut self, gateways: &[Arc<Gateway>], now: Instant) -> Next {
        let (mut best, mut first) = (None, None);
        for (at, gateway) in gateways.iter().enumerate() {
            if self.of[at].over {
                continue;
            }
            let tries = self.of[at].failed + gateway.failed_probes() - self.of[at].probes;
            match gateway.standing(now) {
                _ if tries >= TRIES => self.give_up(gateway, now),
                Standing::Distrusted => self.give_up(gateway, now),
                Standing::Paused(until) => first = Some(first.unwrap_or(until).min(until)),
                Standing::Open(cost) => {
                    if best.is_none_or(|(_, least)| cost < least) {
                        best = Some((at, cost));
                    }
                }
            }
        }
        match (best, first) {
            (Some((at, _)), _) => Next::Ask(at),
            (None, Some(until)) => Next::Wait(until),
            (None, None) => Next::Nobody,
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
