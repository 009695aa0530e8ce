//! What each peer gave and took.

use std::collections::{BTreeMap, VecDeque};

use ipfs_traits::PeerId;

use crate::policy::Ledger;

/// Peers that are gone and whose ledgers are kept: those that went last.
const REMEMBERED: usize = 1024;

/// The ledgers of those who are here, and of some who were.
#[derive(Debug, Default)]
pub(super) struct Ledgers {
    here: BTreeMap<PeerId, Ledger>,
    gone: BTreeMap<PeerId, Ledger>,
    order: VecDeque<PeerId>,
}

impl Ledgers {
    pub(super) fn connected(&mut self, peer: PeerId) {
        if !self.here.contains_key(&peer) {
            let before = self.gone.remove(&peer).unwrap_or_default();
            self.here.insert(peer, before);
        }
    }

    pub(super) fn gone(&mut self, peer: PeerId) {
        let Some(ledger) = self.here.remove(&peer).filter(|ledger| *ledger != Ledger::default())
        else {
            return;
        };
        self.gone.insert(peer, ledger);
        self.order.push_back(peer);
        // A peer that came and went stands there more than once, and costs no more than that.
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
            && !self.order.contains(&oldest)
        {
            self.gone.remove(&oldest);
        }
    }

    /// Changes the ledger of a peer that is here.
    pub(super) fn note(&mut self, peer: &PeerId, change: impl FnOnce(&mut Ledger)) {
        if let Some(ledger) = self.here.get_mut(peer) {
            change(ledger);
        }
    }

    pub(super) fn of(&self, peer: &PeerId) -> Ledger {
        self.here.get(peer).or_else(|| self.gone.get(peer)).copied().unwrap_or_default()
    }
}
