//! Values as bytes: they come in one codec and are stored in another, and are given in any.

use ipfs_traits::{
    Block, Bytes, Cid, CodecTable, Error, HashTable, Ipld, Result, RuntimeExt, codes, limits,
};

use super::Dag;
use crate::IntoPath;

/// How [`Dag::put_encoded`] stores a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutOptions {
    /// The codec of the block: DAG-CBOR by default, which holds every value, in few bytes.
    pub codec: u64,
    /// The hash function of its CID: SHA2-256 by default, which every implementation knows.
    pub hash: u64,
    /// Takes a block of up to 64 MiB. By default one beyond 2 MiB is refused, because no other node
    /// could fetch it by bitswap.
    pub allow_large: bool,
}

impl Default for PutOptions {
    fn default() -> Self {
        Self { codec: codes::DAG_CBOR, hash: codes::SHA2_256, allow_large: false }
    }
}

/// The longest bytes that are read for a block of at most 2 MiB: text needs up to six times what the
/// value takes in DAG-CBOR, where all of it is control characters.
const MAX_INPUT: usize = 8 * limits::MAX_BLOCK;

impl Dag {
    /// Stores the value that `data` holds in the codec `input`, in the codec that the options say:
    /// what Kubo's `dag put` does, with the same CIDs.
    ///
    /// The value is read and written again even if both codecs are the same, so that what is stored
    /// has the form of its codec: keys of DAG-CBOR in their order, links of dag-pb by their names.
    /// Bytes are stored as they are by [`Blocks::put_bytes`](crate::Blocks::put_bytes).
    ///
    /// ```
    /// # use ipfs_core::{codes, Error, Node, PutOptions};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let node = Node::builder().offline().spawn().await?;
    /// let text = r#"{"name": "ipfs", "bytes": {"/": {"bytes": "AAEC"}}}"#;
    /// let cid = node.dag().put_encoded(codes::DAG_JSON, text, PutOptions::default()).await?;
    /// assert_eq!(cid.codec(), codes::DAG_CBOR);
    ///
    /// let json = node.dag().get_encoded(&cid, codes::DAG_JSON).await?;
    /// assert_eq!(json, r#"{"bytes":{"/":{"bytes":"AAEC"}},"name":"ipfs"}"#);
    /// let inner = node.dag().get_encoded(format!("{cid}/bytes"), codes::RAW).await?;
    /// assert_eq!(inner, [0, 1, 2][..]);
    /// # Ok::<(), Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`], [`Error::UnknownHash`]; [`Error::Malformed`] for bytes that are not
    /// of the codec; [`Error::Invalid`] for a value that the other one cannot express;
    /// [`Error::Limit`] for a block that is larger than the options allow, or for more than 16 MiB
    /// of input, 64 MiB where large blocks are allowed; what the store says.
    pub async fn put_encoded(
        &self,
        input: u64,
        data: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<Cid> {
        let data = data.into();
        let most = if options.allow_large { limits::MAX_STORED_BLOCK } else { MAX_INPUT };
        if data.len() > most {
            return Err(Error::limit("bytes of a value", most, data.len()));
        }
        let (codecs, hashes) = (self.node.codecs().clone(), self.node.hashes().clone());
        let work = move || transcode(&codecs, &hashes, input, data, options);
        let block = self.node.runtime().blocking(work).await??;
        let (cid, blocks) = (*block.cid(), self.node.blocks());
        match options.allow_large {
            true => blocks.put_large(block).await?,
            false => blocks.put(block).await?,
        }
        Ok(cid)
    }

    /// The value that a path leads to, as bytes in the codec `output`: what Kubo's `dag get` does.
    /// A link at the end is followed.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); [`Error::UnknownCodec`]; [`Error::Invalid`] for a value that the codec
    /// cannot express, such as a map in raw bytes.
    pub async fn get_encoded(&self, path: impl IntoPath, output: u64) -> Result<Bytes> {
        let value = in_form(output, self.get(path).await?);
        self.node.codecs().by_code(output)?.encode(&value)
    }
}

fn transcode(
    codecs: &CodecTable,
    hashes: &HashTable,
    input: u64,
    data: Bytes,
    options: PutOptions,
) -> Result<Block> {
    // Some codecs need the hash function to read. An identity CID would not hold all that is read.
    let hash = match options.hash {
        codes::IDENTITY => codes::SHA2_256,
        hash => hash,
    };
    let value = codecs.decode(&Block::of(input, hash, data, hashes)?)?;
    codecs.encode(options.codec, options.hash, &in_form(options.codec, value), hashes)
}

/// Links of dag-pb stand by their names. Its codec refuses others, since what it has written must be
/// read as the same value; who names another codec has no order in mind.
fn in_form(codec: u64, mut value: Ipld) -> Ipld {
    if codec == codes::DAG_PB
        && let Ipld::Map(node) = &mut value
        && let Some(Ipld::List(links)) = node.get_mut("Links")
    {
        links.sort_by(|a, b| name(a).cmp(name(b)));
    }
    value
}

fn name(link: &Ipld) -> &str {
    match link {
        Ipld::Map(link) => match link.get("Name") {
            Some(Ipld::String(name)) => name,
            _ => "",
        },
        _ => "",
    }
}
