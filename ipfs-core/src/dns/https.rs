//! Questions over HTTPS (RFC 8484).

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use futures_util::StreamExt;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, Record, RecordType},
};
use http::{Request, Uri, header::ACCEPT};
use ipfs_traits::{Bytes, Error, HttpBody, HttpClient, Result};

/// A server, as a URL to which a question is appended.
#[derive(Clone)]
pub(super) struct Https {
    client: Arc<dyn HttpClient>,
    url: String,
}

const MESSAGE: &str = "application/dns-message";

/// The longest message that there can be, in bytes: over TCP its length has 16 bits.
const MAX_MESSAGE: usize = 65_535;

impl Https {
    pub(super) fn new(client: Arc<dyn HttpClient>, url: &str) -> Result<Self> {
        // Some are written down with a place for the question (RFC 8484 §3).
        let url = url.trim_end_matches("{?dns}");
        let uri: Uri =
            url.parse().map_err(|error| Error::invalid("URL", format!("{url:?}: {error}")))?;
        if uri.host().is_none() {
            return Err(Error::invalid("URL", format!("{url:?} names no server")));
        }
        let join = if uri.query().is_some() { '&' } else { '?' };
        Ok(Self { client, url: format!("{url}{join}dns=") })
    }

    pub(super) async fn ask(&self, name: Name, kind: RecordType) -> Result<Vec<Record>> {
        // Always the same number, so that the same question has the same URL.
        let mut question = Message::new(0, MessageType::Query, OpCode::Query);
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(name, kind));
        let question = question.to_vec().map_err(|error| Error::component("DNS", error))?;
        let url = format!("{}{}", self.url, BASE64URL_NOPAD.encode(&question));
        let request = Request::get(url).header(ACCEPT, MESSAGE).body(Bytes::new());
        let request = request.map_err(|error| Error::component("DNS", error))?;
        let (head, body) = self.client.send(request).await?.into_parts();
        if !head.status.is_success() {
            return Err(Error::component("DNS", format!("the server answers {}", head.status)));
        }
        let answer = Message::from_vec(&read(body).await?)
            .map_err(|error| Error::malformed("DNS message", error.to_string()))?;
        match answer.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer.answers),
            code => Err(Error::component("DNS", format!("the server answers {code}"))),
        }
    }
}

async fn read(mut body: HttpBody) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    while let Some(piece) = body.next().await {
        message.extend_from_slice(&piece?);
        if message.len() > MAX_MESSAGE {
            return Err(Error::limit("bytes of a DNS message", MAX_MESSAGE, message.len()));
        }
    }
    Ok(message)
}
