//! The distributed hash table: Kademlia as libp2p has it.

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
