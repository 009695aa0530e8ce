//! The distributed hash table: Kademlia as libp2p has it.

pub mod engine;
mod lookup;
pub mod message;
mod records;
mod scope;
mod table;

pub use self::scope::Scope;
