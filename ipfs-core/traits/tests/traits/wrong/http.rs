//! Clients of HTTP that break one promise each.

use futures::{StreamExt, executor::block_on, stream};
use http::{Method, Request, Response, StatusCode};
use ipfs_traits::{
    Bytes, Error, HttpBody, HttpClient, Result, async_trait, conformance, memory::MemoryHttp,
};

use super::caught;

#[derive(Clone, Copy, Debug, PartialEq)]
enum ClientFault {
    EmptyPieces,
    CutOff,
    ChangedBytes,
    FailsOn404,
    BodyOfHead,
    ForgetsHeaders,
    HidesHeaders,
    DiesOfADrop,
    SpeaksAnything,
}

#[derive(Debug)]
struct Client(ClientFault, MemoryHttp, std::sync::atomic::AtomicU64);

#[async_trait]
impl HttpClient for Client {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<HttpBody>> {
        use ClientFault as F;
        let head = request.method() == Method::HEAD;
        match self.0 {
            F::BodyOfHead => *request.method_mut() = Method::GET,
            F::ForgetsHeaders => {
                // A client that changes what is asked, and not only leaves it out.
                if let Some(range) = request.headers_mut().get_mut("range") {
                    *range = http::HeaderValue::from_static("bytes=0-9");
                }
            }
            F::SpeaksAnything if request.uri().scheme_str() == Some("ftp") => {
                return Ok(Response::new(stream::empty().boxed()));
            }
            F::DiesOfADrop => {
                let before = self.2.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if before > 20 {
                    return Err(Error::Closed("the client"));
                }
            }
            _ => {}
        }
        let mut answer = self.1.send(request).await?;
        match self.0 {
            F::FailsOn404 if answer.status() == StatusCode::NOT_FOUND => {
                return Err(Error::Closed("the page"));
            }
            F::HidesHeaders => answer.headers_mut().clear(),
            _ => {}
        }
        let fault = self.0;
        Ok(answer.map(|body| match fault {
            F::EmptyPieces => stream::iter([Ok(Bytes::new())]).chain(body).boxed(),
            F::CutOff if !head => body.take(2).boxed(),
            F::ChangedBytes => body
                .map(|piece| piece.map(|piece| piece.iter().map(|byte| byte ^ 1).collect()))
                .boxed(),
            _ => body,
        }))
    }
}

#[test]
fn wrong_clients_are_caught() {
    use ClientFault as F;
    for fault in [
        F::EmptyPieces,
        F::CutOff,
        F::ChangedBytes,
        F::FailsOn404,
        F::BodyOfHead,
        F::ForgetsHeaders,
        F::HidesHeaders,
        F::DiesOfADrop,
        F::SpeaksAnything,
    ] {
        let run = conformance::http_client(|served| async move {
            let http = MemoryHttp::new();
            for (path, content) in served {
                http.serve(format!("http://a.example{path}"), content);
            }
            Ok((Client(fault, http, 0.into()), "http://a.example".to_owned()))
        });
        caught(fault, block_on(run));
    }
}
