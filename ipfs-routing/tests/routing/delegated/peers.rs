//! Our client against boxo's server, and our server against boxo's client, over TCP.
//!
//! `IPFS_ROUTING_PEER` names the program; without it nothing is tested here, unless `IPFS_PEERS` says
//! that the peers have to be there.

use std::{
    ffi::OsString,
    process::Stdio,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use http::{Request, Response};
use ipfs_routing::{
    Routing, Validators,
    delegated::{HttpRouter, Lookup, Options, Record, Records, Server, ServerOptions},
    ipns::Ipns,
};
use ipfs_traits::{
    Bytes, Error, HttpBody, HttpClient, Multihash, PeerId, PeerInfo, Result, TokioRuntime,
    async_trait, memory::peer_id,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    CID, key,
    listen::{listen, read_head},
    peer,
};
use crate::support::{hex, to_hex};

#[tokio::test]
async fn the_client_understands_boxo() {
    let Some(program) = program() else { return };
    let (mut boxo, url) = Boxo::start(&program, &["serve"]).await;
    let mut options = Options::default();
    options.validators = Validators::new().with("ipns", Ipns);
    let router = router(&url, options);
    assert_eq!(router.find_providers(&key(), 9).try_collect::<Vec<_>>().await.unwrap(), []);
    assert!(matches!(router.find_peer(peer_id(1)).await, Err(Error::Unreachable(..))));

    let mut expected = Vec::new();
    for n in 1..=100 {
        let PeerInfo { id, addresses } = peer(n);
        let protocols = if n % 2 == 0 { "transport-bitswap,x" } else { "-" };
        boxo.ok(&format!("provider {CID} {id} {protocols} {}", addresses[0])).await;
        expected.push(peer(n));
    }
    boxo.ok(&format!("provider {CID} {} transport-other", peer_id(101))).await;
    let mut options = Options::default();
    options.cache = 0;
    let fresh = self::router(&url, options);
    let found: Vec<_> = fresh.find_providers(&key(), 1000).try_collect().await.unwrap();
    assert_eq!(found, expected);
    let found: Vec<_> = fresh.find_providers(&key(), 7).try_collect().await.unwrap();
    assert_eq!(found, expected[..7]);
    let records: Vec<_> = fresh.records(&Lookup::Providers(key())).try_collect().await.unwrap();
    assert_eq!(records[1].protocols, ["transport-bitswap", "x"]);

    let PeerInfo { id, addresses } = peer(7);
    boxo.ok(&format!("peer {id} - {}", addresses[0])).await;
    assert_eq!(fresh.find_peer(id).await.unwrap(), peer(7));
    assert_eq!(fresh.closest_peers(&key().to_bytes()).await.unwrap(), [peer(7)]);

    let (name, record) = boxo.record(1).await;
    assert!(router.get_value(&name).next().await.is_none());
    router.put_value(&name, record.clone()).await.unwrap();
    assert_eq!(boxo.say(&format!("value {}", cid(&name))).await, to_hex(&record));
    let found: Vec<_> = router.get_value(&name).try_collect().await.unwrap();
    assert_eq!(found, std::slice::from_ref(&record));
    let other = [&b"/ipns/"[..], &peer_id(1).to_bytes()].concat();
    let refused = fresh.put_value(&other, record).await;
    assert!(matches!(refused, Err(Error::Component { .. })), "{refused:?}");
}

#[tokio::test]
async fn boxo_understands_the_server() {
    let Some(program) = program() else { return };
    let table = Arc::new(Table::default());
    let rules = Validators::new().with("ipns", Ipns);
    let options = ServerOptions::default();
    let server = Server::with_records(table.clone(), table.clone(), rules, runtime(), options);
    let url = listen(server).await;
    let (mut boxo, ready) = Boxo::start(&program, &["ask", &url]).await;
    assert_eq!(ready, "ready");
    assert_eq!(boxo.say(&format!("providers {CID}")).await, "");
    let described = |n| {
        let PeerInfo { id, addresses } = peer(n);
        format!("{id} transport-bitswap {}", addresses[0])
    };
    let mut expected = Vec::new();
    for n in 1..=100 {
        let PeerInfo { id, addresses } = peer(n);
        let record = Record::decode(&format!(
            r#"{{"Schema":"peer","ID":"{id}","Addrs":["{}"],"Protocols":["transport-bitswap"],"x":1}}"#,
            addresses[0]
        ));
        table.records.lock().unwrap().push(record.unwrap().unwrap());
        expected.push(described(n));
    }
    assert_eq!(boxo.say(&format!("providers {CID}")).await, expected.join("; "));
    assert_eq!(boxo.say(&format!("closest {CID}")).await, expected.join("; "));
    assert_eq!(boxo.say(&format!("peers {}", peer_id(9))).await, described(9));
    assert_eq!(boxo.say(&format!("peers {}", peer_id(999))).await, "");

    let (name, record) = boxo.record(2).await;
    let text = cid(&name);
    let none = boxo.say(&format!("get {text}")).await;
    assert!(none.starts_with("error") && none.contains("not found"), "{none}");
    boxo.ok(&format!("put {text} {}", to_hex(&record))).await;
    assert_eq!(boxo.say(&format!("get {text}")).await, to_hex(&record));
    let (_, older) = boxo.record(1).await;
    let refused = boxo.say(&format!("put {text} {}", to_hex(&older))).await;
    assert!(refused.contains("409"), "{refused}");
    let foreign = peer_name(&peer_id(1));
    let refused = boxo.say(&format!("put {foreign} {}", to_hex(&record))).await;
    assert!(refused.contains("400"), "{refused}");
}

fn program() -> Option<OsString> {
    let program = std::env::var_os("IPFS_ROUTING_PEER");
    let needed = std::env::var_os("IPFS_PEERS").is_some_and(|needed| needed == "1");
    assert!(program.is_some() || !needed, "IPFS_ROUTING_PEER names no program");
    program
}

fn runtime() -> Arc<TokioRuntime> {
    Arc::new(TokioRuntime::current().unwrap())
}

fn router(url: &str, options: Options) -> HttpRouter {
    HttpRouter::new(runtime(), Arc::new(Plain), url, options).unwrap()
}

/// The name in a key, as text.
fn cid(key: &[u8]) -> String {
    let peer = PeerId::from_bytes(key.strip_prefix(b"/ipns/").unwrap()).unwrap();
    peer_name(&peer)
}

fn peer_name(peer: &PeerId) -> String {
    let cid = ipfs_traits::Cid::new_v1(0x72, *peer.as_ref());
    cid.to_string_of_base(multibase::Base::Base36Lower).unwrap()
}

/// The program, which answers each line with a line.
struct Boxo {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Boxo {
    /// Starts it; with what it says first.
    async fn start(program: &OsString, args: &[&str]) -> (Self, String) {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut boxo = Self { _child: child, input, output: BufReader::new(output).lines() };
        let first = boxo.line().await;
        (boxo, first)
    }

    async fn line(&mut self) -> String {
        self.output.next_line().await.unwrap().expect("the program goes on")
    }

    async fn say(&mut self, command: &str) -> String {
        self.input.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        self.line().await
    }

    async fn ok(&mut self, command: &str) {
        assert_eq!(self.say(command).await, "ok", "{command}");
    }

    /// A record of its making, with its key.
    async fn record(&mut self, sequence: u64) -> (Vec<u8>, Bytes) {
        let made = self.say(&format!("make somebody {sequence}")).await;
        let (name, record) = made.split_once(' ').unwrap();
        let cid: ipfs_traits::Cid = name.parse().unwrap();
        ([b"/ipns/", &*cid.hash().to_bytes()].concat(), hex(record).into())
    }
}

/// Records of peers, and values that were put.
#[derive(Debug, Default)]
struct Table {
    records: Mutex<Vec<Record>>,
    values: Mutex<Vec<(Vec<u8>, Bytes)>>,
}

impl Records for Table {
    fn records(&self, lookup: &Lookup) -> BoxStream<'static, Result<Record>> {
        let mut records = self.records.lock().unwrap().clone();
        if let Lookup::Peer(peer) = lookup {
            records.retain(|record| record.id == *peer);
        }
        stream::iter(records.into_iter().map(Ok)).boxed()
    }
}

#[async_trait]
impl Routing for Table {
    fn find_providers(&self, _: &Multihash, _: usize) -> BoxStream<'static, Result<PeerInfo>> {
        stream::empty().boxed()
    }

    fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        let values = self.values.lock().unwrap();
        let value = values.iter().rfind(|(known, _)| known == key).map(|(_, value)| value.clone());
        stream::iter(value.map(Ok)).boxed()
    }

    async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
        self.values.lock().unwrap().push((key.to_vec(), value));
        Ok(())
    }
}

/// As much of an HTTP client as the test needs: one request a connection, without encryption.
#[derive(Debug)]
struct Plain;

#[async_trait]
impl HttpClient for Plain {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
        let io = |error| Error::component("HTTP", error);
        let uri = request.uri();
        let authority = uri.authority().unwrap().as_str();
        let mut stream = TcpStream::connect(authority).await.map_err(io)?;
        let path = uri.path_and_query().unwrap();
        let mut head = format!("{} {path} HTTP/1.0\r\nHost: {authority}\r\n", request.method());
        for (name, value) in request.headers() {
            head += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        head += &format!("Content-Length: {}\r\n\r\n", request.body().len());
        stream.write_all(head.as_bytes()).await.map_err(io)?;
        stream.write_all(request.body()).await.map_err(io)?;
        let mut stream = BufReader::new(stream);
        let (first, headers) = read_head(&mut stream).await.map_err(io)?;
        let mut answer = Response::builder().status(first.split(' ').nth(1).unwrap());
        for (name, value) in headers {
            answer = answer.header(name, value);
        }
        let body = stream::try_unfold(stream, |mut stream| async move {
            let mut piece = vec![0; 1000];
            let len = stream.read(&mut piece).await.map_err(|e| Error::component("HTTP", e))?;
            piece.truncate(len);
            Ok((len > 0).then(|| (Bytes::from(piece), stream)))
        });
        Ok(answer.body(body.boxed()).unwrap())
    }
}
