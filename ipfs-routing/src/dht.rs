//! The distributed hash table: Kademlia as libp2p has it.
