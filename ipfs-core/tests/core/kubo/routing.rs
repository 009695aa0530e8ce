//! Routing between nodes of ours and of Kubo: a DHT that both are in, its providers, peers and names.

mod content;
mod delegated;
mod mdns;
mod names;
mod peers;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt, future::join_all};
use ipfs_core::{
    Bootstrap, Builder, DhtOptions, Multiaddr, Node, PeerId, Provide,
    routing::dht::{
        Dht, Mode, Options, Scope,
        message::{self, Message},
    },
    varint,
};
use multiaddr::Protocol;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{Daemon, Kubo, program};

/// A DHT of six of Kubo and three of ours, of which one each is a client that comes last.
#[tokio::test(flavor = "multi_thread")]
async fn kubo_and_ours_are_one_dht() {
    let Some(program) = program() else { return };
    let mut world = World::start(Place::LOOPBACK, &program, 5).await;
    content::ours_are_found_by_kubo(&world).await;
    content::kubos_are_found_by_ours(&world).await;
    world.clients_come(&program).await;
    content::clients_find_and_are_found(&world).await;
    peers::each_finds_the_other(&world).await;
    names::go_both_ways(&world).await;
    names::a_key_goes_on_where_it_was(&world).await;
    names::a_peer_without_the_record_is_sent_it(&world).await;
    content::what_a_server_keeps_survives_its_restart(&mut world).await;
    names::a_name_outlives_its_publisher(world).await;
}

/// As they are by default, in the DHTs of the local and the wide network.
#[tokio::test(flavor = "multi_thread")]
async fn neighbours_are_one_dht() {
    let Some(program) = program() else { return };
    let Some(place) = Place::local() else {
        return println!("skipped: this machine has no private address");
    };
    let world = World::start(place, &program, 2).await;
    content::ours_are_found_by_kubo(&world).await;
    content::kubos_are_found_by_ours(&world).await;
}

/// How long anything may take to come about, on a machine that has other work: far more than it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    let seen = async {
        while !so().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, seen).await.is_ok(), "never: {what}");
}

/// Where the nodes are.
///
/// The DHT of a local network wants addresses of one: Kubo lets a peer at a public address, or at one
/// kept for documentation, into no table of it, and neither it nor ours tells others of a loopback
/// address. But Kubo takes no more than eight connections from one address that is not the loopback,
/// which is too few for a network. So a network is at the loopback, which Kubo lets count by
/// `LoopbackAddressesOnLanDHT` and ours by the scope of one machine; and a few nodes are at an address
/// of the local network, as they are by default.
struct Place {
    ip: IpAddr,
}

impl Place {
    const LOOPBACK: Self = Self { ip: IpAddr::V4(Ipv4Addr::LOCALHOST) };

    /// A private address of this machine, if it has one.
    fn local() -> Option<Self> {
        // To connect a socket of UDP sends nothing: it only says which address would be used.
        let used = |from: &str, to: &str| {
            let socket = UdpSocket::bind(from).ok()?;
            socket.connect(to).ok()?;
            Some(socket.local_addr().ok()?.ip())
        };
        let ips = [used("0.0.0.0:0", "10.0.0.1:1"), used("[::]:0", "[fc00::1]:1")];
        let is_private = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => ip.is_private(),
            IpAddr::V6(ip) => ip.is_unique_local(),
        };
        ips.into_iter().flatten().find(is_private).map(|ip| Self { ip })
    }

    fn listen(&self) -> [Multiaddr; 2] {
        let ip = || Multiaddr::from(self.ip);
        [ip().with(Protocol::Tcp(0)), ip().with(Protocol::Udp(0)).with(Protocol::QuicV1)]
    }

    /// A node of ours in the DHTs: by its defaults, or as a client.
    fn node(&self, mode: Mode) -> Builder {
        let options = match (self.ip.is_loopback(), mode) {
            (false, Mode::Client) => DhtOptions::client(),
            (false, _) => DhtOptions::default(),
            (true, _) => {
                let mut options = Options::new(Scope::Any);
                options.mode = mode;
                DhtOptions::only(options)
            }
        };
        // What was found before is asked for again.
        let mut names = ipfs_core::routing::names::Options::default();
        names.cache = 0;
        Node::builder().listen(self.listen()).dht(options).names(names)
    }

    /// A Kubo in the DHTs, of its `Routing.Type`.
    async fn kubo(&self, program: &Path, routing: &str) -> (Arc<Kubo>, Daemon) {
        let (program, routing) = (program.to_owned(), routing.to_owned());
        let listen = serde_json::to_string(&self.listen()).unwrap();
        let loopback = self.ip.is_loopback().to_string();
        let start = move || {
            let kubo = Arc::new(Kubo::new(&program));
            kubo.run(&["config", "Routing.Type", &routing]);
            kubo.run(&["config", "Routing.LoopbackAddressesOnLanDHT", "--json", &loopback]);
            kubo.run(&["config", "Addresses.Swarm", "--json", &listen]);
            let daemon = kubo.start();
            (kubo, daemon)
        };
        spawn_blocking(start).await.unwrap()
    }
}

struct World {
    place: Place,
    kubos: Vec<Peer>,
    ours: Vec<Node>,
    /// Of the first of ours.
    data_dir: tempfile::TempDir,
}

/// A Kubo of the network.
struct Peer {
    kubo: Arc<Kubo>,
    id: PeerId,
    _daemon: Daemon,
}

impl Peer {
    async fn start(place: &Place, program: &Path, routing: &str) -> Self {
        let (kubo, daemon) = place.kubo(program, routing).await;
        let id = kubo.call(&["id", "-f", "<id>"]).await.parse().unwrap();
        Self { kubo, id, _daemon: daemon }
    }

    async fn says(&self, args: &[&str]) -> String {
        self.kubo.call(args).await
    }

    /// What it says, if it comes to an end well.
    async fn tries(&self, args: &[&str]) -> Option<String> {
        let mut command = self.kubo.command(args);
        let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let says = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        output.status.success().then_some(says)
    }

    async fn address(&self) -> Multiaddr {
        self.kubo.address("/tcp/").await.parse().unwrap()
    }

    async fn connect(&self, address: &Multiaddr) {
        self.says(&["swarm", "connect", &address.to_string()]).await;
    }

    /// Who is in its table of the local DHT.
    async fn table(&self) -> BTreeSet<PeerId> {
        let says = self.says(&["stats", "dht", "lan", "--enc=json"]).await;
        let says: Value = serde_json::from_str(&says).unwrap();
        let buckets = says["Buckets"].as_array().into_iter().flatten();
        let peers = buckets.flat_map(|bucket| bucket["Peers"].as_array().into_iter().flatten());
        peers.map(|peer| peer["ID"].as_str().unwrap().parse().unwrap()).collect()
    }
}

impl World {
    /// Some of Kubo and two of ours, each of which is connected to one that was there before, in one
    /// of the ways there are; and waits until all know each other.
    async fn start(place: Place, program: &Path, count: usize) -> Self {
        let kubos = join_all((0..count).map(|_| Peer::start(&place, program, "dht"))).await;
        // Each but the first knows one that was there before.
        for (kubo, before) in kubos[1..].iter().zip(&kubos) {
            kubo.connect(&before.address().await).await;
        }
        let data_dir = tempfile::tempdir().unwrap();
        let first = place.node(Mode::Auto).data_dir(data_dir.path());
        let first = first.bootstrap(Bootstrap::new([kubos[0].address().await])).spawn();
        let second = place.node(Mode::Auto).provide(Provide::chosen());
        let second = second.peering([kubos[count - 1].address().await]).spawn();
        let ours = vec![first.await.unwrap(), second.await.unwrap()];
        let world = Self { place, kubos, ours, data_dir };
        let all = world.peers();
        for kubo in &world.kubos {
            until("a Kubo knows all", || async {
                let mut table = kubo.table().await;
                table.insert(kubo.id);
                table == all
            })
            .await;
        }
        for node in &world.ours {
            until("a node of ours knows all", || async {
                let mut table: BTreeSet<PeerId> =
                    lan(node).peers().iter().map(|peer| peer.id).collect();
                table.insert(node.peer_id());
                table == all
            })
            .await;
        }
        println!("kubo::routing: {count} of Kubo and 2 of ours are at {}", world.place.ip);
        world
    }

    /// All that are in it.
    fn peers(&self) -> BTreeSet<PeerId> {
        let kubos = self.kubos.iter().map(|kubo| kubo.id);
        kubos.chain(self.ours.iter().map(Node::peer_id)).collect()
    }

    /// All who serve, when the clients have come.
    fn servers(&self) -> BTreeSet<PeerId> {
        let mut peers = self.peers();
        peers.remove(&self.kubos[5].id);
        peers.remove(&self.ours[2].peer_id());
        peers
    }

    /// The sixth of Kubo and the third of ours: each is a client, and knows one of the others' kind.
    async fn clients_come(&mut self, program: &Path) {
        let kubo = Peer::start(&self.place, program, "dhtclient").await;
        kubo.connect(&self.ours[1].addresses()[0]).await;
        let node = self.place.node(Mode::Client).provide(Provide::all()).spawn().await.unwrap();
        node.connect(&self.kubos[4].address().await).await.unwrap();
        lan(&node).ready().await;
        until("a client of Kubo knows one who serves", || async { !kubo.table().await.is_empty() })
            .await;
        self.kubos.push(kubo);
        self.ours.push(node);
    }
}

/// The DHT of the local network that a node is in.
fn lan(node: &Node) -> &Dht {
    node.dhts().lan.as_ref().unwrap()
}

/// Asks one peer, and nobody else.
async fn ask(node: &Node, peer: PeerId, question: &Message) -> Message {
    let mut stream = node.network().open(peer, &[message::LAN]).await.unwrap();
    let question = question.encode();
    let mut bytes = Vec::new();
    varint::write(question.len() as u64, &mut bytes);
    bytes.extend(question);
    stream.write_all(&bytes).await.unwrap();
    stream.close().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let (_, answer) = varint::read(&answer, "answer").unwrap();
    Message::decode(answer).unwrap()
}
