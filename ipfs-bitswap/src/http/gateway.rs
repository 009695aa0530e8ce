//! A gateway: how fast it is, whether it may be asked now, and whose turn it is to ask.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use futures_util::FutureExt;
use ipfs_traits::{Error, GiverStats};

use super::request::{Fault, GatewayError};
use ipfs_traits::sync::{Closed, lock};

/// The first pause after a failure: long enough for a server that restarts to answer a few of the
/// next requests.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after a failure, as in boxo: a gateway that is back is used within a minute.
/// What a server asks for with `Retry-After` is bounded by it too.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How long a gateway is left alone that gave wrong bytes. It is broken or hostile, and neither ends
/// soon; yet the one of a host that was repaired has to come back without a restart.
const DISTRUST: Duration = Duration::from_secs(600);

/// What the latency of a gateway is taken to be before it is known, in seconds: slow enough that one
/// known to be near is preferred, fast enough that a second one is tried when the first is busy.
const UNKNOWN_LATENCY: f64 = 0.25;

/// What a block is taken to weigh when gateways are compared, in bytes: the chunk of most importers.
const TYPICAL_BLOCK: f64 = 262_144.0;

/// How much of an average the newest sample is.
const NEWEST: f64 = 0.125;

/// The smallest body, in bytes, that says something of how fast bodies come: a smaller one arrives with
/// its head.
const LEAST_SAMPLE: usize = 16 << 10;

/// The least share of requests that a gateway is taken to answer with a block: one that lacked all so
/// far is asked late, but is still compared by its speed.
const LEAST_SHARE: f64 = 0.02;

/// After so many that wait in a line, those who left it are cleared away.
const CLEAR_LINE: usize = 1024;

#[derive(Debug)]
pub(super) struct Gateway {
    url: Arc<str>,
    /// Requests at once.
    requests: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    line: VecDeque<oneshot::Sender<Turn>>,
    /// Whether it has shown to be a gateway since it last failed.
    probed: bool,
    /// The probe that is under way.
    probe: Option<Closed>,
    paused_until: Option<Instant>,
    /// Pauses so far: what was asked before the last one says nothing new by failing.
    pauses: u64,
    failed_probes: u64,
    /// Why it was paused last.
    error: Option<Error>,
    /// Failures since it last answered.
    failures: u32,
    /// Seconds to the head of an answer, on average.
    latency: Option<f64>,
    /// Bytes a second of a body, on average.
    rate: Option<f64>,
    /// The share of blocks that it did not have.
    lacked: f64,
}

/// Whether a gateway may be asked now.
#[derive(Debug)]
pub(super) enum Standing {
    /// It may; the number is the time that a block would take, as far as known, in seconds.
    Open(f64),
    /// It has to show first that it works.
    Unproven,
    /// From then on.
    Paused(Instant),
    /// Not for so long that nobody waits for it.
    Distrusted,
}

impl Gateway {
    pub(super) fn new(url: Arc<str>, requests: usize) -> Arc<Self> {
        Arc::new(Self { url, requests: requests.max(1), state: Mutex::default() })
    }

    pub(super) const fn url(&self) -> &Arc<str> {
        &self.url
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        let state = lock(&self.state);
        match state.paused_until {
            Some(until) if until > now + MAX_PAUSE => Standing::Distrusted,
            Some(until) if until > now => Standing::Paused(until),
            _ if state.probed => Standing::Open(state.cost()),
            _ => Standing::Unproven,
        }
    }

    /// How many probes have failed so far.
    pub(super) fn failed_probes(&self) -> u64 {
        lock(&self.state).failed_probes
    }

    /// Why it was not asked, or is no longer.
    pub(super) fn error(&self, now: Instant) -> Option<Error> {
        match self.standing(now) {
            Standing::Distrusted => Some(GatewayError::Distrusted(self.url.clone()).into()),
            _ => lock(&self.state).error.clone(),
        }
    }

    /// Waits in line to ask it; `None` when it is paused, or is while it is waited for.
    pub(super) async fn turn(self: &Arc<Self>, now: Instant) -> Option<Turn> {
        let granted = {
            let mut state = lock(&self.state);
            if state.paused_until.is_some_and(|until| until > now) {
                return None;
            }
            if state.used < self.requests {
                state.used += 1;
                return Some(self.begin(&state));
            }
            let (grant, granted) = oneshot::channel();
            state.line.push_back(grant);
            if state.line.len().is_multiple_of(CLEAR_LINE) {
                state.line.retain(|grant| !grant.is_canceled());
            }
            granted
        };
        granted.await.ok()
    }

    fn begin(self: &Arc<Self>, state: &State) -> Turn {
        Turn(Ticket { gateway: self.clone(), pauses: state.pauses })
    }

    /// What ends with the probe that is under way; `begin` begins one if there is none.
    pub(super) fn probe(
        self: &Arc<Self>,
        begin: impl FnOnce(Ticket, oneshot::Sender<()>),
    ) -> Closed {
        let (ended, over) = oneshot::channel();
        let over = over.shared();
        let ticket = {
            let mut state = lock(&self.state);
            if let Some(probe) = &state.probe {
                return probe.clone();
            }
            state.probe = Some(over.clone());
            Ticket { gateway: self.clone(), pauses: state.pauses }
        };
        begin(ticket, ended);
        over
    }

    /// Lets those in the line go on, as many as there is room for.
    fn admit(self: &Arc<Self>) {
        while let Some((grant, turn)) = self.next_in_line() {
            // One who has just left gives the turn back by dropping it.
            drop(grant.send(turn));
        }
    }

    fn next_in_line(self: &Arc<Self>) -> Option<(oneshot::Sender<Turn>, Turn)> {
        let mut state = lock(&self.state);
        while state.used < self.requests {
            let grant = state.line.pop_front()?;
            if !grant.is_canceled() {
                state.used += 1;
                return Some((grant, self.begin(&state)));
            }
        }
        None
    }

    /// Fills in what is known of its speed.
    pub(super) fn describe(&self, stats: &mut GiverStats) {
        let state = lock(&self.state);
        stats.latency = state.latency.map(Duration::from_secs_f64);
        stats.rate = state.rate.map(|rate| rate as u64);
    }
}

impl State {
    fn cost(&self) -> f64 {
        let body = self.rate.map_or(0.0, |rate| TYPICAL_BLOCK / rate);
        let one = self.latency.unwrap_or(UNKNOWN_LATENCY) + body;
        let ahead = (self.used + self.line.len() + 1) as f64;
        let share = (1.0 - self.lacked).max(LEAST_SHARE);
        one * ahead * f64::from(self.failures + 1) / share
    }

    fn sample_lack(&mut self, lacked: f64) {
        self.failures = 0;
        self.lacked += (lacked - self.lacked) * NEWEST;
    }

    /// How long it is left alone after this, if at all.
    fn pause_after(&self, fault: &Fault) -> Option<Duration> {
        match fault {
            Fault::Lacks | Fault::Refused(_) => None,
            Fault::Busy(Some(time), _) => Some((*time).clamp(FIRST_PAUSE, MAX_PAUSE)),
            Fault::Lied(_) => Some(DISTRUST),
            Fault::Failed(_) | Fault::Busy(None, _) => {
                let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
                Some(doubled.min(MAX_PAUSE))
            }
        }
    }
}

/// The right to ask a gateway; what is then learnt about it goes to its [`Ticket`].
#[derive(Debug)]
pub(super) struct Turn(Ticket);

impl std::ops::Deref for Turn {
    type Target = Ticket;

    fn deref(&self) -> &Ticket {
        &self.0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.gateway.state).used -= 1;
        self.gateway.admit();
    }
}

/// Which gateway was asked, and when.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    gateway: Arc<Gateway>,
    /// How many pauses it had had.
    pauses: u64,
}

impl Ticket {
    pub(super) fn url(&self) -> &Arc<str> {
        &self.gateway.url
    }

    /// A probe is over: with no fault, it works.
    pub(super) fn probed(&self, fault: Option<&Fault>, now: Instant) {
        {
            let mut state = lock(&self.gateway.state);
            state.probe = None;
            state.probed = fault.is_none();
            state.failed_probes += u64::from(fault.is_some());
        }
        fault.into_iter().for_each(|fault| self.failed(fault, now));
    }

    /// The head of an answer has come after this time.
    pub(super) fn answered(&self, time: Duration) {
        average(&mut lock(&self.gateway.state).latency, time.as_secs_f64());
    }

    /// It gave a block, whose body took this time.
    pub(super) fn gave(&self, bytes: usize, time: Duration) {
        let mut state = lock(&self.gateway.state);
        state.sample_lack(0.0);
        if bytes >= LEAST_SAMPLE && !time.is_zero() {
            average(&mut state.rate, (bytes as f64 / time.as_secs_f64()).max(1.0));
        }
    }

    /// It did not give what it was asked for.
    pub(super) fn failed(&self, fault: &Fault, now: Instant) {
        let left = {
            let mut state = lock(&self.gateway.state);
            let Some(pause) = state.pause_after(fault) else {
                return state.sample_lack(1.0);
            };
            let known = state.pauses != self.pauses;
            if known && !matches!(fault, Fault::Lied(_)) {
                return;
            }
            state.failures = state.failures.saturating_add(1);
            state.pauses += 1;
            state.probed = false;
            state.error = fault.error().cloned();
            state.paused_until = state.paused_until.max(Some(now + pause));
            std::mem::take(&mut state.line)
        };
        // Woken without the lock: they look for another gateway.
        drop(left);
    }
}

fn average(value: &mut Option<f64>, sample: f64) {
    *value = Some(value.map_or(sample, |value| value + (sample - value) * NEWEST));
}
