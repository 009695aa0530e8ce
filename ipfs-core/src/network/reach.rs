//! Which of the addresses that a peer names can mean anything here.

use std::net::IpAddr;

use ipfs_traits::{AddressFilter, Multiaddr};
use libp2p::{core::ConnectedPoint, multiaddr::Protocol};

/// How far away an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Machine,
    Network,
    World,
}

/// The addresses of a peer: where it was reached, and those it names that can be reached from where
/// it is. What a distant peer calls `192.168.1.5` is somebody else here, and what another machine
/// calls `127.0.0.1` is this one.
pub(super) fn believed(connection: &ConnectedPoint, named: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let least = reach(connection.get_remote_address());
    let mut believed: Vec<Multiaddr> = Vec::with_capacity(named.len() + 1);
    if let ConnectedPoint::Dialer { address, .. } = connection {
        believed.push(without_peer(address.clone()));
    }
    for address in named.into_iter().map(without_peer) {
        if reach(&address) >= least && !believed.contains(&address) {
            believed.push(address);
        }
    }
    believed
}

/// Whether all can reach it, as far as the address tells.
pub(super) fn is_public(address: &Multiaddr) -> bool {
    reach(address) == Reach::World
}

fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

fn reach(address: &Multiaddr) -> Reach {
    let ip = match address.iter().next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        Some(Protocol::Memory(_)) => return Reach::Machine,
        // A name is looked up when it is dialed.
        _ => return Reach::World,
    };
    if ip.is_loopback() || ip.is_unspecified() {
        Reach::Machine
    } else if AddressFilter::Public.allows(ip) {
        Reach::World
    } else {
        Reach::Network
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::{Endpoint, transport::PortUse};

    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn named() -> Vec<Multiaddr> {
        ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.5/tcp/1", "/ip4/8.8.8.8/tcp/1", "/dns/a.com/tcp/1"]
            .map(address)
            .to_vec()
    }

    /// A distant peer names the addresses of this machine and its network: of those who serve here,
    /// to be dialed by all that it is told to.
    #[test]
    fn what_is_nearer_than_the_peer_is_not_believed() {
        let listener = |from: &str| ConnectedPoint::Listener {
            local_addr: address("/ip4/10.0.0.1/tcp/4001"),
            send_back_addr: address(from),
        };
        let cases =
            [("/ip4/1.1.1.1/tcp/9", 2), ("/ip4/192.168.1.9/tcp/9", 3), ("/ip4/127.0.0.1/tcp/9", 4)];
        for (from, believed_of_four) in cases {
            let kept = believed(&listener(from), named());
            assert_eq!(kept, named()[4 - believed_of_four..], "{from}");
        }
    }

    #[test]
    fn where_it_was_reached_comes_first_and_once() {
        let dialed = ConnectedPoint::Dialer {
            address: address(
                "/ip4/8.8.8.8/tcp/1/p2p/12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS",
            ),
            role_override: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        assert_eq!(believed(&dialed, named()), named()[2..]);
        assert_eq!(believed(&dialed, Vec::new()), named()[2..3]);
    }
}
