//! Nodes of the DHT over a network in memory: what one tells, the others find.

mod find;
mod life;
pub(super) mod net;
mod sweep;
mod values;
