//! Nodes that lie.

use ipfs_routing::dht::message::{Kind, Message};
use ipfs_traits::PeerInfo;

use super::{World, name};
use crate::Position;

/// Names that liars make up.
const NOBODIES: usize = 20_000;

/// How a node lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liar {
    /// It names peers that are there and are not near.
    Astray,
    /// It names peers that nobody has ever heard of, the nearest of many.
    Endless,
    /// It names many more than it may, and providers by the hundred.
    Oversized,
    /// It names providers that have nothing, and leads nowhere wrong.
    FalseProviders,
    /// It keeps nothing and names its own kind alone.
    Sybil,
}

impl Liar {
    pub(crate) const ALL: [Self; 4] =
        [Self::Astray, Self::Endless, Self::Oversized, Self::FalseProviders];

    /// What it answers; `None` for the truth.
    pub(crate) fn lie(self, world: &mut World, node: usize, request: &Message) -> Option<Message> {
        let mut lie = Message::new(request.kind, request.key.clone());
        match self {
            Self::Astray => lie.closer = (0..20).map(|_| anybody(world)).collect(),
            Self::Endless => {
                let target = Position::of_key(&request.key);
                let mut names: Vec<PeerInfo> = (0..100).map(|_| nobody(world)).collect();
                names.sort_by_cached_key(|peer| {
                    std::cmp::Reverse(Position::of_peer(&peer.id).common_prefix(&target))
                });
                names.truncate(20);
                lie.closer = names;
            }
            Self::Oversized => {
                lie.closer = (0..100).map(|_| nobody(world)).collect();
                lie.providers = (0..200).map(|_| nobody(world)).collect();
            }
            Self::FalseProviders if request.kind == Kind::GetProviders => {
                lie.providers = (0..3).map(|_| nobody(world)).collect();
            }
            Self::FalseProviders => return None,
            Self::Sybil => {
                let sybils = world.nodes.iter().enumerate().filter(|(other, it)| {
                    it.liar == Some(Self::Sybil) && it.alive && *other != node
                });
                lie.closer = sybils.take(20).map(|(_, it)| it.info.clone()).collect();
            }
        }
        (request.kind != Kind::AddProvider).then_some(lie)
    }
}

fn anybody(world: &mut World) -> PeerInfo {
    let node = world.numbers.below(world.nodes.len() as u64) as usize;
    world.nodes[node].info.clone()
}

/// One of many names that nobody has.
fn nobody(world: &mut World) -> PeerInfo {
    if world.nobodies.is_empty() {
        world.nobodies = (0..NOBODIES)
            .map(|_| PeerInfo::new(name(world.numbers.next()), vec![world.address()]))
            .collect();
    }
    let which = world.numbers.below(world.nobodies.len() as u64) as usize;
    world.nobodies[which].clone()
}
