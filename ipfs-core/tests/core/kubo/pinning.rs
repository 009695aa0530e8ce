//! The Pinning Service API: ours and Kubo as clients of one service, and ours as one of another
//! implementation's. `IPFS_PINNING_PEER` names its program.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt};
use http::{Request, StatusCode};
use ipfs_core::{
    Bytes, Cid, Error, Node, PinningService, TokioRuntime,
    pinning_service::{Failure, Filter, Options, PinOptions, Status},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Daemon, Kubo, named, program, text};
use crate::{
    content,
    http::any,
    network::{TCP, listening},
    pinning_service::{TOKEN, cid, named as called, server::Service},
};

/// Serves at a port of the loopback as long as the runtime runs; with the URL.
async fn listen(service: Service) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(service.clone(), stream));
        }
    });
    url
}

/// One request a connection, which is all that the test needs of a server.
async fn serve(service: Service, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = tokio::io::BufReader::new(stream);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.is_empty()) {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        lines.push(line.trim_end().to_owned());
    }
    let mut first = lines[0].split(' ');
    let mut request = Request::builder().method(first.next().unwrap()).uri(first.next().unwrap());
    let mut len = 0;
    for (name, value) in lines[1..].iter().filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            len = value.parse().unwrap();
        }
        request = request.header(name, value);
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    let (head, body) = service.answer(&request.body(body.into()).unwrap()).into_parts();
    let mut answer = format!("HTTP/1.1 {}\r\nConnection: close\r\n", head.status);
    for (name, value) in &head.headers {
        answer += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    answer += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[Bytes::from(answer), body].concat()).await?;
    stream.shutdown().await
}

fn client(url: &str, token: &str) -> PinningService {
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    PinningService::new(runtime, Arc::new(any()), url, token, Options::default()).unwrap()
}

fn every_status() -> Filter {
    let mut filter = Filter::default();
    filter.statuses = vec![Status::Queued, Status::Pinning, Status::Pinned, Status::Failed];
    filter
}

/// A node of ours, Kubo that knows of the service, and the service, whose delegate is the one or the
/// other.
struct World {
    node: Node,
    kubo: Arc<Kubo>,
    _daemon: Daemon,
    service: Service,
    ours: PinningService,
}

impl World {
    async fn start(program: &Path) -> Self {
        let (service, node) = (Service::new(TOKEN), listening(TCP).await.unwrap());
        let url = listen(service.clone()).await;
        let kubo = Arc::new(Kubo::new(program));
        kubo.run(&["pin", "remote", "service", "add", "test", &url, TOKEN]);
        let daemon = kubo.start();
        let ours = client(&url, TOKEN);
        Self { node, kubo, _daemon: daemon, service, ours }
    }

    async fn remote(&self, args: &[&str]) -> String {
        let (command, args) = args.split_first().unwrap();
        self.kubo.call(&[&["pin", "remote", command, "--service=test"], args].concat()).await
    }

    async fn listed(&self) -> BTreeSet<Cid> {
        self.ours.list(every_status()).map_ok(|pin| pin.cid).try_collect().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubo_and_ours_share_a_service() {
    let Some(program) = program() else { return };
    let world = World::start(&program).await;
    kubo_pins(&world).await;
    kubo_is_listed_and_lists(&world).await;
    ours_is_met_by_kubo(&world).await;
    world.node.close().await.unwrap();
}

/// Kubo waits until it is pinned, names its addresses and connects to the delegate.
async fn kubo_pins(world: &World) {
    let delegates = world.node.addresses().iter().map(ToString::to_string).collect();
    world.service.delegates(delegates);
    world.service.hurry();
    let file = world.kubo.folder.path().join("file");
    std::fs::write(&file, content::bytes(1, 300_000)).unwrap();
    let root = world.kubo.call(&["add", "-Q", text(&file)]).await;
    let said = world.remote(&["add", "--name=a file, 1", &root]).await;
    assert!(said.contains("pinned") && said.contains("a file, 1"), "{said}");
    let pins: Vec<_> = world.ours.list(Filter::default()).try_collect().await.unwrap();
    assert_eq!((pins.len(), pins[0].cid.to_string()), (1, root));
    assert_eq!(pins[0].name.as_deref(), Some("a file, 1"));
    let address = world.kubo.address("/tcp/").await;
    let told = world.service.told(&pins[0].request_id);
    assert!(told["origins"].as_array().unwrap().contains(&address.as_str().into()), "{told:?}");
    let peer = address.rsplit('/').next().unwrap().parse().unwrap();
    assert!(world.node.peers().await.contains(&peer));
}

/// Over several pages, of ten pins with Kubo.
async fn kubo_is_listed_and_lists(world: &World) {
    for number in 0..12 {
        let text = cid(number).to_string();
        world.remote(&["add", "--background", "--name=more", &text]).await;
        world.ours.pin(&cid(100 + number), called("ours")).await.unwrap();
    }
    let all = world.listed().await;
    assert_eq!(all.len(), 25);
    let said = world.remote(&["ls", "--status=queued,pinning,pinned,failed"]).await;
    let theirs: BTreeSet<Cid> =
        said.lines().map(|line| line.split('\t').next().unwrap().parse().unwrap()).collect();
    assert_eq!(theirs, all);
    let one = cid(105).to_string();
    let said =
        world.remote(&["ls", "--status=queued", "--name=ours", &format!("--cid={one}")]).await;
    assert_eq!(said, format!("{one}\tqueued\tours"));
    world.remote(&["rm", "--status=queued", "--name=ours", "--force"]).await;
    assert_eq!(world.listed().await.len(), 13);
    let mut filter = every_status();
    filter.name = Some("more".into());
    let pins: Vec<_> = world.ours.list(filter).try_collect().await.unwrap();
    for pin in pins {
        world.ours.remove(&pin.request_id).await.unwrap();
    }
    let said = world.remote(&["ls", "--status=queued,pinning,pinned,failed"]).await;
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// Kubo stands for the service's node: it is connected to, and fetches what is pinned.
async fn ours_is_met_by_kubo(world: &World) {
    let address = world.kubo.address("/tcp/").await;
    world.service.delegates(vec![address]);
    let node = listening(TCP).await.unwrap();
    let root = node.unixfs().add_bytes(content::bytes(2, 300_000)).await.unwrap().cid;
    let pin = world.ours.pin_from(&node, &root, PinOptions::default()).await.unwrap();
    let told = world.service.told(&pin.request_id);
    let mine: Vec<String> = node.addresses().iter().map(ToString::to_string).collect();
    assert_eq!(told["origins"], serde_json::json!(mine));
    world.kubo.call(&["pin", "add", &root.to_string()]).await;
    let last = world.ours.wait(&pin.request_id).map(Result::unwrap).collect::<Vec<_>>().await;
    assert_eq!(last.last().unwrap().status, Status::Pinned);
    node.close().await.unwrap();
}

/// A service of version 0.1.2, in which names are matched in one way, lists are in no order and have no
/// second page, and a CID has one pin. Its search by metadata fails whoever asks, so it is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn ours_pins_at_another_service() {
    let Some(program) = named("IPFS_PINNING_PEER") else { return };
    let mut child = Command::new(program).arg("secret").stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let _daemon = Daemon(child);
    let url = url.trim();

    let refused = client(url, "another").list(Filter::default()).next().await.unwrap();
    let refused = refused.unwrap_err();
    assert_eq!(Failure::of(&refused).unwrap().status, StatusCode::UNAUTHORIZED);

    let service = client(url, "secret");
    let mut options = called("Größe, & more");
    options.meta.insert("app".into(), "test".into());
    options.origins = vec![format!("{TCP}/p2p/{}", ipfs_core::memory::peer_id(1)).parse().unwrap()];
    let pin = service.pin(&cid(1), options.clone()).await.unwrap();
    assert_eq!((&pin.status, pin.delegates.len()), (&Status::Queued, 4));
    assert_eq!((&pin.name, &pin.meta), (&options.name, &options.meta));
    let pins = [cid(2), cid(3), cid(4)].map(|cid| (cid, called("pinned-at once")));
    for (cid, options) in pins {
        service.pin(&cid, options).await.unwrap();
    }
    let list = async |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        let found = service.list(filter).map_ok(|pin| pin.cid);
        found.try_collect::<Vec<_>>().await.unwrap()
    };
    let pinned = |filter: &mut Filter| filter.statuses = vec![Status::Pinned];
    assert_eq!(list(&pinned).await, [cid(2), cid(3), cid(4)]);
    assert_eq!(list(&|filter| *filter = every_status()).await.len(), 4);
    assert_eq!(list(&|filter| filter.name.clone_from(&options.name)).await, [cid(1)]);
    assert_eq!(list(&|filter| filter.cids = vec![cid(3), cid(1), cid(9)]).await, [cid(1), cid(3)]);
    assert_eq!(list(&|filter| filter.before = Some(pin.created)).await, []);
    assert_eq!(list(&|filter| filter.page = 1).await.len(), 1);

    // Asked for again under this name, it is pinned: told to whoever waits.
    let mut waiting = service.wait(&pin.request_id);
    assert_eq!(waiting.next().await.unwrap().unwrap().status, Status::Queued);
    service.pin(&cid(1), called("pinned-now")).await.unwrap();
    let rest: Vec<_> = waiting.try_collect().await.unwrap();
    assert_eq!(rest.last().unwrap().status, Status::Pinned);

    let next = service.replace(&pin.request_id, &cid(5), called("failed-this")).await.unwrap();
    assert_eq!((next.cid, next.status), (cid(5), Status::Failed));
    for gone in [service.get(&pin.request_id).await.map(drop), service.remove("x").await] {
        assert!(matches!(gone, Err(Error::Unresolved(_))), "{gone:?}");
    }
    service.remove(&next.request_id).await.unwrap();
    assert_eq!(list(&|filter| *filter = every_status()).await.len(), 3);
}
