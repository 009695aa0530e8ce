//! The client of HTTP, against servers on this machine.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use futures::{StreamExt, TryStreamExt};
use http::Request;
use ipfs_core::{
    AddressFilter, Block, Bytes, Error, HashTable, HttpClient, MAX_REDIRECTS, Origin, Reference,
    ReferenceSink, ReqwestClient, Result, TokioRuntime,
    blockstore::{BlockstoreExt, ReferenceStore, reference},
    codes, conformance,
    http_client::Options,
    memory::{MemoryDatastore, MemoryStore},
};

/// A server that answers each connection with what a function writes, and then closes it.
struct Server {
    address: SocketAddr,
    /// The heads of the requests so far.
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    ended: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Server {
    /// `answer` is given the head of a request.
    fn new(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, connections, ended): (
            Arc<Mutex<Vec<_>>>,
            Arc<AtomicUsize>,
            Arc<Mutex<Vec<_>>>,
        ) = Default::default();
        let answer = Arc::new(answer);
        let (seen, count, running) = (heads.clone(), connections.clone(), ended.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let (mut stream, answer, seen) = (stream.unwrap(), answer.clone(), seen.clone());
                running.lock().unwrap().push(std::thread::spawn(move || {
                    let head = read_head(&mut stream);
                    seen.lock().unwrap().push(head.clone());
                    answer(&head, &mut stream);
                }));
            }
        });
        Self { address, heads, connections, ended }
    }

    /// Answers with these bytes, whatever is asked.
    fn saying(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::new(move |_, stream| drop(stream.write_all(answer.as_bytes())))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = String::new();
    let mut lines = BufReader::new(stream);
    while lines.read_line(&mut head).unwrap_or(0) > 2 {}
    head
}

/// A server of contents, which knows ranges.
fn serving(served: Vec<(String, Bytes)>) -> Server {
    Server::new(move |head, stream| {
        let path = head.split(' ').nth(1).unwrap();
        let close = "connection: close\r\n";
        let Some((_, content)) = served.iter().find(|(served, _)| served == path) else {
            let answer = format!("HTTP/1.1 404 x\r\n{close}content-length: 0\r\n\r\n");
            return drop(stream.write_all(answer.as_bytes()));
        };
        let lower = head.to_lowercase();
        let range = lower.split("range: bytes=").nth(1).and_then(|range| {
            let (first, last) = range.split("\r\n").next()?.split_once('-')?;
            Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
        });
        let (status, place, part) = match range {
            Some((first, last)) => {
                let place = format!("content-range: bytes {first}-{last}/{}\r\n", content.len());
                (206, place, &content[first..=last])
            }
            None => (200, String::new(), &content[..]),
        };
        let length = part.len();
        let answer =
            format!("HTTP/1.1 {status} x\r\n{close}{place}content-length: {length}\r\n\r\n");
        let part = if head.starts_with("HEAD") { &[] } else { part };
        // The client may go away meanwhile.
        drop(stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(part)));
    })
}

const OK: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n";

/// A client that connects to anywhere.
pub(crate) fn any() -> ReqwestClient {
    let mut options = Options::default();
    options.filter = AddressFilter::Any;
    ReqwestClient::new(options).unwrap()
}

/// Only public addresses, but for one name that the host itself has said where to find.
fn public_and(server: &Server) -> (ReqwestClient, String) {
    let address = server.address;
    let client = ReqwestClient::configured(Options::default(), |builder| {
        builder.resolve("public.example", address)
    });
    (client.unwrap(), format!("http://public.example:{}", address.port()))
}

async fn get(client: &ReqwestClient, url: &str) -> Result<(u16, Vec<u8>)> {
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let answer = client.send(request).await?;
    let status = answer.status().as_u16();
    let body: Vec<Bytes> = answer.into_body().try_collect().await?;
    Ok((status, body.concat()))
}

#[tokio::test]
async fn keeps_the_promises_of_a_client() {
    let client = |served| async move {
        let url = serving(served).url("");
        Ok((any(), url))
    };
    conformance::http_client(client).await.unwrap();
}

#[tokio::test]
async fn answers_are_given_as_they_were_sent() {
    let server = Server::saying(format!(
        "{OK}content-encoding: gzip\r\nset-cookie: a=b\r\ncontent-length: 12\r\n\r\nnot unpacked"
    ));
    let client = any();
    for _ in 0..2 {
        let request = Request::post(server.url("/a%20b?c=d")).header("x-mine", "1");
        let answer = client.send(request.body("body".into()).unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["content-encoding"].as_bytes()), {
            (200, &b"gzip"[..])
        });
        let body: Vec<Bytes> = answer.into_body().try_collect().await.unwrap();
        assert_eq!(body.concat(), b"not unpacked");
    }
    let heads = server.heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 2);
    for head in heads {
        assert!(head.starts_with("POST /a%20b?c=d HTTP/1.1\r\n"), "{head}");
        let head = head.to_lowercase();
        assert!(head.contains("x-mine: 1\r\n"));
        for unasked in ["cookie", "accept-encoding", "user-agent", "referer", "authorization"] {
            assert!(!head.contains(unasked), "{head}");
        }
    }
    for status in [404, 500, 304] {
        let server = Server::saying(format!("HTTP/1.1 {status} x\r\nconnection: close\r\n\r\n"));
        assert_eq!(get(&client, &server.url("/")).await.unwrap(), (status, Vec::new()));
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    let client = any();
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cut_off = Server::saying(format!("{OK}content-length: 10\r\n\r\n01234"));
    let chunked = Server::saying(format!("{OK}transfer-encoding: chunked\r\n\r\n5\r\n01234\r\n"));
    let no_http = Server::saying("SSH-2.0-OpenSSH_9.6\r\n");
    let large = Server::saying(format!("{OK}x: {}\r\n\r\n", "x".repeat(1 << 20)));
    let many = Server::saying(format!("{OK}{}\r\n", "a: b\r\n".repeat(10_000)));
    let urls = [cut_off, chunked, no_http, large, many].map(|server| server.url("/"));
    for url in urls.into_iter().chain([format!("http://{refused}/")]) {
        let error = get(&client, &url).await.unwrap_err();
        assert!(matches!(error, Error::Component { name: "HTTP client", .. }), "{error:?}");
    }
    for url in ["ftp://example.com/", "/", "http://127.1/", "http://u:p@example.com/"] {
        let error = get(&client, url).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn private_addresses_are_not_connected_to() {
    let server = Server::saying(format!("{OK}\r\nsecret"));
    let port = server.address.port();
    let client = ReqwestClient::new(Options::default()).unwrap();
    // Addresses, spellings of them that only some readers know, and a name.
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "127.0.0.1.",
        "localhost",
    ] {
        let error = get(&client, &format!("http://{host}:{port}/")).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { what: "URL", .. }), "{host}: {error:?}");
    }
    assert_eq!(server.connections(), 0);
    // It is the filter that refuses them.
    let found = get(&any(), &format!("http://localhost:{port}/")).await.unwrap();
    assert_eq!(found, (200, b"secret".to_vec()));
}

#[tokio::test]
async fn redirects_lead_only_where_a_request_may() {
    let inside = Server::saying(format!("{OK}\r\nsecret"));
    let port = inside.address.port();
    for to in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:7f00:1]:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("//127.0.0.1:{port}/"),
        format!("http://a:b@public.example:{port}/"),
        "ftp://public.example/".to_owned(),
    ] {
        let server = Server::saying(format!(
            "HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: {to}\r\n\r\n"
        ));
        let (client, url) = public_and(&server);
        let error = get(&client, &url).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { what: "URL", .. }), "{to}: {error:?}");
        assert_eq!(server.connections(), 1);
    }
    assert_eq!(inside.connections(), 0);
    // Followed where it may be, as often as it may be.
    let server = Server::new(|head, stream| {
        let left: usize = head["GET /".len()..].split(' ').next().unwrap().parse().unwrap();
        let answer = match left {
            0 => format!("{OK}\r\nfound"),
            _ => format!("HTTP/1.1 301 x\r\nconnection: close\r\nlocation: /{}\r\n\r\n", left - 1),
        };
        drop(stream.write_all(answer.as_bytes()));
    });
    let (client, url) = public_and(&server);
    let found = get(&client, &format!("{url}/{MAX_REDIRECTS}")).await.unwrap();
    assert_eq!(found, (200, b"found".to_vec()));
    let error = get(&client, &format!("{url}/{}", MAX_REDIRECTS + 1)).await.unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
}

/// Credentials are for the server that they were given for.
#[tokio::test]
async fn credentials_do_not_follow_to_another_host() {
    let other = Server::saying(format!("{OK}\r\n"));
    let server = Server::saying(format!(
        "HTTP/1.1 307 x\r\nconnection: close\r\nlocation: {}\r\n\r\n",
        other.url("/")
    ));
    let request = Request::get(server.url("/")).header("authorization", "Bearer secret");
    any().send(request.body(Bytes::new()).unwrap()).await.unwrap();
    assert!(server.heads.lock().unwrap()[0].contains("Bearer secret"));
    assert!(!other.heads.lock().unwrap()[0].contains("secret"));
}

/// A body is given as it comes, and a server that writes without end is not listened to any longer
/// than somebody reads.
#[tokio::test]
async fn a_dropped_body_ends_the_request() {
    let server = Server::new(|_, stream| {
        let head = format!("{OK}transfer-encoding: chunked\r\n\r\n");
        let mut going = stream.write_all(head.as_bytes());
        while going.is_ok() {
            going = stream.write_all(format!("1000\r\n{}\r\n", "x".repeat(0x1000)).as_bytes());
        }
    });
    let request = Request::get(server.url("/")).body(Bytes::new()).unwrap();
    let mut body = any().send(request).await.unwrap().into_body();
    let mut read = 0;
    while read < 100_000 {
        let piece = body.next().await.unwrap().unwrap();
        assert!(!piece.is_empty());
        read += piece.len();
    }
    drop(body);
    // Writing fails once the connection is closed.
    let writing = server.ended.lock().unwrap().pop().unwrap();
    tokio::task::spawn_blocking(move || writing.join().unwrap()).await.unwrap();
}

#[test]
fn outside_of_tokio_it_says_so() {
    let request = Request::get("http://example.com/").body(Bytes::new()).unwrap();
    let client = any();
    let error = futures::executor::block_on(client.send(request)).err();
    assert!(matches!(error, Some(Error::Invalid { what: "runtime", .. })), "{error:?}");
}

/// What the environment says of proxies is not heard: the same test again, with such words in it.
#[test]
fn no_proxy_is_taken_from_the_environment() {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "http::answers_are_given_as_they_were_sent"]);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(name, "http://127.0.0.1:1");
    }
    let done = again.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

/// TLS by our own ciphers, whose certificates are believed only from known authorities.
#[tokio::test]
async fn certificates_are_checked() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(own.key_pair.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            if !read_head(&mut stream).is_empty() {
                stream.write_all(format!("{OK}\r\nover TLS").as_bytes()).unwrap();
                stream.conn.send_close_notify();
                stream.flush().unwrap();
            }
        }
    });
    let error = get(&any(), &url).await.unwrap_err();
    assert!(matches!(error, Error::Component { .. }), "{error:?}");
    let mut options = Options::default();
    options.filter = AddressFilter::Any;
    options.authorities = vec![own.cert.der().to_vec()];
    let client = ReqwestClient::new(options).unwrap();
    assert_eq!(get(&client, &url).await.unwrap(), (200, b"over TLS".to_vec()));
}

/// Blocks from a server, over the whole way: one that knows ranges, and one that does not.
#[tokio::test]
async fn references_are_read_over_it() {
    const FILE: &str = "0123456789 what a file holds";
    let ranges = serving(vec![("/file".to_owned(), FILE.into())]);
    let whole = Server::saying(format!("{OK}\r\n{FILE}"));
    let mut options = reference::Options::default();
    options.client = Some(Arc::new(any()));
    let (runtime, records) = (TokioRuntime::current().unwrap(), MemoryDatastore::new());
    let store =
        ReferenceStore::new(MemoryStore::new(), Arc::new(records), Arc::new(runtime), options);
    for (server, from, to) in [(&ranges, 3, 9), (&ranges, 10, 28), (&whole, 0, 4), (&whole, 5, 20)]
    {
        let data = &FILE.as_bytes()[from..to];
        let block = Block::of(codes::RAW, codes::SHA2_256, data, &HashTable::standard()).unwrap();
        let origin = Origin::Url(server.url("/file").into());
        let reference = Reference { block: block.clone(), origin, offset: from as u64 };
        store.put_references(&[reference]).await.unwrap();
        assert_eq!(store.get(block.cid()).await.unwrap(), Some(block));
    }
}
