//! Waits for a pin.

use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Error, Result, RuntimeExt};

use super::{Failure, PinStatus, PinningService};

/// How soon a service is asked again for the first time: as Kubo does it.
pub const FIRST_POLL: Duration = Duration::from_millis(500);

/// The longest time between two questions; each is twice the one before. What takes an hour is asked
/// for some 240 times.
pub const MAX_POLL: Duration = Duration::from_secs(15);

/// The longest time that a service is left alone, whatever its `Retry-After` says: their limits of
/// rate count by the minute.
pub const MAX_PAUSE: Duration = Duration::from_secs(300);

/// How many questions in a row may fail: with the waits between them that is a minute and a half, in
/// which a service restarts.
pub const MAX_FAILURES: u32 = 10;

pub(super) fn wait(
    service: PinningService,
    request_id: String,
) -> BoxStream<'static, Result<PinStatus>> {
    let waiting = Waiting { service, request_id, last: None, pause: None, failures: 0 };
    let next = async |mut waiting: Waiting| {
        let status = waiting.next().await?;
        Ok(status.map(|status| (status, waiting)))
    };
    stream::try_unfold(waiting, next).boxed()
}

struct Waiting {
    service: PinningService,
    request_id: String,
    last: Option<PinStatus>,
    /// How long it was waited before the last question.
    pause: Option<Duration>,
    failures: u32,
}

impl Waiting {
    /// The next status that is not as the last one.
    async fn next(&mut self) -> Result<Option<PinStatus>> {
        if self.last.as_ref().is_some_and(|last| last.status.is_final()) {
            return Ok(None);
        }
        let mut asked = None;
        loop {
            if let Some(pause) = asked.max(self.pause) {
                self.service.0.runtime.sleep(pause).await;
            }
            self.pause = Some(self.pause.map_or(FIRST_POLL, |pause| (pause * 2).min(MAX_POLL)));
            asked = None;
            match self.service.get(&self.request_id).await {
                Ok(status) if self.last.as_ref() != Some(&status) => {
                    self.failures = 0;
                    self.last = Some(status.clone());
                    return Ok(Some(status));
                }
                Ok(_) => self.failures = 0,
                Err(error) if is_passing(&error) && self.failures < MAX_FAILURES => {
                    self.failures += 1;
                    let failure = Failure::of(&error);
                    asked = failure.and_then(|failure| failure.retry_after);
                    asked = asked.map(|asked| asked.min(MAX_PAUSE));
                    tracing::debug!(%error, "a pinning service is asked again later");
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether it may go better later: the network failed, or the service has too much to do.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::TimedOut(_) => true,
        Error::Component { .. } => Failure::of(error).is_none_or(Failure::is_passing),
        _ => false,
    }
}
