//! Which addresses count: those that all can reach, or those of a local network.

use std::net::IpAddr;

use ipfs_traits::{AddressFilter, Multiaddr};
use multiaddr::Protocol;

use super::message::MAX_PEER_ADDRESSES;

/// Bytes of the addresses of a peer that are kept and told: 16 of 96. The longest answer, 512
/// providers and 20 peers, then stays within [`MAX_ANSWER`](super::message::MAX_ANSWER); otherwise
/// some peers with long addresses could make everybody refuse what is said of a key.
const MAX_ADDRESS_BYTES: usize = 1536;

/// Whose DHT it is, and so which addresses mean anything in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// That of nodes which all can reach: public addresses alone, and no group of neighbouring ones
    /// has more than a share of the routing table.
    Wan,
    /// That of a local network: all addresses but those of one machine.
    Lan,
    /// That of one machine, or of a test: every address.
    Any,
}

/// A group of addresses that one operator is likely to hold: an IPv4 /16, an IPv6 /32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Group {
    V4([u8; 2]),
    V6([u16; 2]),
}

impl Scope {
    /// Whether an address means anything here.
    pub fn allows(self, address: &Multiaddr) -> bool {
        match (self, first(address)) {
            (Self::Any, _) => true,
            (_, First::Nothing) => false,
            (Self::Wan, First::Ip(ip)) => AddressFilter::Public.allows(ip),
            (Self::Wan, First::Public) => true,
            (Self::Wan, First::Local | First::Process) => false,
            (Self::Lan, First::Ip(ip)) => !ip.is_loopback() && !ip.is_unspecified(),
            (Self::Lan, _) => true,
        }
    }

    /// Whether a peer at these addresses belongs to it: in the wide network one that can be reached
    /// without a relay, in a local one a peer that is there.
    pub(crate) fn admits(self, addresses: &[Multiaddr]) -> bool {
        let allowed = |address: &&Multiaddr| self.allows(address);
        match self {
            Self::Any => true,
            Self::Wan => addresses.iter().filter(allowed).any(|address| !is_relayed(address)),
            Self::Lan => addresses.iter().filter(allowed).any(|address| !Self::Wan.allows(address)),
        }
    }

    /// Its name in what is stored.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Wan => "wan",
            Self::Lan => "lan",
            Self::Any => "any",
        }
    }

    /// The addresses of a peer that mean anything here, as many as are kept and told.
    pub(crate) fn filter(self, addresses: &[Multiaddr]) -> Vec<Multiaddr> {
        let mut left = MAX_ADDRESS_BYTES;
        let mut fits = |address: &&Multiaddr| {
            let rest = left.checked_sub(address.len());
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let allowed = addresses.iter().filter(|address| self.allows(address));
        allowed.filter(|address| fits(address)).take(MAX_PEER_ADDRESSES).cloned().collect()
    }

    /// The groups that a peer at these addresses belongs to, where groups count.
    pub(crate) fn groups(self, addresses: &[Multiaddr]) -> Vec<Group> {
        if self != Self::Wan {
            return Vec::new();
        }
        let mut groups: Vec<Group> = addresses.iter().filter_map(group).collect();
        groups.sort();
        groups.dedup();
        groups
    }
}

/// Whether it leads over a relay: others are reached so only while it lasts.
fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// What an address begins with.
enum First {
    Ip(IpAddr),
    /// A name that all can look up.
    Public,
    /// A name of a local network.
    Local,
    /// A place in this process.
    Process,
    Nothing,
}

fn first(address: &Multiaddr) -> First {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => First::Ip(ip.into()),
        Some(Protocol::Ip6(ip)) => First::Ip(ip.into()),
        Some(
            Protocol::Dns(name)
            | Protocol::Dns4(name)
            | Protocol::Dns6(name)
            | Protocol::Dnsaddr(name),
        ) => match is_local(&name) {
            true => First::Local,
            false => First::Public,
        },
        Some(Protocol::Memory(_)) => First::Process,
        _ => First::Nothing,
    }
}

fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    // Names without a dot, and those that RFC 6761, RFC 6762 and ICANN keep for local use.
    !name.contains('.') || matches!(&last[..], "localhost" | "local" | "internal" | "test")
}

fn group(address: &Multiaddr) -> Option<Group> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => {
            let [a, b, ..] = ip.octets();
            Some(Group::V4([a, b]))
        }
        Protocol::Ip6(ip) => {
            let [a, b, ..] = ip.segments();
            Some(Group::V6([a, b]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_scope_has_its_addresses() {
        let cases = [
            ("/ip4/1.1.1.1/tcp/4001", true, true),
            ("/ip4/192.168.0.1/tcp/4001", false, true),
            ("/ip4/127.0.0.1/tcp/4001", false, false),
            ("/ip6/::1/tcp/4001", false, false),
            ("/ip4/0.0.0.0/tcp/4001", false, false),
            ("/ip6/2606:4700::1/udp/4001/quic-v1", true, true),
            ("/ip6/fe80::1/tcp/4001", false, true),
            ("/dns4/example.com/tcp/4001", true, true),
            ("/dns4/localhost/tcp/4001", false, true),
            ("/dns4/printer.local/tcp/4001", false, true),
            ("/memory/7", false, true),
            ("/p2p-circuit", false, false),
        ];
        for (text, wan, lan) in cases {
            let address = address(text);
            let found = (Scope::Wan.allows(&address), Scope::Lan.allows(&address));
            assert_eq!(found, (wan, lan), "{text}");
            assert!(Scope::Any.allows(&address));
        }
    }

    #[test]
    fn neighbouring_addresses_are_one_group() {
        let near = ["/ip4/1.2.3.4/tcp/1", "/ip4/1.2.9.9/tcp/2"].map(address);
        let far = ["/ip4/1.3.3.4/tcp/1", "/ip6/2606:4700::1/tcp/1"].map(address);
        assert_eq!(Scope::Wan.groups(&near).len(), 1);
        assert_eq!(Scope::Wan.groups(&far).len(), 2);
        assert!(Scope::Lan.groups(&near).is_empty());
    }
}
