//! Who came and who went, of what a network tells.

use std::{
    collections::{BTreeSet, VecDeque},
    task::{Context, Poll, ready},
};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream::Fuse};
use ipfs_traits::{
    PeerId,
    network::{Event, Snapshot},
};

use super::NodeEvent;

pub(super) struct Peers {
    network: Fuse<BoxStream<'static, Event>>,
    /// Those that were told to be connected.
    connected: BTreeSet<PeerId>,
    /// What a snapshot has changed and was not told yet: no more than there were and are peers.
    due: VecDeque<NodeEvent>,
}

impl Peers {
    pub(super) fn new(network: BoxStream<'static, Event>) -> Self {
        Self { network: network.fuse(), connected: BTreeSet::new(), due: VecDeque::new() }
    }

    /// The next one that came or went; `None` when the network is closed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<NodeEvent>> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Poll::Ready(Some(event));
            }
            match ready!(self.network.poll_next_unpin(cx)) {
                None => return Poll::Ready(None),
                Some(Event::Snapshot(now)) => self.become_as(&now),
                Some(Event::Connected(peer)) if self.connected.insert(peer) => {
                    return Poll::Ready(Some(NodeEvent::Connected(peer)));
                }
                Some(Event::Gone(peer)) if self.connected.remove(&peer) => {
                    return Poll::Ready(Some(NodeEvent::Disconnected(peer)));
                }
                Some(_) => {}
            }
        }
    }

    fn become_as(&mut self, now: &Snapshot) {
        let now: BTreeSet<PeerId> = now.peers.iter().map(|state| state.peer).collect();
        let gone = self.connected.difference(&now).copied().map(NodeEvent::Disconnected);
        let came = now.difference(&self.connected).copied().map(NodeEvent::Connected);
        self.due.extend(gone.chain(came));
        self.connected = now;
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;
    use ipfs_traits::{memory::peer_id, network::EventHub};

    use super::*;

    fn told(peers: &mut Peers) -> Vec<NodeEvent> {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        std::iter::from_fn(|| match peers.poll(&mut cx) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        })
        .collect()
    }

    #[test]
    fn who_reads_late_is_told_what_changed_in_the_end() {
        use NodeEvent::{Connected, Disconnected};
        let (hub, of) = (EventHub::new(), peer_id);
        hub.connected(of(1));
        let mut peers = Peers::new(hub.subscribe());
        assert_eq!(told(&mut peers), [Connected(of(1))], "who is there already");
        hub.protocols(of(1), Vec::new());
        hub.connected(of(2));
        hub.gone(of(2));
        assert_eq!(told(&mut peers), [Connected(of(2)), Disconnected(of(2))]);
        // More than a network keeps for a reader.
        hub.connected(of(3));
        for peer in 100..1000 {
            hub.connected(of(peer));
            hub.gone(of(peer));
        }
        hub.gone(of(1));
        assert_eq!(told(&mut peers), [Disconnected(of(1)), Connected(of(3))]);
        hub.gone(of(3));
        hub.close();
        assert_eq!(told(&mut peers), [Disconnected(of(3))]);
    }
}
