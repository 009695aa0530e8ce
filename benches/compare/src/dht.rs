//! Tables of hashes on one machine: the same words as `peers/dht`, of which the network of either side is made.
//!
//! `dht-network COUNT`: so many servers in this process; prints their addresses. `dht-node ADDRESS…`: one client,
//! connected to those servers. Both then print `ready`, obey lines on their standard input, and answer each with one
//! line that begins with its first word. The network: `requests`, here the records of providers that it got since the
//! last time; `holders CID`, how many servers have one, and how many of the 20 closest; `memory`. The node: `lookup COUNT` and `provide COUNT`, the milliseconds, and how many peers were found or how many
//! failed; `sweep COUNT`, the milliseconds, and how many lookups it took; `keys COUNT`; `memory`, in bytes.

use std::{net::UdpSocket, sync::Arc, time::Instant};

use futures::{FutureExt, StreamExt, future, stream};
use ipfs_core::{
    DhtOptions, Node,
    routing::{
        Position, Routing,
        dht::{self, Dht, Mode, Scope},
        provide::{Options, Provider, from_fn},
    },
};
use ipfs_traits::{Cid, HashTable, Multihash, PeerId, codes, memory::MemoryDatastore};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::Result;

/// The address of this machine in its network: no packet is sent for it.
fn address() -> Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect("192.0.2.1:9")?;
    Ok(format!("/ip4/{}/tcp/0", socket.local_addr()?.ip()))
}

async fn open(mode: Mode) -> Result<(Node, Dht)> {
    let mut options = dht::Options::new(Scope::Lan);
    options.mode = mode;
    let node = Node::builder().listen([address()?.parse()?]).dht(DhtOptions::only(options));
    let node = node.spawn().await?;
    let dht = node.dhts().lan.clone().ok_or("it is in no DHT")?;
    Ok((node, dht))
}

/// Answers lines until there are no more.
async fn obey(mut answer: impl AsyncFnMut(&str, &str) -> Result<String>) -> Result<()> {
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, "0"));
        println!("{word} {}", answer(word, rest).await?);
    }
    Ok(())
}

/// The bytes that are resident.
fn memory() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok((kilobytes << 10).to_string())
}

pub async fn network(count: usize) -> Result<()> {
    let mut servers: Vec<(Node, Dht)> = Vec::new();
    for at in 0..count {
        let (node, dht) = open(Mode::Server).await?;
        // Some that came before: the first, and others far apart.
        for step in std::iter::successors(Some(at), |step| Some(step / 2)).take(8) {
            if step > 0 {
                node.connect(servers[at - step].0.addresses()[0].clone()).await?;
            }
        }
        servers.push((node, dht));
    }
    future::join_all(servers.iter().map(|(_, dht)| dht.settled())).await;
    servers.iter().for_each(|(node, _)| println!("{}", node.addresses()[0]));
    let mut before = 0;
    obey(async |word, rest| match word {
        "requests" => {
            let all = servers.iter().map(|(_, dht)| dht.records().0).sum();
            let new = all - std::mem::replace(&mut before, all);
            Ok(if new > 0 { format!("ADD_PROVIDER {new}") } else { String::new() })
        }
        "holders" => Ok(holders(&servers, *Cid::try_from(rest)?.hash())),
        "memory" => memory(),
        _ => Err("unknown word".into()),
    })
    .await
}

fn holders(servers: &[(Node, Dht)], key: Multihash) -> String {
    let target = Position::of_block(&key);
    let distance = |peer: PeerId| {
        let at = Position::of_peer(&peer);
        let pairs = at.as_bytes().iter().zip(target.as_bytes());
        pairs.map(|(a, b)| a ^ b).collect::<Vec<u8>>()
    };
    let mut sorted: Vec<&(Node, Dht)> = servers.iter().collect();
    sorted.sort_by_key(|(node, _)| distance(node.peer_id()));
    // What a server keeps itself comes at once, and what others would say is not waited for.
    let holds = |dht: &Dht| dht.find_providers(&key, 1).next().now_or_never().flatten().is_some();
    let held: Vec<bool> = sorted.iter().map(|(_, dht)| holds(dht)).collect();
    let count = |held: &[bool]| held.iter().filter(|held| **held).count();
    format!("{} {}", count(&held), count(&held[..held.len().min(20)]))
}

pub async fn node(addresses: &[&str]) -> Result<()> {
    let (node, dht) = open(Mode::Client).await?;
    for address in addresses {
        node.connect(*address).await?;
    }
    dht.settled().await;
    let (routing, mut keys) = (node.routing(), Keys::default());
    obey(async |word, rest| {
        let count = rest.parse()?;
        let (start, mut number) = (Instant::now(), 0);
        match word {
            "lookup" => {
                for key in keys.fresh(count) {
                    number += routing.closest_peers(&key.to_bytes()).await?.len();
                }
            }
            "provide" => {
                for key in keys.announced(count) {
                    number += usize::from(routing.provide(vec![key]).await.is_err());
                }
            }
            "sweep" => {
                let before = dht.stats().lookups;
                sweep(&node, keys.announced(count)).await?;
                number = (dht.stats().lookups - before) as usize;
            }
            "keys" => {
                let last = keys.announced.iter().rev().take(count);
                let cids = last.map(|key| Cid::new_v1(codes::RAW, *key).to_string());
                return Ok(cids.collect::<Vec<_>>().join(" "));
            }
            "memory" => return memory(),
            _ => return Err("unknown word".into()),
        }
        Ok(format!("{:.3} {number}", start.elapsed().as_secs_f64() * 1000.0))
    })
    .await
}

/// Announces all of it, as a node does with what it has.
async fn sweep(node: &Node, keys: Vec<Multihash>) -> Result<()> {
    let keys = Arc::new(keys);
    let source = from_fn(move || {
        let pages: Vec<_> = keys.chunks(1000).map(|page| Ok(page.to_vec())).collect();
        stream::iter(pages).boxed()
    });
    let (runtime, routing) = (node.runtime().clone(), node.routing().clone());
    let datastore = Arc::new(MemoryDatastore::new());
    let provider =
        Provider::spawn(runtime, routing, datastore, Arc::new(source), Options::default()).await?;
    provider.sweep_now().await?;
    Ok(provider.close().await?)
}

/// Hashes that nobody had before.
#[derive(Default)]
struct Keys {
    made: u64,
    announced: Vec<Multihash>,
}

impl Keys {
    fn fresh(&mut self, count: usize) -> Vec<Multihash> {
        let hashes = HashTable::standard();
        let numbers = self.made..self.made + count as u64;
        self.made = numbers.end;
        let hash = |number: u64| hashes.hash(codes::SHA2_256, &number.to_be_bytes());
        numbers.map(hash).collect::<std::result::Result<_, _>>().expect("SHA-256 is in the table")
    }

    fn announced(&mut self, count: usize) -> Vec<Multihash> {
        let keys = self.fresh(count);
        self.announced.extend(&keys);
        keys
    }
}
