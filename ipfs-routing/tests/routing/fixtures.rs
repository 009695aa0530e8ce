//! What other implementations made, and what they say of it.

mod delegated;
mod dht;
mod ipns;
