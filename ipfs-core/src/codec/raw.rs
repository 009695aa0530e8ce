//! Raw bytes: what they hold is themselves.

use bytes::Bytes;
use ipfs_traits::{Cid, Codec, Error, Ipld, Result, codes};

/// The codec of raw bytes (0x55): no links, and any bytes are right.
#[derive(Clone, Copy, Debug)]
pub struct Raw;

impl Codec for Raw {
    fn code(&self) -> u64 {
        codes::RAW
    }

    fn links(&self, _: &Cid, _: &[u8], _: &mut dyn FnMut(Cid)) -> Result<()> {
        Ok(())
    }

    fn decode(&self, _: &Cid, data: &Bytes) -> Result<Ipld> {
        Ok(Ipld::Bytes(data.to_vec()))
    }

    fn encode(&self, value: &Ipld) -> Result<Bytes> {
        match value {
            Ipld::Bytes(bytes) => Ok(Bytes::copy_from_slice(bytes)),
            other => Err(Error::invalid(
                "value to encode",
                format!("raw blocks hold bytes, not {}", super::json::kind(other)),
            )),
        }
    }
}
