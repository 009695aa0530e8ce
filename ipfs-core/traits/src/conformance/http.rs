//! What an [`HttpClient`] promises.

use std::future::Future;

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};
use http::{Method, Request, Response};

use super::{Numbers, Promise, Verdict, check, same};
use crate::{Error, HttpBody, HttpClient, Result};

/// Checks an [`HttpClient`] against a server.
///
/// `make` is given what the server shall give, paths (`/a`) and contents, and gives the client and
/// the beginning of their URLs (`http://host:port`). Other paths are 404 there. The client has to be
/// one that may connect to that server, so what its filter refuses is for other tests.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn http_client<C, F>(make: impl Fn(Vec<(String, Bytes)>) -> F) -> Verdict
where
    C: HttpClient,
    F: Future<Output = Result<(C, String)>>,
{
    let mut numbers = Numbers(21);
    let contents = [0, 1, 1000, 3 << 20].map(|len| Bytes::from(numbers.bytes(len)));
    let served: Vec<(String, Bytes)> =
        contents.into_iter().map(|content| (format!("/{}", content.len()), content)).collect();
    let (client, base) = make(served.clone()).await.promised("a client can be made")?;
    whole(&client, &base, &served).await?;
    statuses(&client, &base).await?;
    ranges(&client, &base, &served).await?;
    dropped(&client, &base, &served).await?;
    refused(&client).await
}

async fn ask(
    client: &impl HttpClient,
    method: Method,
    url: String,
    range: Option<&str>,
) -> Result<Response<HttpBody>> {
    let mut request = Request::builder().method(method).uri(url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let request = request.body(Bytes::new());
    client.send(request.map_err(|error| Error::component("http", error))?).await
}

/// All bytes of a body, none of whose pieces is empty.
async fn read(body: HttpBody) -> Result<Vec<u8>, super::Violation> {
    let pieces: Vec<Result<Bytes>> = body.collect().await;
    let mut bytes = Vec::new();
    for piece in pieces {
        let piece = piece.promised("a whole body ends without an error")?;
        check(!piece.is_empty(), "no piece of a body is empty", || "one was".into())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn whole(client: &impl HttpClient, base: &str, served: &[(String, Bytes)]) -> Verdict {
    let rule = "a body comes whole, and as it was sent";
    let one = |path: &String, content: &Bytes| {
        let (url, content) = (format!("{base}{path}"), content.clone());
        async move {
            let answer = ask(client, Method::GET, url.clone(), None).await.promised(rule)?;
            same(answer.status().as_u16(), 200, rule)?;
            let body = read(answer.into_body()).await?;
            check(body == content, rule, || format!("{} bytes of {}", body.len(), content.len()))?;
            let rule = "HEAD is answered without a body";
            let answer = ask(client, Method::HEAD, url, None).await.promised(rule)?;
            same((answer.status().as_u16(), read(answer.into_body()).await?.len()), (200, 0), rule)
        }
    };
    // Several at the same time.
    for verdict in join_all(served.iter().map(|(path, content)| one(path, content))).await {
        verdict?;
    }
    Ok(())
}

async fn statuses(client: &impl HttpClient, base: &str) -> Verdict {
    let rule = "a status is an answer and no error";
    let answer = ask(client, Method::GET, format!("{base}/absent"), None).await.promised(rule)?;
    same(answer.status().as_u16(), 404, rule)
}

async fn ranges(client: &impl HttpClient, base: &str, served: &[(String, Bytes)]) -> Verdict {
    let rule = "headers of a request are sent, and those of the answer given";
    for (path, content) in served.iter().filter(|(_, content)| content.len() > 500) {
        let url = format!("{base}{path}");
        let answer = ask(client, Method::GET, url, Some("bytes=100-499")).await.promised(rule)?;
        let (head, body) = answer.into_parts();
        match head.status.as_u16() {
            // A server need not know ranges.
            200 => {}
            206 => {
                let given = head.headers.get("content-range").and_then(|given| given.to_str().ok());
                let expected = format!("bytes 100-499/{}", content.len());
                same(given, Some(&expected[..]), rule)?;
                let body = read(body).await?;
                check(body == content[100..500], rule, || format!("{} bytes", body.len()))?;
            }
            other => same(other, 206, rule)?,
        }
    }
    Ok(())
}

async fn dropped(client: &impl HttpClient, base: &str, served: &[(String, Bytes)]) -> Verdict {
    let rule = "requests and bodies may be dropped at any time";
    for (path, _) in served {
        let url = || format!("{base}{path}");
        drop(ask(client, Method::GET, url(), None).await.promised(rule)?);
        let mut body = ask(client, Method::GET, url(), None).await.promised(rule)?.into_body();
        if let Some(piece) = body.next().await {
            piece.promised(rule)?;
        }
        drop(body);
        drop(ask(client, Method::GET, url(), None));
    }
    whole(client, base, served).await
}

async fn refused(client: &impl HttpClient) -> Verdict {
    let rule = "only http and https are spoken, with a host and without credentials";
    for url in ["ftp://example.com/", "/path", "http://user:secret@example.com/", "http://127.1/"] {
        let answer = ask(client, Method::GET, url.into(), None).await;
        let answer = answer.map(|answer| answer.status());
        check(matches!(answer, Err(Error::Invalid { .. })), rule, || format!("{url}: {answer:?}"))?;
    }
    Ok(())
}
