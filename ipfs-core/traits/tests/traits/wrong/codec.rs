//! Codecs that break one promise each.

use std::sync::atomic::{AtomicBool, Ordering};

use ipfs_traits::{Bytes, Cid, Codec, Error, Ipld, Result, Static, conformance};
use serde_ipld_dagcbor::codec::DagCborCodec;

use super::super::conformance::some_values;
use super::caught;

#[derive(Clone, Copy, Debug, PartialEq)]
enum CodecFault {
    MissesLinks,
    NotDeterministic,
    LosesInformation,
    WrongError,
}

#[derive(Debug)]
struct Faulty(CodecFault, Static<DagCborCodec>, AtomicBool);

impl Codec for Faulty {
    fn code(&self) -> u64 {
        self.1.code()
    }
    fn links(&self, cid: &Cid, data: &[u8], out: &mut dyn FnMut(Cid)) -> Result<()> {
        match self.0 {
            CodecFault::MissesLinks => Ok(()),
            _ => self.1.links(cid, data, out),
        }
    }
    fn decode(&self, cid: &Cid, data: &Bytes) -> Result<Ipld> {
        let value = self.1.decode(cid, data);
        match self.0 {
            CodecFault::WrongError => value.map_err(|_| Error::Closed("the codec")),
            CodecFault::LosesInformation if matches!(value, Ok(Ipld::String(_))) => Ok(Ipld::Null),
            _ => value,
        }
    }
    fn encode(&self, value: &Ipld) -> Result<Bytes> {
        let data = self.1.encode(value)?;
        if self.0 == CodecFault::NotDeterministic && self.2.fetch_xor(true, Ordering::Relaxed) {
            return self.1.encode(&Ipld::List(vec![value.clone()]));
        }
        Ok(data)
    }
}

#[test]
fn wrong_codecs_are_caught() {
    use CodecFault as F;
    for fault in [F::MissesLinks, F::NotDeterministic, F::LosesInformation, F::WrongError] {
        let codec = Faulty(fault, Static::new(), AtomicBool::new(false));
        caught(fault, conformance::codec(&codec, &some_values()));
    }
    caught("no values", conformance::codec(&Static::<DagCborCodec>::new(), &[]));
}
