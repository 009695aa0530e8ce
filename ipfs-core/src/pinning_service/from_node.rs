//! Pins what a node has, which meets the service half way.

use std::time::Duration;

use futures_util::future::join_all;
use http::Uri;
use ipfs_routing::dht::Scope;
use ipfs_traits::{AddressFilter, BlockstoreExt, Cid, Multiaddr, Result, RuntimeExt};

use super::{PinOptions, PinStatus, PinningService, is_loopback, pin::MAX_PROVIDERS};
use crate::{IntoPeer, Node, addresses};

/// How long a delegate may take to be connected: the service finds the node by other ways too.
const CONNECTING: Duration = Duration::from_secs(10);

pub(super) async fn pin(
    service: &PinningService,
    node: &Node,
    cid: &Cid,
    mut options: PinOptions,
) -> Result<PinStatus> {
    if !node.store().has(cid).await? {
        return service.pin(cid, options).await;
    }
    let scope = scope(&service.0.base);
    let mine = node.addresses().into_iter().filter(|address| scope.allows(address));
    let free = MAX_PROVIDERS.saturating_sub(options.origins.len());
    options.origins.extend(mine.take(free));
    let status = service.pin(cid, options).await?;
    let delegates = status.delegates.iter().filter(|address| scope.allows(address));
    connect(node, delegates.cloned()).await;
    Ok(status)
}

/// The addresses that the service and the node can mean the same by: from far away the public ones.
/// What a distant service calls `192.168.1.5` is somebody else here.
fn scope(base: &str) -> Scope {
    let near = base.parse().is_ok_and(|url: Uri| {
        is_loopback(url.host().unwrap_or_default()) || AddressFilter::Public.check(&url).is_err()
    });
    if near { Scope::Any } else { Scope::Wan }
}

/// Connects to all of them that can be reached.
async fn connect(node: &Node, delegates: impl Iterator<Item = Multiaddr>) {
    let named = delegates.filter(|address| address.into_peer().is_ok());
    let peers = addresses::by_peer(named).unwrap_or_default();
    let others = peers.iter().filter(|peer| peer.id != node.peer_id());
    let connecting = others.map(|peer| async {
        let connecting = node.network().connect(peer);
        let what = "connecting to a delegate";
        if let Err(error) = node.runtime().timeout(CONNECTING, what, connecting).await {
            tracing::debug!(peer = %peer.id, %error, "a delegate was not reached");
        }
    });
    join_all(connecting).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_service_is_told_of_near_addresses() {
        for near in
            ["http://localhost:3000", "http://127.0.0.1/a", "https://10.0.0.1", "https://[::1]"]
        {
            assert_eq!(scope(near), Scope::Any, "{near}");
        }
        for far in ["https://pin.example/api", "https://1.1.1.1", "http://localhost.example"] {
            assert_eq!(scope(far), Scope::Wan, "{far}");
        }
    }
}
