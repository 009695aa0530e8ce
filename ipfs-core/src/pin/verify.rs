//! Whether pins are whole.

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use ipfs_traits::{Block, Error, Result, work::Meter};

use super::{Pin, PinMode, Pins, add::missing};
use crate::reach::{Item, Leaves, Reach, is_of_block};

/// How pins are verified: see [`Pins::verify`]. Nothing happens before it is asked for.
#[derive(Clone, Debug)]
#[must_use = "nothing is verified before it is asked for"]
pub struct VerifyPins {
    pins: Pins,
    leaves: Leaves,
}

/// What was found of a pin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// The pin.
    pub pin: Pin,
    /// Whether it is whole: [`Error::Incomplete`] names what it lacks.
    pub whole: Result<()>,
}

impl Pins {
    /// Looks whether pins are whole: whether all blocks that they keep are here, and those with links
    /// can be read and understood. Nothing is fetched.
    pub fn verify(&self) -> VerifyPins {
        VerifyPins { pins: self.clone(), leaves: Leaves::Check }
    }
}

impl VerifyPins {
    /// Reads and hashes all blocks as well.
    pub fn hashing(mut self) -> Self {
        self.leaves = Leaves::Read;
        self
    }

    /// One pin.
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`], which names what it lacks; what the store says.
    pub async fn one(&self, pin: &Pin) -> Result<()> {
        let root = match (pin.mode, self.leaves) {
            (PinMode::Recursive(follow), _) => Item { cid: pin.cid, follow },
            (PinMode::Direct, Leaves::Read) => return self.read(pin).await,
            (PinMode::Direct, _) => return self.look_for(pin).await,
        };
        let reach = self.reach();
        reach.run(vec![root]).await?;
        reach.lacking().await
    }

    /// All pins, one after the other. Where nothing is missing in any, each block is looked at once,
    /// whatever the number of pins that it is below.
    ///
    /// An item may be an error of the store or the datastore, which ends the stream.
    pub fn all(self) -> BoxStream<'static, Result<Verified>> {
        let pins = self.pins.list();
        // What is whole need not be looked at again; what is not has to be, for the next pin.
        let state = (pins, self.reach(), self);
        stream::try_unfold(state, |(mut pins, mut reach, verify)| async move {
            let Some(pin) = pins.try_next().await? else { return Ok(None) };
            let whole = match pin.root() {
                None => verify.one(&pin).await,
                Some(root) => {
                    reach.run(vec![root]).await?;
                    reach.lacking().await
                }
            };
            if matches!(whole, Err(Error::Incomplete { .. })) {
                reach = verify.reach();
            } else {
                whole.clone()?;
            }
            Ok(Some((Verified { pin, whole }, (pins, reach, verify))))
        })
        .boxed()
    }

    fn reach(&self) -> Reach {
        Reach::new(self.pins.keeper().site.clone(), self.leaves, Meter::default())
    }

    async fn look_for(&self, pin: &Pin) -> Result<()> {
        match self.pins.node.blocks().has(&pin.cid).await? {
            true => Ok(()),
            false => Err(missing(pin.cid, Error::NotFound(pin.cid))),
        }
    }

    async fn read(&self, pin: &Pin) -> Result<()> {
        if Block::inline(&pin.cid).is_some() {
            return Ok(());
        }
        let store = &self.pins.keeper().site.store;
        let block = match store.get_many(&[pin.cid]).await.pop() {
            Some(Ok(Some(block))) => block,
            Some(Err(error)) if is_of_block(&error) => return Err(missing(pin.cid, error)),
            Some(Err(error)) => return Err(error),
            Some(Ok(None)) | None => return Err(missing(pin.cid, Error::NotFound(pin.cid))),
        };
        let hashes = self.pins.node.hashes();
        let verified = Block::verify(pin.cid, block.data().clone(), hashes);
        verified.map(drop).map_err(|error| missing(pin.cid, error))
    }
}
