//! Addresses with a peer's name at their end, and what can be turned into a peer.

use std::collections::BTreeMap;

use ipfs_traits::{Error, Multiaddr, PeerId, PeerInfo, Result};
use multiaddr::Protocol;

/// The address with the name of its peer at the end.
pub(crate) fn with_peer(address: &Multiaddr, peer: PeerId) -> Multiaddr {
    address.clone().with_p2p(peer).unwrap_or_else(|address| address)
}

/// The address without the name at its end, and the name.
pub(crate) fn split(mut address: Multiaddr) -> Result<(Multiaddr, PeerId)> {
    match address.pop() {
        Some(Protocol::P2p(peer)) => Ok((address, peer)),
        _ => Err(Error::invalid("address", "it must end in /p2p/<peer id>")),
    }
}

/// The peers of addresses, in the order of their names, each with all of its addresses.
pub(crate) fn by_peer(addresses: impl IntoIterator<Item = Multiaddr>) -> Result<Vec<PeerInfo>> {
    let mut peers: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
    for address in addresses {
        let peer = address.into_peer()?;
        peers.entry(peer.id).or_default().extend(peer.addresses);
    }
    Ok(peers.into_iter().map(|(id, addresses)| PeerInfo::new(id, addresses)).collect())
}

/// What a call that takes a peer takes: an address that ends in `/p2p/<peer id>`, as a
/// [`Multiaddr`] or its text, several addresses of one peer, a [`PeerInfo`], or the name alone of a
/// peer whose addresses are known.
pub trait IntoPeer {
    /// The peer.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a text that is no address, an address without a name, addresses of
    /// several peers, and none at all.
    fn into_peer(self) -> Result<PeerInfo>;
}

impl IntoPeer for PeerInfo {
    fn into_peer(self) -> Result<PeerInfo> {
        Ok(self)
    }
}

impl IntoPeer for PeerId {
    fn into_peer(self) -> Result<PeerInfo> {
        Ok(self.into())
    }
}

impl IntoPeer for Multiaddr {
    fn into_peer(self) -> Result<PeerInfo> {
        let (address, peer) = split(self)?;
        let addresses = if address.is_empty() { Vec::new() } else { vec![address] };
        Ok(PeerInfo::new(peer, addresses))
    }
}

impl IntoPeer for &Multiaddr {
    fn into_peer(self) -> Result<PeerInfo> {
        self.clone().into_peer()
    }
}

impl IntoPeer for &str {
    fn into_peer(self) -> Result<PeerInfo> {
        let address: Multiaddr = self
            .parse()
            .map_err(|error| Error::invalid("address", format!("{self:?}: {error}")))?;
        address.into_peer()
    }
}

impl IntoPeer for &String {
    fn into_peer(self) -> Result<PeerInfo> {
        self.as_str().into_peer()
    }
}

impl IntoPeer for Vec<Multiaddr> {
    fn into_peer(self) -> Result<PeerInfo> {
        let mut peers = self.into_iter().map(IntoPeer::into_peer);
        let first = peers.next().unwrap_or_else(|| Err(Error::invalid("address", "there is none")));
        peers.try_fold(first?, |mut all, next| {
            let next = next?;
            if next.id != all.id {
                return Err(Error::invalid("address", "they are of several peers"));
            }
            all.addresses.extend(next.addresses);
            Ok(all)
        })
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::memory::peer_id;

    use super::*;

    #[test]
    fn a_name_stands_at_the_end() {
        let here: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
        let full = with_peer(&here, peer_id(1));
        assert_eq!(with_peer(&full, peer_id(1)), full);
        let expected = PeerInfo::new(peer_id(1), vec![here.clone()]);
        assert_eq!(full.clone().into_peer().unwrap(), expected);
        assert_eq!(full.to_string().as_str().into_peer().unwrap(), expected);
        let alone = format!("/p2p/{}", peer_id(1));
        assert_eq!(alone.as_str().into_peer().unwrap(), peer_id(1).into());
        let other = with_peer(&here, peer_id(2));
        for wrong in [vec![], vec![here], vec![full, other]] {
            assert!(matches!(wrong.into_peer(), Err(Error::Invalid { what: "address", .. })));
        }
        assert!(matches!("nonsense".into_peer(), Err(Error::Invalid { .. })));
    }
}
