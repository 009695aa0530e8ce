//! The distributed hash table: Kademlia as libp2p has it.
//!
//! Peers and keys stand in one space of 256 bits ([`Position`](crate::Position)); what belongs to a key
//! stands with the 20 peers nearest to it: who has a block, or a value that proves itself, such as an
//! IPNS record. A lookup asks the nearest peers that it has heard of for nearer ones, until the nearest
//! have all answered. The protocol is that of the [specification of libp2p], as the [specification of
//! IPFS] narrows it.
//!
//! | | |
//! |---|---|
//! | [`Dht`] | a node's part in it, over a network: a [`Routing`](crate::Routing) |
//! | [`engine`] | the half that asks and knows the peers: a value, without IO |
//! | [`Records`] | the half that keeps what others put here, in the node's datastore |
//! | [`Answers`] | what a peer is answered, from both halves |
//! | [`Sweep`] | announcing many blocks with few lookups |
//! | [`message`] | the wire format |
//!
//! # Scopes
//!
//! The nodes that all can reach have one DHT, those of a local network another one, each with a
//! protocol of its own ([`WAN`](message::WAN), [`LAN`](message::LAN)); a node may be in both. The
//! [`Scope`] says which addresses mean anything: an address of a home is no use to the world, and is
//! neither stored nor passed on there. A node of the wide one answers others once it is known that it
//! can be reached, or is told to ([`Mode`]).
//!
//! # What is bounded
//!
//! | | by |
//! |---|---|
//! | a message | 48 KiB in, 1 MiB as an answer, read as it comes; 20 nearer peers and 1,000 providers of it are looked at, each with 16 addresses of 1,536 bytes together |
//! | a lookup | a minute; 10 questions at once; 10 for each peer that is wanted; 1,024 peers in memory; 4,096 providers |
//! | a question | 10 s, dialing included; after 3 s the lookup goes on without it |
//! | all lookups, all questions | 256 and 64 at once ([`Options::queries`]) |
//! | what is answered | 16 streams of a peer ([`Options::max_streams`]), 512 of all; more wait |
//! | the table | 20 peers in a bucket, and 20 that wait for a place |
//! | what is kept for others | 250,000 records of providers, 16,384 values ([`Limits`]), 48 hours each; 512 providers of a key are given |
//!
//! # Hostile peers
//!
//! | what they do | what is done about it |
//! |---|---|
//! | name peers that are not there | once five referrals of a peer have failed and none has answered, the rest is left alone |
//! | name themselves, many times, from few machines | of a group of addresses (IPv4 /16, IPv6 /32) three count in a lookup and in the table, two in a bucket |
//! | want a place in the table | it is for who has answered, and does; an old peer is not put out by a new one |
//! | say where another peer is | believed once it has answered itself, or three have told of it; whoever is dialed proves its name |
//! | name providers that have nothing | of one answer a third of what is wanted counts, until all have been heard |
//! | announce others | a peer announces itself alone |
//! | fill the records | beyond half, none for keys that others are nearer to, and a 64th of all for one peer |
//! | give forged or old values | each is held against the rules of its namespace; those near the key that have an older one are sent the best |
//! | say nothing | it costs one of the questions for 3 s; who did not answer is left alone for a minute, unless it is said to be elsewhere |
//! | hold streams open | one that asks nothing ends after a minute, after 5 s when many are served |
//!
//! What remains: who holds addresses in many places can be the nearest 20 to one key, and hide it.
//! [Ways](engine::Config::paths) that share no peer, at the price of more questions, help against being
//! led astray, not against that.
//!
//! # Figures
//!
//! From one run of the simulation, with seeds by chance: 10,000 servers and 2,000 nodes that only ask,
//! 10 to 100 ms between any two, one question in 200 lost, and one server in twenty replaced meanwhile.
//!
//! | network | nearest peer found | provider found | hops, at most | messages of a lookup, in the median | and its time |
//! |---|---|---|---|---|---|
//! | honest | 99.3 % | 100 % | 5 | 35 | 1.7 s |
//! | a fifth of the servers lies, in four ways | 99.7 % | 100 % | 6 | 36 | 3.8 s |
//!
//! A key with 40 sybils of two groups of addresses around it was found 100 times of 100. 100,000 blocks
//! were announced by 239 lookups and 2,017,737 messages, where one by one they take some 5,400,000; of
//! 1,000 that were looked for all were found. At this rate a million blocks are announced within 22 hours
//! by 23 kB/s. `IPFS_NODES=10000 cargo test --release -p ipfs-routing --test routing simulation --
//! --nocapture` gives them anew.
//!
//! [specification of libp2p]: https://github.com/libp2p/specs/tree/master/kad-dht
//! [specification of IPFS]: https://specs.ipfs.tech/routing/kad-dht/

mod answer;
mod driver;
pub mod engine;
mod lookup;
pub mod message;
mod records;
mod scope;
mod sweep;
mod table;

pub use self::{
    answer::{Announced, Answers},
    driver::{Dht, Mode, Options},
    records::{Limits, Records},
    scope::Scope,
    sweep::{Share, Sweep},
};
