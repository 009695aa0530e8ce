//! Peers that lie, flood, stall and break off, over a network and a virtual clock.

mod answers;
mod disk;
mod messages;
mod requests;
mod streams;
